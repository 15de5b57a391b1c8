import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { correctTimestamp, isoTime, makeDeviceBody } from '../../../agent/telemetry/device-message.ts'
import type { Metrics } from '../../../agent/telemetry/device-message.ts'
import { createDeviceSource } from '../../../agent/telemetry/device-source.ts'
import { telemetryFields, telemetryTable } from '../../../agent/telemetry/fields.ts'

const createdAtMs = Date.UTC(2026, 0, 5, 10, 11, 12, 123)

const everything: Required<Metrics> = {
  temperature: 22.5,
  humidity: 45,
  cpuPercent: 3.1,
  cpuFrequencyMHz: 600,
  cpuFrequencyLimitMHz: 1800,
  cpuFrequencyMaxMHz: 1800,
  load1: 0.1,
  load5: 0.2,
  load15: 0.3,
  cpuPressurePercent: 1,
  memoryPressurePercent: 2,
  memoryPressureFullPercent: 1,
  ioPressurePercent: 2,
  ioPressureFullPercent: 1,
  memoryTotalBytes: 1,
  memoryAvailableBytes: 2,
  swapTotalBytes: 3,
  swapUsedBytes: 2,
  diskTotalBytes: 3,
  diskFreeBytes: 4,
  diskFreeInodes: 5,
  diskReadOnly: false,
  storageWearPercent: { mmcblk0: 10 },
  storagePreEndOfLife: { mmcblk0: 1 },
  uptimeSeconds: 5,
  bootId: '6f1d1c0e-52f3-4c8e-9a44-0b5a0c1f7e21',
  restartCause: 'watchdog',
  crashRecords: 1,
  underVoltage: false,
  network: {},
  temperatures: { 'cpu-thermal': 48.312 },
  sensors: { 'bme280/pressure': 1013.25 },
}

function bodyOf(metrics: Metrics): Record<string, unknown> {
  const body = makeDeviceBody({ deviceId: 'press-07', authType: 'x509', createdAtMs, metrics })
  return JSON.parse(body) as Record<string, unknown>
}

test('the message begins with the keys of the Python client, in its order and with its kinds of values', () => {
  const body = bodyOf(everything)
  assert.deepEqual(Object.entries(body).slice(0, 5), [
    ['deviceId', 'press-07'],
    ['temperature', 22.5],
    ['humidity', 45],
    ['timestamp', '2026-01-05T10:11:12.123000+00:00'],
    ['authType', 'x509'],
  ])
})

test('a device without a sensor says nothing of it', () => {
  assert.deepEqual(Object.keys(bodyOf({ load1: 0 })), ['deviceId', 'timestamp', 'authType', 'load1'])
})

test('the time has six digits behind the second even when they are zero, and a numeric offset', () => {
  assert.equal(isoTime(Date.UTC(2026, 1, 28, 23, 59, 59)), '2026-02-28T23:59:59.000000+00:00')
})

test('the page of the message has a row for each key, in the order of the message', async () => {
  assert.deepEqual(Object.keys(telemetryFields), Object.keys(bodyOf(everything)))
  const page = await readFile(new URL('../../../docs/telemetry.md', import.meta.url), 'utf8')
  assert.ok(page.includes(telemetryTable()), 'docs/telemetry.md is not what agent/telemetry/fields.ts says')
})

test('every key has a unit, and no cell breaks the table', () => {
  for (const [name, { unit, meaning, source }] of Object.entries(telemetryFields)) {
    for (const cell of [unit, meaning, source]) assert.match(cell, /^[^|\n]+$/, name)
  }
})

test('a corrected time takes the place of the old one, and nothing else is touched', () => {
  const facts = { deviceId: 'press-07', authType: 'x509', metrics: everything } as const
  const taken = makeDeviceBody({ ...facts, createdAtMs: 0 })
  assert.equal(correctTimestamp(taken, createdAtMs), makeDeviceBody({ ...facts, createdAtMs }))
})

test('a device whose name looks like a time keeps its name', () => {
  const facts = { deviceId: '","timestamp":"1970"', authType: 'sas', metrics: {} } as const
  const taken = makeDeviceBody({ ...facts, createdAtMs: 0 })
  assert.equal(correctTimestamp(taken, createdAtMs), makeDeviceBody({ ...facts, createdAtMs }))
})

test('what has no time is left as it is', () => {
  for (const body of ['', '{}', '{"a":1}', 'no JSON', '{"timestamp":5}']) {
    assert.equal(correctTimestamp(body, createdAtMs), body)
  }
})

function identity() {
  return { deviceId: 'press-07', authType: 'x509' } as const
}

/** Takes samples at `createdAtMs` of a device without sensors. */
function takeFrom(read: () => Promise<Metrics>, unsure?: { readonly bootId: string; readonly uptimeMs: number }) {
  return createDeviceSource({
    read,
    stamp: () => ({ createdAtMs, ...(unsure !== undefined && { unsure }) }),
    identity,
  })
}

test('each sample has an ID of its own, and is plain telemetry of the stream of the device', async () => {
  const take = takeFrom(() => Promise.resolve({ load1: 1 }))
  const [one, other] = [await take(), await take()]
  assert.notEqual(one.id, other.id)
  assert.deepEqual(
    { ...one, id: '' },
    {
      id: '',
      stream: 'device',
      priority: 'telemetry',
      createdAtMs,
      label: { contentType: 'application/json', contentEncoding: 'utf-8' },
      body: '{"deviceId":"press-07","timestamp":"2026-01-05T10:11:12.123000+00:00","authType":"x509","load1":1}',
    },
  )
})

test('a sample of a doubtful clock carries what corrects it', async () => {
  const unsure = { bootId: '6f1d1c0e-52f3-4c8e-9a44-0b5a0c1f7e21', uptimeMs: 61_000 }
  assert.deepEqual((await takeFrom(() => Promise.resolve({}), unsure)()).unsure, unsure)
})

test('the time is that at which the measurement was there, not that at which it was begun', async () => {
  let nowMs = 1000
  const read = () => {
    nowMs = 6000
    return Promise.resolve({})
  }
  const take = createDeviceSource({ read, stamp: () => ({ createdAtMs: nowMs }), identity })
  const { createdAtMs: takenAtMs, body } = await take()
  assert.equal(takenAtMs, 6000)
  assert.match(String(body), /"timestamp":"1970-01-01T00:00:06\.000000\+00:00"/)
})
