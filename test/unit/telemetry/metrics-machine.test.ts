import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createHeldReader } from '../../../agent/telemetry/metrics/held.ts'
import { parseStall } from '../../../agent/telemetry/metrics/pressure.ts'
import { parseMemory } from '../../../agent/telemetry/metrics/proc.ts'
import { createMetricsReader } from '../../../agent/telemetry/metrics/read.ts'
import { createTree } from '../../../agent/telemetry/metrics/tree.ts'
import { createFakeClock } from '../../kit/clock.ts'
import { measureFiles, plant } from '../../kit/kernel-files.ts'
import { makeTemporaryFolder } from '../../kit/openssl.ts'

const psi = 'some avg10=1.50 avg60=2.50 avg300=3.50 total=99\nfull avg10=0.10 avg60=0.20 avg300=0.30 total=9\n'

test('pressure is that of the last minute, of the line that was asked for', () => {
  assert.equal(parseStall(psi, 'some'), 2.5)
  assert.equal(parseStall(psi, 'full'), 0.2)
  assert.equal(parseStall(psi.split('\n', 1)[0], 'full'), undefined)
  for (const text of [undefined, '', 'some', 'some avg60=', 'some avg60=x'])
    assert.equal(parseStall(text, 'some'), undefined)
})

test('a processor has no full pressure, which the kernel prints as zeros', async () => {
  assert.deepEqual(await measureFiles({ 'proc/pressure/cpu': psi }), { cpuPressurePercent: 2.5 })
})

test('swap that is used is what is not free, and a machine without swap says nothing of it', () => {
  assert.deepEqual(parseMemory('SwapTotal: 100 kB\nSwapFree: 40 kB\n'), {
    swapTotalBytes: 100 * 1024,
    swapUsedBytes: 60 * 1024,
  })
  assert.deepEqual(parseMemory('SwapTotal: 0 kB\nSwapFree: 0 kB\n'), {})
  assert.deepEqual(parseMemory('SwapTotal: 100 kB\n'), {})
})

test('the clock is that of the fastest kind of cores', async () => {
  const folder = 'sys/devices/system/cpu/cpufreq'
  const policy = (number: number, max: number, limit: number, current: number) => ({
    [`${folder}/policy${number}/cpuinfo_max_freq`]: `${max}\n`,
    [`${folder}/policy${number}/scaling_max_freq`]: `${limit}\n`,
    [`${folder}/policy${number}/scaling_cur_freq`]: `${current}\n`,
  })
  const files = { ...policy(0, 1_800_000, 1_800_000, 1_700_000), ...policy(4, 2_400_000, 1_600_000, 1_200_000) }
  assert.deepEqual(await measureFiles(files), {
    cpuFrequencyMHz: 1200,
    cpuFrequencyLimitMHz: 1600,
    cpuFrequencyMaxMHz: 2400,
  })
})

test('a clock that the driver does not know is absent', async () => {
  const folder = 'sys/devices/system/cpu/cpufreq/policy0'
  const files = { [`${folder}/cpuinfo_max_freq`]: '1000000\n', [`${folder}/scaling_cur_freq`]: '<unknown>\n' }
  assert.deepEqual(await measureFiles(files), { cpuFrequencyMaxMHz: 1000 })
})

const bootStatus: readonly (readonly [status: string, cause: string | undefined])[] = [
  ['0', undefined],
  ['1', 'overheat'],
  ['2', 'fanFault'],
  ['4', 'external'],
  ['8', 'external'],
  ['16', 'underVoltage'],
  ['32', 'watchdog'],
  ['64', 'overVoltage'],
  // It reset the machine because it was too hot.
  ['33', 'overheat'],
  // What the watchdog can do is no cause: set a timeout, close by magic, answer pings.
  [`${0x80 | 0x100 | 0x8000}`, undefined],
  ['none', undefined],
]

for (const [status, cause] of bootStatus) {
  test(`a watchdog whose bootstatus is ${status}: the cause is ${cause ?? 'absent'}`, async () => {
    const { restartCause } = await measureFiles({
      'sys/class/watchdog/watchdog0/bootstatus': '0\n',
      'sys/class/watchdog/watchdog1/bootstatus': `${status}\n`,
    })
    assert.equal(restartCause, cause)
  })
}

const cell = (value: number) => Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value)
const rsts = 'proc/device-tree/chosen/bootloader/rsts'
const powerReset = 'proc/device-tree/chosen/power/power_reset'

const raspberryPi: readonly (readonly [what: string, files: Record<string, Uint8Array>, cause: string | undefined])[] =
  [
    ['power came on', { [rsts]: cell(0x1000) }, 'powerOn'],
    ['older firmware', { 'proc/device-tree/chosen/bootloader/pm_rsts': cell(0x1000) }, 'powerOn'],
    ['a restart, by Linux or by the watchdog', { [rsts]: cell(0x20) }, undefined],
    ['a restart since power came on', { [rsts]: cell(0x1020) }, undefined],
    ['a partition in the register, whose last byte is a tab', { [rsts]: cell(0x1409) }, 'powerOn'],
    ['the supply was too low', { [rsts]: cell(0x1000), [powerReset]: cell(2) }, 'underVoltage'],
    ['the supply was too high', { [powerReset]: cell(1) }, 'overVoltage'],
    ['too hot', { [powerReset]: cell(4) }, 'overheat'],
    ['the power button', { [powerReset]: cell(8) }, undefined],
    ['the watchdog of the power chip', { [powerReset]: cell(0x10) }, 'watchdog'],
    ['something else in the place', { [rsts]: Uint8Array.of(0x10, 0) }, undefined],
  ]

for (const [what, files, cause] of raspberryPi) {
  test(`a Raspberry Pi, ${what}: the cause is ${cause ?? 'absent'}`, async () => {
    assert.deepEqual(await measureFiles(files), cause === undefined ? {} : { restartCause: cause })
  })
}

test('records of crashes are counted, the console of an orderly restart is none of them', async () => {
  const files = { 'sys/fs/pstore/console-ramoops-0': 'x', 'sys/fs/pstore/pmsg-ramoops-0': 'x' }
  assert.deepEqual(await measureFiles(files), {})
  const crashed = { ...files, 'sys/fs/pstore/dmesg-ramoops-0': 'Panic#1 Part1\n', 'sys/fs/pstore/dmesg-ramoops-1': 'x' }
  assert.deepEqual(await measureFiles(crashed), { crashRecords: 2 })
})

test('a boot ID that is none is absent', async () => {
  assert.deepEqual(await measureFiles({ 'proc/sys/kernel/random/boot_id': 'localhost\n' }), {})
})

for (const [alarm, said] of [
  ['1', { underVoltage: true }],
  ['0', { underVoltage: false }],
  ['', {}],
] as const) {
  test(`the supply of a Raspberry Pi with alarm ${JSON.stringify(alarm)}`, async () => {
    const files = {
      'sys/class/hwmon/hwmon2/name': 'rpi_volt\n',
      'sys/class/hwmon/hwmon2/in0_lcrit_alarm': `${alarm}\n`,
    }
    assert.deepEqual(await measureFiles(files), said)
  })
}

test('the bits of the firmware are not read where reading them taints the kernel', async () => {
  const files = { 'sys/devices/platform/soc/soc:firmware/get_throttled': '50005\n' }
  assert.deepEqual(await measureFiles(files), {})
})

test('what is held is read again once its time is over', async () => {
  const clock = createFakeClock()
  let reads = 0
  const read = createHeldReader(() => Promise.resolve((reads += 1)), { clock, forMs: 1000 })
  assert.deepEqual([await read(), await read()], [1, 1])
  await clock.advance(999)
  assert.equal(await read(), 1)
  await clock.advance(1)
  assert.equal(await read(), 2)
})

test('a held reading that failed is tried again at once', async () => {
  let reads = 0
  const fail = () => ((reads += 1), reads === 1 ? Promise.reject(new Error('no')) : Promise.resolve(reads))
  const read = createHeldReader(fail, { clock: createFakeClock(), forMs: 1000 })
  await assert.rejects(read())
  assert.equal(await read(), 2)
})

test('wear is asked for once an hour, and in every message', async () => {
  await using root = await makeTemporaryFolder()
  const clock = createFakeClock()
  const read = createMetricsReader({ tree: createTree(root.path), stateFolder: `${root.path}/none`, clock })
  const path = 'sys/block/mmcblk0/device/life_time'
  await plant(root.path, { [path]: '0x01 0x01\n' })
  assert.deepEqual(await read(), { storageWearPercent: { mmcblk0: 10 } })
  await plant(root.path, { [path]: '0x02 0x01\n' })
  await clock.advance(3_599_000)
  assert.deepEqual(await read(), { storageWearPercent: { mmcblk0: 10 } })
  await clock.advance(1000)
  assert.deepEqual(await read(), { storageWearPercent: { mmcblk0: 20 } })
})
