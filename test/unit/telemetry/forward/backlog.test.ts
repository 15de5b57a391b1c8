import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createAllowance } from '../../../../agent/telemetry/forward/allowance.ts'
import { backlogDepth, gatheredBy } from '../../../../agent/telemetry/forward/backlog.ts'
import type { StreamView } from '../../../../agent/telemetry/outbox/port.ts'

function stream(key: number, head: number, tail: number): StreamView {
  return { key, name: `s${key}`, priority: 'telemetry', head, tail, closed: tail, headAtMs: 0, tailAtMs: 0 }
}

test('100 samples are no backlog, 101 are', () => {
  assert.equal(gatheredBy([stream(1, 1, 60), stream(2, 1, 40)], new Map()).size, 0)
  assert.deepEqual(
    [...gatheredBy([stream(1, 1, 60), stream(2, 1, 41)], new Map())],
    [
      [1, 60],
      [2, 41],
    ],
  )
})

test('what is left of a backlog stays one when a session is replaced by the next', () => {
  const before = new Map([
    [1, 60],
    [2, 40],
  ])
  assert.deepEqual([...gatheredBy([stream(1, 50, 70), stream(2, 41, 45)], before)], [[1, 60]])
})

test('the depth of a backlog leaves out what came in since', () => {
  assert.equal(backlogDepth([stream(1, 11, 70), stream(2, 1, 5)], new Map([[1, 60]])), 50)
})

test('an allowance of 10 a second lets one go at once, then one every 100 ms', () => {
  const allowance = createAllowance(0)
  assert.equal(allowance.waitMs(10, 0), 0)
  allowance.take(10, 0)
  assert.equal(allowance.waitMs(10, 0), 100)
  assert.equal(allowance.waitMs(10, 100), 0)
})

test('an allowance that was not used for an hour lets no more than one second go at once', () => {
  const allowance = createAllowance(0)
  for (let count = 0; count < 10; count += 1) allowance.take(10, 3_600_000)
  assert.equal(allowance.waitMs(10, 3_600_000), 100)
})

test('an allowance below one a second still lets a whole message go', () => {
  const allowance = createAllowance(0)
  allowance.take(0.5, 0)
  assert.equal(allowance.waitMs(0.5, 0), 2000)
  assert.equal(allowance.waitMs(0.5, 2000), 0)
})
