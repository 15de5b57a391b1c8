import assert from 'node:assert/strict'
import { test } from 'node:test'
import { measureFiles } from '../../kit/kernel-files.ts'

type Files = Readonly<Record<string, string>>

/** The other sensors of a chip of these files. */
async function sensorsOf(files: Files): Promise<Readonly<Record<string, number>> | undefined> {
  const folder = 'sys/bus/iio/devices/iio:device0'
  const paths = Object.entries({ name: 'chip', ...files }).map(([file, text]) => [`${folder}/${file}`, `${text}\n`])
  const metrics = await measureFiles(Object.fromEntries(paths) as Files)
  return metrics.sensors
}

const kinds: readonly (readonly [rule: string, files: Files, name: string, value: number])[] = [
  ['pressure is in kPa and sent in hPa', { in_pressure_input: '101.325' }, 'pressure', 1013.25],
  ['light is in lx', { in_illuminance0_input: '43' }, 'illuminance0', 43],
  ['voltage is in mV and sent in V', { in_voltage3_raw: '100', in_voltage3_scale: '33' }, 'voltage3', 3.3],
  ['power is in mW and sent in W', { in_power2_raw: '50', in_power2_scale: '20.0' }, 'power2', 1],
  ['gas is in percent and sent in ppm', { in_concentration_voc_input: '0.000012' }, 'concentration_voc', 0.12],
  ['dust is in µg/m³', { in_massconcentration_pm2p5_input: '12.5' }, 'massconcentration_pm2p5', 12.5],
  ['distance is in m', { in_distance_raw: '1234', in_distance_scale: '0.001' }, 'distance', 1.234],
  ['proximity with a scale is in m', { in_proximity_raw: '20', in_proximity_scale: '0.01' }, 'proximity', 0.2],
  ['turning is in rad/s', { in_anglvel_z_raw: '-100', in_anglvel_scale: '0.000266' }, 'anglvel_z', -0.0266],
  ['an angle is no turning', { in_angl_raw: '100', in_angl_scale: '0.01' }, 'angl', 1],
  ['current without a scale is in mA and sent in A', { in_current0_raw: '1500' }, 'current0', 1.5],
]

for (const [rule, files, name, value] of kinds) {
  test(`sensors: ${rule}`, async () => assert.deepEqual(await sensorsOf(files), { [`chip/${name}`]: value }))
}

test('a channel has its own scale and offset, else those of its modifier, of its pair, of its kind', async () => {
  const sensors = await sensorsOf({
    ...{ in_voltage0_raw: '10', in_voltage0_scale: '1', in_voltage0_offset: '5' },
    ...{ in_voltage1_raw: '10', in_voltage1_supply_raw: '10', in_voltage_supply_scale: '7' },
    ...{ 'in_voltage2-voltage3_raw': '10', 'in_voltage-voltage_scale': '3' },
    ...{ in_voltage_scale: '2', in_voltage_offset: '90' },
  })
  assert.deepEqual(sensors, {
    'chip/voltage0': 0.015,
    'chip/voltage1': 0.2,
    // The offset of the kind holds for all of it.
    'chip/voltage1_supply': 0.7,
    'chip/voltage2-voltage3': 0.3,
  })
})

const absent: readonly (readonly [what: string, files: Files])[] = [
  ['a raw value of unknown scale', { in_voltage0_raw: '100' }],
  ['a proximity that is a bare count', { in_proximity_raw: '240' }],
  ['an intensity, which has no unit', { in_intensity_both_raw: '240', in_intensity_scale: '1' }],
  ['an extreme since some reset', { in_accel_x_peak_raw: '12', in_accel_scale: '1', in_accel_peak_scale: '1' }],
  ['an average', { in_voltage0_mean_raw: '12', in_voltage_scale: '1' }],
  [
    'a setting',
    { in_illuminance_integration_time: '0.8', in_accel_x_calibbias: '3', in_pressure_sampling_frequency: '1' },
  ],
  ['an output', { out_voltage0_raw: '3', out_voltage0_scale: '1' }],
  ['a value that is no number', { in_pressure_input: 'nan', in_illuminance_input: '1 2' }],
]

for (const [what, files] of absent) {
  test(`sensors: ${what} is absent`, async () => assert.equal(await sensorsOf(files), undefined))
}

test('a value that is there finished is not computed once more', async () => {
  const sensors = await sensorsOf({ in_illuminance_input: '40', in_illuminance_raw: '9', in_illuminance_scale: '9' })
  assert.deepEqual(sensors, { 'chip/illuminance': 40 })
})

test('two chips of one name are both there', async () => {
  const metrics = await measureFiles({
    'sys/bus/iio/devices/iio:device0/name': 'bme280\n',
    'sys/bus/iio/devices/iio:device0/in_pressure_input': '100\n',
    'sys/bus/iio/devices/iio:device1/name': 'bme280\n',
    'sys/bus/iio/devices/iio:device1/in_pressure_input': '99\n',
  })
  assert.deepEqual(metrics, { sensors: { 'bme280/pressure': 1000, 'bme280/pressure-2': 990 } })
})

/** A chip of 24 inputs. */
function converter(number: number): Files {
  const folder = `sys/bus/iio/devices/iio:device${number}`
  const raw = Array.from({ length: 24 }, (_, input) => [`${folder}/in_voltage${input}_raw`, '1\n'])
  return { ...(Object.fromEntries(raw) as Files), [`${folder}/in_voltage_scale`]: '1\n' }
}

test('converters of many inputs name 32 together', async () => {
  const { sensors } = await measureFiles({ ...converter(0), ...converter(1) })
  assert.equal(Object.keys(sensors ?? {}).length, 32)
})

test('a thermometer that looks at an object is listed and is not the temperature of the surroundings', async () => {
  const folder = 'sys/bus/iio/devices/iio:device0'
  const metrics = await measureFiles({
    [`${folder}/name`]: 'mlx90614\n',
    [`${folder}/in_temp_object_raw`]: '15600\n',
    [`${folder}/in_temp_object_scale`]: '20\n',
    [`${folder}/in_temp_object_offset`]: '-13657.500000\n',
  })
  // (15600 - 13657.5) * 20 thousandths
  assert.deepEqual(metrics, { temperatures: { 'mlx90614/temp_object': 38.85 } })
})
