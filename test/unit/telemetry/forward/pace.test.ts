import assert from 'node:assert/strict'
import { test } from 'node:test'
import { acknowledged, begin, newPace, rejected } from '../../../../agent/telemetry/forward/pace.ts'
import type { Pace } from '../../../../agent/telemetry/forward/pace.ts'

/** The pace after so many answers of this kind, one every 100 ms from `fromMs` on. */
function after(pace: Pace, answers: number, tookMs: number, fromMs: number): Pace {
  let next = pace
  for (let count = 0; count < answers; count += 1) next = acknowledged(next, tookMs, 20, fromMs + count * 100)
  return next
}

test('a session begins with 4 messages on their way and widens with each prompt answer, up to the limit', () => {
  const fresh = newPace(0)
  assert.equal(fresh.window, 4)
  assert.equal(after(fresh, 3, 50, 0).window, 7)
  assert.equal(after(fresh, 100, 50, 0).window, 20)
})

test('late answers halve the window once for all that were on their way, down to one message', () => {
  const wide = after(newPace(0), 100, 50, 0)
  const once = acknowledged(wide, 6_000, 20, 100_000)
  assert.equal(once.window, 10)
  assert.equal(acknowledged(once, 6_000, 20, 100_010).window, 10)
  assert.equal(acknowledged(once, 6_000, 20, 107_000).window, 5)
  let narrow = once
  for (let atMs = 107_000; atMs < 200_000; atMs += 7_000) narrow = acknowledged(narrow, 6_000, 20, atMs)
  assert.equal(narrow.window, 1)
})

test('answers that are neither prompt nor late change nothing', () => {
  const wide = after(newPace(0), 100, 50, 0)
  assert.equal(acknowledged(wide, 3_000, 20, 50_000).window, 20)
})

test('a hub that closed the session is sent half of what it took, and half of that the next time', () => {
  const once = rejected(newPace(0), 100, 10_000)
  assert.equal(once.perSecond, 50)
  assert.equal(rejected(once, 100, 20_000).perSecond, 25)
  assert.equal(rejected(once, 12, 20_000).perSecond, 6)
})

test('a session that sent less than 10 messages a second was not closed for too many', () => {
  assert.equal(rejected(newPace(0), 9.9, 10_000).perSecond, undefined)
})

test('a bound is eased by 8 % a second without trouble and is gone above 1,000 messages a second', () => {
  const bound = rejected(newPace(0), 100, 0)
  const minute = acknowledged(bound, 50, 20, 10_000)
  assert.ok(Math.abs((minute.perSecond ?? 0) - 50 * 1.08 ** 10) < 1e-6)
  assert.equal(acknowledged(bound, 50, 20, 60_000).perSecond, undefined)
})

test('the next session is careful again but keeps the bound', () => {
  const wide = after(rejected(newPace(0), 100, 0), 30, 50, 0)
  const next = begin(wide, 3_000)
  assert.equal(next.window, 4)
  assert.equal(next.perSecond, wide.perSecond)
})
