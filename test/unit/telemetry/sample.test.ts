import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { createDeviceSource } from '../../../agent/telemetry/device-source.ts'
import { telemetryFields, telemetryTable } from '../../../agent/telemetry/fields.ts'
import { isoTime, makeSample } from '../../../agent/telemetry/sample.ts'
import type { Metrics } from '../../../agent/telemetry/sample.ts'
import { createFakeClock } from '../../kit/clock.ts'

const takenAtMs = Date.UTC(2026, 0, 5, 10, 11, 12, 123)

const everything: Required<Metrics> = {
  temperature: 22.5,
  humidity: 45,
  cpuPercent: 3.1,
  load1: 0.1,
  load5: 0.2,
  load15: 0.3,
  memoryTotalBytes: 1,
  memoryAvailableBytes: 2,
  diskTotalBytes: 3,
  diskFreeBytes: 4,
  uptimeSeconds: 5,
  temperatures: { 'cpu-thermal': 48.312 },
}

function bodyOf(metrics: Metrics): Record<string, unknown> {
  const { body } = makeSample({ id: 'a', deviceId: 'press-07', authType: 'x509', takenAtMs, metrics })
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

function identity() {
  return { deviceId: 'press-07', authType: 'x509' } as const
}

test('each sample has an ID of its own and the time at which it was taken', async () => {
  const clock = createFakeClock(takenAtMs)
  const take = createDeviceSource({ read: () => Promise.resolve({ load1: 1 }), clock, identity })
  const [one, other] = [await take(), await take()]
  assert.notEqual(one.id, other.id)
  assert.equal(one.createdAtMs, takenAtMs)
  assert.match(one.body, /"timestamp":"2026-01-05T10:11:12\.123000\+00:00"/)
})
