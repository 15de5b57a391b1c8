import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ENTRY_BYTES } from '../../../../agent/telemetry/batch.ts'
import { MAX_BATCH_BYTES, extended, joins } from '../../../../agent/telemetry/outbox/batch.ts'
import type { OpenBatch } from '../../../../agent/telemetry/outbox/batch.ts'
import { lowestOf, victimAmong, yieldingBytes } from '../../../../agent/telemetry/outbox/limits.ts'
import { createQueue } from '../../../../agent/telemetry/outbox/queue.ts'
import { keyAt, numberAt, placeOf } from '../../../../agent/telemetry/outbox/schema.ts'
import type { Priority } from '../../../../agent/telemetry/sample.ts'

function holder(priority: Priority, headAtMs: number, bytes = 10) {
  return { priority, head: 1, tail: bytes > 0 ? 1 : 0, headSum: 5, endSum: 5 + bytes, headAtMs }
}

test('the oldest head of the lowest priority present gives way, up to the age of the next', () => {
  const [audit, alarm] = [holder('audit', 1), holder('alarm', 2)]
  const [older, newer, newest] = [holder('telemetry', 30), holder('telemetry', 40), holder('telemetry', 50)]
  const empty = holder('telemetry', 3, 0)
  assert.deepEqual(victimAmong([audit, newest, alarm, newer, empty, older]), { stream: older, untilMs: 40 })
  assert.deepEqual(victimAmong([older, newer]), { stream: older, untilMs: 40 })
  assert.deepEqual(victimAmong([audit, empty, alarm]), { stream: alarm, untilMs: Infinity })
  assert.equal(victimAmong([empty]), undefined)
})

test('only what is worth no more yields', () => {
  const all = [holder('audit', 1, 1), holder('alarm', 2, 20), holder('telemetry', 3, 300)]
  assert.deepEqual(
    (['telemetry', 'alarm', 'audit'] as const).map((priority) => yieldingBytes(all, priority)),
    [300, 320, 321],
  )
  assert.deepEqual(
    [lowestOf(['audit', 'alarm']), lowestOf([]), lowestOf(['audit', 'telemetry'])],
    ['alarm', 'audit', 'telemetry'],
  )
})

test('a batch takes what is like it, as long as there is room', () => {
  const open: OpenBatch = { first: 1, count: 2, bytes: 1000, label: 'x', unsure: false, sinceMs: 7 }
  const newcomer = { bytes: MAX_BATCH_BYTES - 1000 - ENTRY_BYTES, label: 'x', unsure: false }
  assert.equal(joins(open, newcomer, 3), true)
  assert.equal(joins(open, newcomer, 2), false)
  assert.equal(joins(open, { ...newcomer, bytes: newcomer.bytes + 1 }, 3), false)
  assert.equal(joins(open, { ...newcomer, label: null }, 3), false)
  assert.equal(joins(open, { ...newcomer, unsure: true }, 3), false)
  const at = { number: 3, monotonicMs: 9, batchSamples: 4 }
  assert.deepEqual(extended(open, newcomer, at), { ...open, count: 3, bytes: MAX_BATCH_BYTES })
  assert.equal(extended(open, newcomer, { ...at, batchSamples: 3 }), undefined, 'complete')
  assert.deepEqual(extended(undefined, { bytes: 5, label: null, unsure: true }, at), {
    ...{ first: 3, count: 1, bytes: 5 + ENTRY_BYTES, label: null, unsure: true, sinceMs: 9 },
  })
})

test('a place is a stream and a number, and no two are the same', () => {
  for (const [key, number] of [
    [1, 1],
    [1, 2 ** 40 - 1],
    [2, 1],
    [1024, 2 ** 40 - 1],
  ] as const) {
    const place = placeOf(key, number)
    assert.ok(Number.isSafeInteger(place))
    assert.deepEqual([keyAt(place), numberAt(place)], [key, number])
  }
  assert.ok(placeOf(1, 2 ** 40 - 1) < placeOf(2, 1))
})

test('one transaction takes 2,000 samples or 4 MiB, and a delivery that is larger alone', () => {
  const queue = createQueue({ monotonicMs: () => 0 })
  const offer = (samples: number, bytes: number) =>
    queue.offer({
      delivery: { samples: Array.from({ length: samples }) as never, bytes, priority: 'telemetry' },
      ...{ durability: 'written', promised: false, dueMs: 0 },
      ...{ resolve: () => undefined, reject: () => undefined },
    })
  const MIB = 1024 * 1024
  for (const [samples, bytes] of [
    [3000, 1],
    [1999, 1],
    [1, 1],
    [1, 3 * MIB],
    [1, MIB],
    [1, 1],
  ] as const)
    assert.ok(offer(samples, bytes))
  const taken = Array.from({ length: 4 }, () => queue.take().length)
  assert.deepEqual(taken, [1, 2, 2, 1])
  assert.equal(queue.isEmpty(), true)
})

test('what is promised is written at its time, or when it has become 1 MiB', () => {
  let nowMs = 100
  const queue = createQueue({ monotonicMs: () => nowMs })
  const offer = (bytes: number, dueMs: number) =>
    queue.offer({
      delivery: { samples: [], bytes, priority: 'telemetry' },
      ...{ durability: 'relaxed', promised: true, dueMs },
      ...{ resolve: () => undefined, reject: () => undefined },
    })
  assert.equal(queue.dueMs(), undefined)
  offer(1024 * 1024, 1100)
  nowMs = 500
  assert.equal(queue.dueMs(), 1100)
  offer(1, 1500)
  assert.equal(queue.dueMs(), 500)
})
