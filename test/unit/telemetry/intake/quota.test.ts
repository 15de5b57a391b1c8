import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { createQuota } from '../../../../agent/telemetry/intake/quota.ts'
import type { Quota } from '../../../../agent/telemetry/intake/quota.ts'

/** What a door does: everybody together first, then whoever it is. */
function enter(quota: Quota, uid: number | undefined, count: number, nowMs: number): boolean {
  return quota.takeTogether(count, nowMs) || quota.take(uid, count, 0, nowMs).ok
}

test('a limit of 0 is none', () => {
  const quota = createQuota(0)
  for (let round = 0; round < 100; round += 1) assert.equal(enter(quota, 1, 1_000_000, 0), true)
})

test('ten seconds of the rate may come at once, and nobody need be known for it', () => {
  const quota = createQuota(100)
  for (let taken = 0; taken < 1000; taken += 1) assert.equal(quota.takeTogether(1, 0), true)
  assert.equal(quota.takeTogether(1, 0), false)
})

test('one who sends too much gets the rate, and who sends little is let in beside them', () => {
  const quota = createQuota(100)
  let loud = 0
  let quiet = 0
  for (let nowMs = 0; nowMs < 100_000; nowMs += 10) {
    if (enter(quota, 1, 5, nowMs)) loud += 5
    if (nowMs % 1000 === 0 && enter(quota, 2, 1, nowMs)) quiet += 1
  }
  assert.equal(quiet, 100)
  assert.ok(loud <= 100 * (100 + 10 + 1), `${loud} of the loud one`)
  assert.ok(loud >= 100 * 100, `${loud} of the loud one`)
})

test('no user gets more than the rate, the first share and a second of it, whatever the order', () => {
  const arrival = fc.record({ uid: fc.nat(3), count: fc.integer({ min: 1, max: 50 }), afterMs: fc.nat(400) })
  fc.assert(
    fc.property(fc.array(arrival, { maxLength: 400 }), fc.integer({ min: 1, max: 50 }), (arrivals, rate) => {
      const quota = createQuota(rate)
      const taken = new Map<number, number>()
      let nowMs = 0
      for (const { uid, count, afterMs } of arrivals) {
        nowMs += afterMs
        if (!enter(quota, uid, count, nowMs)) continue
        taken.set(uid, (taken.get(uid) ?? 0) + count)
        // One request may be larger than what is left, when a share is whole: at most 49 above it.
        const most = (rate * nowMs) / 1000 + rate * 11 + 2 * 49
        assert.ok((taken.get(uid) ?? 0) <= most, `${taken.get(uid)} by ${uid} in ${nowMs} ms at ${rate}/s`)
      }
    }),
  )
})

test('a refusal says after how many milliseconds there is room, and then there is', () => {
  const quota = createQuota(10)
  assert.equal(enter(quota, 1, 100, 0), true)
  assert.equal(enter(quota, 1, 10, 0), true, 'a second of the rate for one who was not known')
  assert.equal(quota.takeTogether(5, 0), false)
  assert.deepEqual(quota.take(1, 5, 0, 0), { ok: false, retryAfterMs: 500 })
  assert.equal(quota.takeTogether(5, 499), false)
  assert.deepEqual(quota.take(1, 5, 0, 499), { ok: false, retryAfterMs: 1 })
  assert.deepEqual(quota.take(1, 5, 0, 500), { ok: true, afterMs: 0 })
})

test('with patience a share is taken in advance, one after the other', () => {
  const quota = createQuota(10)
  assert.equal(enter(quota, 1, 100, 0), true)
  assert.equal(quota.takeTogether(20, 0), false)
  assert.deepEqual(quota.take(1, 20, 5000, 0), { ok: true, afterMs: 1000 })
  assert.deepEqual(quota.take(1, 20, 5000, 0), { ok: true, afterMs: 3000 })
  assert.deepEqual(quota.take(1, 21, 5000, 0), { ok: false, retryAfterMs: 5100 })
})

test('more than a whole share at once is let in when the share is whole, and is made up for', () => {
  const quota = createQuota(10)
  assert.equal(quota.takeTogether(300, 0), true)
  assert.equal(enter(quota, 1, 300, 10_000), false, 'known for the first time with a second of the rate')
  assert.equal(enter(quota, 1, 300, 19_000), true)
  assert.equal(enter(quota, 1, 1, 20_000), false)
})

test('users are told apart until all of them together have been calm', () => {
  const quota = createQuota(10)
  assert.equal(quota.takeTogether(100, 0), true)
  assert.equal(quota.takeTogether(1, 0), false)
  assert.equal(quota.takeTogether(1, 9999), false)
  assert.equal(quota.takeTogether(1, 10_000), true)
})

test('those who cannot be known share one limit', () => {
  const quota = createQuota(10)
  assert.equal(quota.takeTogether(100, 0), true)
  assert.equal(enter(quota, undefined, 10, 0), true)
  assert.equal(enter(quota, undefined, 1, 0), false)
  assert.equal(enter(quota, 7, 1, 0), true)
})

test('so many users that nobody could remember them all take no more memory, and are limited all the same', () => {
  const quota = createQuota(10)
  assert.equal(quota.takeTogether(100, 0), true)
  for (let uid = 0; uid < 10_000; uid += 1) {
    assert.equal(enter(quota, uid, 10, 0), true)
    assert.equal(enter(quota, uid, 1, 0), false)
  }
})
