import assert from 'node:assert/strict'
import type { LookupAddress } from 'node:dns'
import { test } from 'node:test'
import { Failure } from '../../../agent/failure.ts'
import { backoffMs } from '../../../agent/system/backoff.ts'
import { systemClock } from '../../../agent/system/clock.ts'
import { bounded } from '../../../agent/system/deadline.ts'
import { lookup } from '../../../agent/system/loopback.ts'
import { createFakeClock } from '../../kit/clock.ts'

const limits = { baseMs: 1000, capMs: 60_000 }

test('backoff doubles its ceiling up to the cap and spreads over all of it', () => {
  for (const [attempt, ceiling] of [
    [0, 1000],
    [1, 2000],
    [5, 32_000],
    [6, 60_000],
    [1000, 60_000],
  ] as const) {
    assert.equal(
      backoffMs(attempt, limits, () => 0),
      500,
    )
    assert.equal(
      backoffMs(attempt, limits, () => 1),
      ceiling,
    )
    assert.equal(
      backoffMs(attempt, limits, () => 0.5),
      500 + (ceiling - 500) / 2,
    )
  }
})

test('a deadline ends a wait that nobody answers, with its own code', async () => {
  const clock = createFakeClock()
  const never = new Promise<void>(() => undefined)
  const wait = bounded(never, { clock, withinMs: 5000, code: 'HUB_NO_ANSWER', what: 'the twin' })
  const refused = assert.rejects(wait, (error) => error instanceof Failure && error.code === 'HUB_NO_ANSWER')
  await clock.advance(4999)
  assert.deepEqual(clock.pending(), [1])
  await clock.advance(1)
  await refused
})

test('an answer in time leaves no timer behind', async () => {
  const clock = createFakeClock()
  const answer = await bounded(Promise.resolve(7), { clock, withinMs: 5000, code: 'HUB_NO_ANSWER', what: 'the twin' })
  assert.equal(answer, 7)
  assert.deepEqual(clock.pending(), [])
})

test('an abort ends a bounded wait with the reason of the abort', async () => {
  const clock = createFakeClock()
  const stop = new AbortController()
  const never = new Promise<void>(() => undefined)
  const wait = bounded(never, { clock, withinMs: 5000, code: 'HUB_NO_ANSWER', what: 'the twin' }, stop.signal)
  const reason = new Error('stopped')
  stop.abort(reason)
  await assert.rejects(wait, reason)
  assert.deepEqual(clock.pending(), [])
})

test('the real clock wakes on abort with the reason given', async () => {
  const stop = new AbortController()
  const reason = new Error('stopped')
  const wait = systemClock.wait(3_600_000, stop.signal)
  stop.abort(reason)
  await assert.rejects(wait, reason)
})

test('every name below localhost is loopback, whatever the resolver thinks', async () => {
  for (const name of ['localhost', 'hub-1.localhost', 'A.B.LOCALHOST', 'dps.localhost.']) {
    const found = await new Promise((resolve, reject) => {
      lookup(name, { all: false }, (error, address) => (error === null ? resolve(address) : reject(error)))
    })
    assert.equal(found, '127.0.0.1', name)
  }
  const all = await new Promise<string | LookupAddress[]>((resolve) => {
    lookup('x.localhost', { all: true }, (_error, addresses) => resolve(addresses))
  })
  assert.deepEqual(all, [{ address: '127.0.0.1', family: 4 }])
})
