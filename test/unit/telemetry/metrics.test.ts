import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { open, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { cpuPercent, parseCpuTimes } from '../../../agent/telemetry/metrics/cpu.ts'
import { parseLoad, parseMemory, parseUptimeSeconds } from '../../../agent/telemetry/metrics/proc.ts'
import { createMetricsReader } from '../../../agent/telemetry/metrics/read.ts'
import { createTree } from '../../../agent/telemetry/metrics/tree.ts'
import type { Tree } from '../../../agent/telemetry/metrics/tree.ts'
import { createFakeClock } from '../../kit/clock.ts'
import { measure, measureFiles, plant } from '../../kit/kernel-files.ts'
import { makeTemporaryFolder } from '../../kit/openssl.ts'

test('a machine without any of the files has no metrics at all', async () => {
  await using root = await makeTemporaryFolder()
  assert.deepEqual(await measure(root.path), {})
})

test('the CPU percentage is over the time between two readings, and the first has none', async () => {
  await using root = await makeTemporaryFolder()
  const read = createMetricsReader({ tree: createTree(root.path), stateFolder: '/', clock: createFakeClock() })
  await plant(root.path, { 'proc/stat': 'cpu  100 0 100 1000 0 0 0 0 0 0\n' })
  assert.equal('cpuPercent' in (await read()), false)
  // 25 of 100 ticks were work.
  await plant(root.path, { 'proc/stat': 'cpu  120 0 105 1075 0 0 0 0 0 0\n' })
  assert.equal((await read()).cpuPercent, 25)
  // No time has passed.
  assert.equal('cpuPercent' in (await read()), false)
})

const cpuCases: readonly (readonly [rule: string, before: number[], after: number[], percent: number | undefined])[] = [
  ['waiting for disks is idle', [0, 0, 0, 0, 0, 0, 0, 0], [10, 0, 0, 0, 90, 0, 0, 0], 10],
  ['nice, interrupts and stolen time are work', [0, 0, 0, 0, 0, 0, 0, 0], [0, 1, 0, 96, 0, 1, 1, 1], 4],
  ['an iowait that went back stands still', [0, 0, 0, 0, 50, 0, 0, 0], [50, 0, 0, 50, 40, 0, 0, 0], 50],
  ['a machine that did nothing is at 0', [5, 0, 5, 10, 0, 0, 0, 0], [5, 0, 5, 110, 0, 0, 0, 0], 0],
  ['a machine that did not rest is at 100', [5, 0, 5, 10, 0, 0, 0, 0], [5, 0, 105, 10, 0, 0, 0, 0], 100],
  ['no time, no percentage', [5, 0, 5, 10, 0, 0, 0, 0], [5, 0, 5, 10, 0, 0, 0, 0], undefined],
]

for (const [rule, before, after, percent] of cpuCases) {
  test(`CPU: ${rule}`, () => assert.equal(cpuPercent(before, after), percent))
}

test('the time of guests is not counted twice', () => {
  assert.deepEqual(parseCpuTimes('cpu  1 2 3 4 5 6 7 8 900 900\ncpu0 1 2 3'), [1, 2, 3, 4, 5, 6, 7, 8])
})

test('what is not what the kernel writes is absent', () => {
  for (const text of [undefined, '', 'garbage', 'cpu', 'cpu  1 2', 'cpu  a b c d', 'cpu0 1 2 3 4']) {
    assert.equal(parseCpuTimes(text), undefined, text)
  }
  for (const text of [undefined, '', '1 2', 'a b c', '0.1 0.2 1e5']) assert.equal(parseLoad(text), undefined, text)
  for (const text of [undefined, '', 'up', '-3 4', 'NaN 1']) assert.equal(parseUptimeSeconds(text), undefined, text)
  assert.deepEqual(parseMemory('MemTotal: lots kB\nMemFree: 1 kB\n'), {})
  assert.deepEqual(parseMemory('MemTotal:   2 kB\n'), { memoryTotalBytes: 2048 })
})

const badTemperatures = ['', 'garbage', '-1000000', '-274000', '250000', '48.3', '1e3', '99999999999999999999']

for (const bad of badTemperatures) {
  test(`a thermometer that says ${JSON.stringify(bad)} is absent`, async () => {
    const metrics = await measureFiles({
      'sys/class/thermal/thermal_zone0/type': 'cpu-thermal\n',
      'sys/class/thermal/thermal_zone0/temp': `${bad}\n`,
    })
    assert.deepEqual(metrics, {})
  })
}

test('zero degrees and frost are measurements', async () => {
  const metrics = await measureFiles({
    'sys/class/thermal/thermal_zone0/type': 'cpu-thermal\n',
    'sys/class/thermal/thermal_zone0/temp': '0\n',
    'sys/class/thermal/thermal_zone1/type': 'board\n',
    'sys/class/thermal/thermal_zone1/temp': '-12500\n',
  })
  assert.deepEqual(metrics, { temperature: 0, temperatures: { 'cpu-thermal': 0, board: -12.5 } })
})

test('a raw IIO channel is offset first and scaled then, with what its channels share', async () => {
  // HTS221: (raw + offset) * scale in thousandths, scale of humidity per channel, of temperature shared.
  const metrics = await measureFiles({
    'sys/bus/iio/devices/iio:device0/name': 'hts221\n',
    'sys/bus/iio/devices/iio:device0/in_temp_ambient_raw': '1000\n',
    'sys/bus/iio/devices/iio:device0/in_temp_offset': '-200.5\n',
    'sys/bus/iio/devices/iio:device0/in_temp_scale': '25\n',
    'sys/bus/iio/devices/iio:device0/in_humidityrelative_raw': '400\n',
    'sys/bus/iio/devices/iio:device0/in_humidityrelative_offset': '100\n',
    'sys/bus/iio/devices/iio:device0/in_humidityrelative_scale': '100.5\n',
  })
  assert.deepEqual(metrics, {
    temperature: 19.988,
    humidity: 50.25,
    temperatures: { 'hts221/temp_ambient': 19.988 },
  })
})

test('a raw channel of unknown scale is absent', async () => {
  assert.deepEqual(await measureFiles({ 'sys/bus/iio/devices/iio:device0/in_temp_raw': '1000\n' }), {})
})

test('humidity outside of 0 to 100 % is absent', async () => {
  const path = 'sys/bus/iio/devices/iio:device0/in_humidityrelative_input'
  assert.deepEqual(await measureFiles({ [path]: '100001\n' }), {})
  assert.deepEqual(await measureFiles({ [path]: '-1\n' }), {})
  assert.deepEqual(await measureFiles({ [path]: '0\n' }), { humidity: 0 })
})

test('the thermometer inside a motion sensor is not the temperature of the surroundings', async () => {
  const metrics = await measureFiles({
    'sys/bus/iio/devices/iio:device0/name': 'mpu6050\n',
    'sys/bus/iio/devices/iio:device0/in_temp_input': '39000\n',
    'sys/bus/iio/devices/iio:device0/in_accel_x_raw': '12\n',
    'sys/class/thermal/thermal_zone0/type': 'soc-thermal\n',
    'sys/class/thermal/thermal_zone0/temp': '51000\n',
  })
  assert.equal(metrics.temperature, 51)
  assert.deepEqual(metrics.temperatures, { 'mpu6050/temp': 39, 'soc-thermal': 51 })
})

test('a hwmon chip that measures humidity stands in the air', async () => {
  const metrics = await measureFiles({
    'sys/class/thermal/thermal_zone0/type': 'cpu-thermal\n',
    'sys/class/thermal/thermal_zone0/temp': '51000\n',
    'sys/class/hwmon/hwmon0/name': 'sht3x\n',
    'sys/class/hwmon/hwmon0/temp1_input': '21300\n',
    'sys/class/hwmon/hwmon0/humidity1_input': '38200\n',
  })
  assert.equal(metrics.temperature, 21.3)
  assert.equal(metrics.humidity, 38.2)
})

test('two sensors of one name are both there, in the order of their numbers', async () => {
  const metrics = await measureFiles({
    'sys/class/hwmon/hwmon2/name': 'nvme\n',
    'sys/class/hwmon/hwmon2/temp1_input': '30000\n',
    'sys/class/hwmon/hwmon10/name': 'nvme\n',
    'sys/class/hwmon/hwmon10/temp1_input': '40000\n',
  })
  assert.deepEqual(metrics, { temperatures: { 'nvme/temp1': 30, 'nvme/temp1-2': 40 } })
})

test('a machine of hundreds of sensors names 32', async () => {
  const files = Object.fromEntries(
    Array.from({ length: 200 }, (_, core) => [`sys/class/hwmon/hwmon0/temp${core + 1}_input`, '40000\n']),
  )
  assert.equal(Object.keys((await measureFiles(files)).temperatures ?? {}).length, 32)
})

test('of more thermometers than there is room for, those in the air come first', async () => {
  const zones = Array.from({ length: 40 }, (_, zone) => [`sys/class/thermal/thermal_zone${zone}/temp`, '40000\n'])
  const files = Object.fromEntries(zones) as Readonly<Record<string, string>>
  const { temperatures } = await measureFiles({ ...files, 'sys/bus/iio/devices/iio:device0/in_temp_input': '20000\n' })
  assert.equal(Object.keys(temperatures ?? {}).length, 32)
  assert.equal(temperatures?.['iio:device0/temp'], 20)
})

test('a sensor whose driver answers EAGAIN or EIO, or that is no file, is absent and the rest is there', async () => {
  await using root = await makeTemporaryFolder()
  await plant(root.path, {
    'sys/class/thermal/thermal_zone0/type': 'cpu-thermal\n',
    'sys/class/thermal/thermal_zone1/type': 'gpu\n',
    'sys/class/thermal/thermal_zone2/temp/none': '',
    'sys/class/thermal/thermal_zone3/type': 'good\n',
    'sys/class/thermal/thermal_zone3/temp': '41000\n',
  })
  // Nothing is mapped at address 0: reading it is EIO.
  await symlink('/proc/self/mem', join(root.path, 'sys/class/thermal/thermal_zone0/temp'))
  // A pipe with a writer that is silent: reading it is EAGAIN.
  const pipe = join(root.path, 'sys/class/thermal/thermal_zone1/temp')
  await promisify(execFile)('mkfifo', [pipe])
  await using writer = await open(pipe, 'r+')
  assert.ok(writer.fd >= 0)
  assert.deepEqual(await measure(root.path), { temperatures: { good: 41 } })
})

/** The kernel's files in memory. */
function treeOf(files: Readonly<Record<string, string>>): Tree {
  const within = (folder: string) => {
    const paths = Object.keys(files).filter((path) => path.startsWith(`${folder}/`))
    return paths.map((path) => path.slice(folder.length + 1).split('/', 1)[0] ?? '')
  }
  return {
    read: (path) => Promise.resolve(files[path]),
    bytes: () => Promise.resolve(undefined),
    list: (folder) => Promise.resolve([...new Set(within(folder))]),
  }
}

test('a chip on a hung bus holds up neither the board nor the next message', async () => {
  const tree = treeOf({
    'sys/class/thermal/thermal_zone0/type': 'cpu-thermal',
    'sys/class/thermal/thermal_zone0/temp': '41000',
    'sys/bus/iio/devices/iio:device0/in_temp_input': '20000',
  })
  const bus = Promise.withResolvers<void>()
  const lastOfBoard = Promise.withResolvers<void>()
  const read = async (path: string) => {
    if (path.includes('iio')) await bus.promise
    if (path.endsWith('thermal_zone0/type')) lastOfBoard.resolve()
    return tree.read(path)
  }
  const clock = createFakeClock()
  const measureAll = createMetricsReader({ tree: { ...tree, read }, stateFolder: '/nowhere', clock })
  const first = measureAll()
  await lastOfBoard.promise
  await clock.advance(0)
  assert.deepEqual(clock.pending(), [5000])
  await clock.advance(5000)
  const without = { temperature: 41, temperatures: { 'cpu-thermal': 41 } }
  assert.deepEqual(await first, without)
  assert.deepEqual(await measureAll(), without)
  bus.resolve()
  await clock.advance(0)
  assert.equal((await measureAll()).temperature, 20)
  assert.deepEqual(clock.pending(), [])
})
