import { attributesOf, channelsOf, nameOf, scaleRaw, sensorKinds, sensorValue } from './channels.ts'
import type { Channel } from './channels.ts'
import { celsiusOf, cleanName, MAX_SENSORS, MAX_TEMPERATURES, percentOf, present } from './reading.ts'
import type { Named, Readings, Temperature } from './reading.ts'
import { readDecimal } from './tree.ts'
import type { Tree } from './tree.ts'

const FOLDER = 'sys/bus/iio/devices'

/** Channels of chips whose thermometer is there to correct themselves: motion sensors and converters. */
const OWN_HEAT = /^in_(accel|anglvel|magn|voltage)/

/** Thermometers that look at something: not `temp_x`, which is inside of one axis of a motion sensor. */
const THERMOMETER = /^temp(\d*|_ambient|\d*_object)$/

interface Chip {
  readonly path: string
  readonly name: string
  readonly files: ReadonlySet<string>
  readonly channels: readonly Channel[]
}

/**
 * Reads the sensors of the Industrial I/O subsystem. `*_input` is in the unit of its kind, for temperature and humidity
 * thousandths of a degree Celsius and of a percent, and so is (`*_raw` + `*_offset`) * `*_scale`.
 * Source: kernel, Documentation/ABI/testing/sysfs-bus-iio.
 */
export async function readIio(tree: Tree): Promise<Readings> {
  const temperatures: Temperature[] = []
  const sensors: Named[] = []
  let humidityPercent: number | undefined
  for (const device of (await tree.list(FOLDER)).filter((name) => name.startsWith('iio:device'))) {
    const chip = await openChip(tree, device)
    temperatures.push(...(await readThermometers(tree, chip, MAX_TEMPERATURES - temperatures.length)))
    humidityPercent ??= await readHumidity(tree, chip)
    sensors.push(...(await readSensors(tree, chip, MAX_SENSORS - sensors.length)))
  }
  return { temperatures, sensors, ...present({ humidityPercent }) }
}

async function openChip(tree: Tree, device: string): Promise<Chip> {
  const path = `${FOLDER}/${device}`
  const files = await tree.list(path)
  const name = cleanName((await tree.read(`${path}/name`)) ?? device)
  return { path, name, files: new Set(files), channels: channelsOf(files) }
}

async function readThermometers(tree: Tree, chip: Chip, most: number): Promise<readonly Temperature[]> {
  const inside = [...chip.files].some((file) => OWN_HEAT.test(file))
  const found: Temperature[] = []
  for (const channel of chip.channels.filter((one) => THERMOMETER.test(nameOf(one))).slice(0, most)) {
    const celsius = celsiusOf(await readChannel(tree, chip, channel))
    const of = inside || channel.modifier === '_object' ? 'part' : 'ambient'
    if (celsius !== undefined) found.push({ name: `${chip.name}/${nameOf(channel)}`, celsius, of })
  }
  return found
}

async function readHumidity(tree: Tree, chip: Chip): Promise<number | undefined> {
  const channel = chip.channels.find((one) => nameOf(one) === 'humidityrelative')
  return channel === undefined ? undefined : percentOf(await readChannel(tree, chip, channel))
}

async function readSensors(tree: Tree, chip: Chip, most: number): Promise<readonly Named[]> {
  const found: Named[] = []
  for (const channel of chip.channels.filter(({ kind }) => kind in sensorKinds).slice(0, most)) {
    const inKernelUnit = await readChannel(tree, chip, channel)
    const value = inKernelUnit === undefined ? undefined : sensorValue(channel, inKernelUnit)
    if (value !== undefined) found.push({ name: `${chip.name}/${nameOf(channel)}`, value })
  }
  return found
}

/** @returns the value in the kernel's unit; undefined when the driver gives none or does not say its scale */
async function readChannel(tree: Tree, { path, files }: Chip, channel: Channel): Promise<number | undefined> {
  const read = async (file: string | undefined) =>
    file === undefined || !files.has(file) ? undefined : readDecimal(await tree.read(`${path}/${file}`))
  const attribute = async (name: 'scale' | 'offset') =>
    read(attributesOf(channel, name).find((file) => files.has(file)))
  const ready = await read(`in_${nameOf(channel)}_input`)
  if (ready !== undefined) return ready
  const raw = await read(`in_${nameOf(channel)}_raw`)
  if (raw === undefined) return undefined
  return scaleRaw(channel, raw, { scale: await attribute('scale'), offset: await attribute('offset') })
}
