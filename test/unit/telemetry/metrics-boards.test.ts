import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { makeDeviceBody } from '../../../agent/telemetry/device-message.ts'
import type { Metrics } from '../../../agent/telemetry/device-message.ts'
import { telemetryFields } from '../../../agent/telemetry/fields.ts'
import { createMetricsReader } from '../../../agent/telemetry/metrics/read.ts'
import { systemClock } from '../../../agent/system/clock.ts'
import { boardRoot, measure } from '../../kit/kernel-files.ts'

const none = { rxErrors: 0, txErrors: 0, rxDropped: 0, txDropped: 0 }

const boards: Readonly<Record<string, Metrics>> = {
  'raspberry-pi-4': {
    temperature: 22.53,
    humidity: 45.123,
    cpuFrequencyMHz: 600,
    cpuFrequencyLimitMHz: 1800,
    cpuFrequencyMaxMHz: 1800,
    load1: 0.42,
    load5: 0.31,
    load15: 0.18,
    memoryTotalBytes: 3_884_380 * 1024,
    memoryAvailableBytes: 3_311_016 * 1024,
    swapTotalBytes: 102_396 * 1024,
    swapUsedBytes: 0,
    uptimeSeconds: 6178,
    bootId: '6f1d1c0e-52f3-4c8e-9a44-0b5a0c1f7e21',
    underVoltage: false,
    network: {
      eth0: { up: true, rxBytes: 318_420_113, txBytes: 28_110_422, ...none, rxDropped: 12 },
      wlan0: { up: false, rxBytes: 0, txBytes: 0, ...none },
    },
    temperatures: { 'bme280/temp': 22.53, 'cpu-thermal': 48.312 },
    sensors: { 'bme280/pressure': 1013.25 },
  },
  'raspberry-pi-5': {
    temperature: 62.75,
    cpuFrequencyMHz: 1500,
    cpuFrequencyLimitMHz: 2400,
    cpuFrequencyMaxMHz: 2400,
    load1: 1.88,
    load5: 1.21,
    load15: 0.74,
    memoryTotalBytes: 8_256_160 * 1024,
    memoryAvailableBytes: 7_011_220 * 1024,
    swapTotalBytes: 524_272 * 1024,
    swapUsedBytes: 512 * 1024,
    uptimeSeconds: 15_613,
    bootId: 'c0a8012e-9d5b-4f6e-8f35-1f2a6f0b77d4',
    restartCause: 'underVoltage',
    underVoltage: true,
    network: {
      eth0: { up: false, rxBytes: 0, txBytes: 0, ...none },
      wlan0: {
        ...{ up: true, rxBytes: 91_220_411, txBytes: 12_044_120, ...none, rxDropped: 310, txDropped: 4 },
        signalDbm: -71,
      },
    },
    temperatures: { 'cpu-thermal': 62.75, 'rp1_adc/temp1': 54.326 },
  },
  'imx8mm-gateway': {
    temperature: 24.31,
    humidity: 51.82,
    cpuFrequencyMHz: 1200,
    cpuFrequencyLimitMHz: 1200,
    cpuFrequencyMaxMHz: 1800,
    load1: 2.1,
    load5: 1.94,
    load15: 1.7,
    cpuPressurePercent: 3.27,
    memoryPressurePercent: 0.18,
    memoryPressureFullPercent: 0.09,
    ioPressurePercent: 12.4,
    ioPressureFullPercent: 10.06,
    memoryTotalBytes: 2_018_420 * 1024,
    memoryAvailableBytes: 802_044 * 1024,
    storageWearPercent: { mmcblk2: 30 },
    storagePreEndOfLife: { mmcblk2: 1 },
    uptimeSeconds: 52_011,
    bootId: '11b0a5c2-8a0e-47f7-b3d5-6c1d2e9f4a08',
    restartCause: 'watchdog',
    network: {
      eth0: { up: true, rxBytes: 9_120_220_110, txBytes: 1_220_110_440, ...none, rxErrors: 3, rxDropped: 44 },
      can0: { up: true, rxBytes: 812_040, txBytes: 40_880, ...none },
      wlan0: { up: true, rxBytes: 20_110_220, txBytes: 8_110_220, ...none, rxDropped: 9, signalDbm: -57 },
      ppp0: { up: true, rxBytes: 1_102_204, txBytes: 612_044, ...none },
    },
    // (25000 - 16852.114286) * 2.670288085 thousandths
    temperatures: { 'bme280/temp': 24.31, 'scd4x/temp': 21.757, 'cpu-thermal': 87 },
    sensors: {
      // 98.872101562 kPa
      'bme280/pressure': 988.721,
      'opt3001/illuminance': 210.56,
      // -25 * 0.5 mV, 1650 * 2 mV
      'ads1015/voltage0-voltage1': -0.0125,
      'ads1015/voltage0': 3.3,
      // 12, -34 and 1021 times 0.009577 m/s²
      'lis2dh12_accel/accel_x': 0.114924,
      'lis2dh12_accel/accel_y': -0.325618,
      'lis2dh12_accel/accel_z': 9.77812,
      // 612 * 0.0001 percent
      'scd4x/concentration_co2': 612,
    },
  },
  'x86-server': {
    temperature: 46,
    cpuFrequencyMHz: 3612,
    cpuFrequencyLimitMHz: 4900,
    cpuFrequencyMaxMHz: 4900,
    load1: 1.05,
    load5: 0.97,
    load15: 1.12,
    cpuPressurePercent: 0.88,
    memoryPressurePercent: 0,
    memoryPressureFullPercent: 0,
    ioPressurePercent: 0.44,
    ioPressureFullPercent: 0.4,
    memoryTotalBytes: 65_786_476 * 1024,
    memoryAvailableBytes: 48_231_820 * 1024,
    uptimeSeconds: 2_604_920,
    bootId: '0d2f6b1e-77a4-4d1b-a6a0-5f2f3c9b8e10',
    network: {
      eno1: { up: true, rxBytes: 41_102_204_402_201, txBytes: 18_110_220_440_110, ...none, rxDropped: 20_110 },
      eno2: { up: false, rxBytes: 0, txBytes: 0, ...none },
    },
    // The ACPI zone and coretemp's package are hwmon chips and zones: those of one name are there once.
    temperatures: {
      acpitz: 27.8,
      x86_pkg_temp: 46,
      'coretemp/Package id 0': 46,
      'coretemp/Core 0': 44,
      'coretemp/Core 1': 45,
      'nvme/Composite': 37.85,
      'nct6798/SYSTIN': 31,
    },
  },
  container: {
    load1: 0,
    load5: 0.01,
    load15: 0.05,
    cpuPressurePercent: 0,
    memoryPressurePercent: 0,
    memoryPressureFullPercent: 0,
    ioPressurePercent: 0,
    ioPressureFullPercent: 0,
    memoryTotalBytes: 8_131_160 * 1024,
    memoryAvailableBytes: 7_401_120 * 1024,
    uptimeSeconds: 10_988,
    bootId: 'a7c3f0de-1b2c-4d3e-8f40-516273849505',
    network: { eth0: { up: true, rxBytes: 1_102_204, txBytes: 220_110, ...none } },
  },
  'virtual-machine': {
    load1: 1,
    load5: 0.61,
    load15: 0.39,
    cpuPressurePercent: 10.16,
    memoryPressurePercent: 0,
    memoryPressureFullPercent: 0,
    ioPressurePercent: 0.03,
    ioPressureFullPercent: 0,
    memoryTotalBytes: 24_684_092 * 1024,
    memoryAvailableBytes: 23_579_160 * 1024,
    uptimeSeconds: 24_691,
    bootId: '3e5b8d0a-42c7-4c19-9d6e-7f1a2b3c4d5e',
    network: { eth0: { up: true, rxBytes: 2_279_066_902, txBytes: 7_622_676, ...none } },
  },
}

for (const [board, expected] of Object.entries(boards)) {
  test(`${board}: what it has, and nothing else, is measured`, async () => {
    assert.deepEqual(await measure(boardRoot(board)), expected)
  })
}

test('each board with kernel files is measured here', async () => {
  const found = await readdir(boardRoot(''), { withFileTypes: true })
  const folders = found.filter((one) => one.isDirectory()).map(({ name }) => name)
  assert.deepEqual(folders.toSorted(), Object.keys(boards).toSorted())
})

/** The whole message of a board, with a disk and a CPU percentage, which take a second reading. */
async function messageOf(board: string): Promise<string> {
  const root = boardRoot(board)
  const measured = await measure(root, root)
  const metrics = { cpuPercent: 12.3, ...measured }
  return makeDeviceBody({ deviceId: 'press-07.hall-3.plant-north', authType: 'x509', createdAtMs: 0, metrics })
}

/** Bytes that a message of each board may have, so that one that grows is noticed; each has less than half a unit. */
const sizes = {
  ...{ container: 700, 'virtual-machine': 700, 'raspberry-pi-4': 950, 'raspberry-pi-5': 950 },
  ...{ 'x86-server': 1100, 'imx8mm-gateway': 1650 },
}

/** Messages are charged in units of this. Source: IoT Hub quotas and throttling. */
const CHARGED_BYTES = 4096

for (const [board, most] of Object.entries(sizes)) {
  test(`${board}: its message stays below ${most} bytes, of the 4 KiB that are charged as one`, async () => {
    const bytes = Buffer.byteLength(await messageOf(board))
    assert.ok(bytes < most && most < CHARGED_BYTES / 2, `${bytes} bytes`)
  })
}

/** Names of the greatest length. */
function names(many: number): readonly string[] {
  return Array.from({ length: many }, (_, place) => `${'x'.repeat(64 - 2)}${place + 10}`)
}

test('the largest message that a machine can make is far below the largest that the hub takes', async () => {
  const values = Object.fromEntries(names(32).map((name) => [name, -123.456]))
  const counters = { rxBytes: 1e15 - 1, txBytes: 1e15 - 1, rxErrors: 1e15 - 1, txErrors: 1e15 - 1 }
  const one = { up: false, ...counters, rxDropped: 1e15 - 1, txDropped: 1e15 - 1, signalDbm: -100 }
  const network = Object.fromEntries(names(16).map((name) => [name, one]))
  const metrics = { temperatures: values, sensors: values, network }
  const body = makeDeviceBody({ deviceId: 'd'.repeat(128), authType: 'x509', createdAtMs: 0, metrics })
  assert.ok(Buffer.byteLength(body) < 16 * 1024)
})

test('every key that a board sends is on the page of the message, in its order', async () => {
  for (const board of Object.keys(boards)) {
    const keys = Object.keys(JSON.parse(await messageOf(board)) as object)
    const known = Object.keys(telemetryFields)
    assert.deepEqual(
      keys,
      known.filter((key) => keys.includes(key)),
      board,
    )
  }
})

test('whatever machine this is, its measurements are in their ranges', async () => {
  const read = createMetricsReader({ stateFolder: '/', clock: systemClock })
  await read()
  const metrics = await read()
  const { load1, memoryTotalBytes, memoryAvailableBytes, uptimeSeconds, diskTotalBytes, diskFreeBytes } = metrics
  assert.ok(load1 !== undefined && load1 >= 0)
  assert.ok(uptimeSeconds !== undefined && uptimeSeconds > 0)
  assert.ok(memoryTotalBytes !== undefined && memoryAvailableBytes !== undefined)
  assert.ok(memoryAvailableBytes > 0 && memoryAvailableBytes < memoryTotalBytes)
  assert.ok(diskTotalBytes !== undefined && diskFreeBytes !== undefined && diskFreeBytes <= diskTotalBytes)
  assert.match(metrics.bootId ?? '', /^[0-9a-f-]{36}$/)
  for (const [key, value] of Object.entries(metrics)) {
    assert.ok(key in telemetryFields, key)
    if (key.endsWith('Percent') && typeof value === 'number') assert.ok(value >= 0 && value <= 100, `${key} ${value}`)
  }
  for (const celsius of Object.values(metrics.temperatures ?? {})) assert.ok(celsius > -100 && celsius < 250)
  assert.equal('lo' in (metrics.network ?? {}), false)
  const body = makeDeviceBody({ deviceId: 'a', authType: 'sas', createdAtMs: 0, metrics })
  assert.ok(!body.includes('null'), join('not a number in', body))
})
