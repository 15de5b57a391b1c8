import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Failure } from '../../../agent/failure.ts'
import { createInFlight } from '../../../agent/hub/in-flight.ts'
import { createFakeClock } from '../../kit/clock.ts'

const codeOf = (work: Promise<unknown>) =>
  work.then(
    () => 'done',
    (error: Failure) => error.code,
  )
const never = () => new Promise<never>(() => undefined)

test('work that is done in time is done, and no timer is left behind it for long', async () => {
  const clock = createFakeClock()
  const inFlight = createInFlight({ clock, withinMs: 1_000 }, new AbortController().signal)
  assert.equal(await inFlight.add('it', Promise.resolve(7)), 7)
  await clock.advance(1_000)
  assert.deepEqual(clock.pending(), [])
})

test('each piece is late by its own time, and the rest goes on', async () => {
  const clock = createFakeClock()
  const late: string[] = []
  const onLate = (failure: Failure) => late.push(failure.message)
  const inFlight = createInFlight({ clock, withinMs: 1_000, onLate }, new AbortController().signal)
  const first = codeOf(inFlight.add('the first', never()))
  await clock.advance(600)
  const second = codeOf(inFlight.add('the second', never()))
  await clock.advance(400)
  assert.equal(await first, 'HUB_NO_ANSWER')
  assert.equal(late.length, 1)
  await clock.advance(600)
  assert.equal(await second, 'HUB_NO_ANSWER')
})

test('a thousand pieces share one timer', async () => {
  const clock = createFakeClock()
  const over = new AbortController()
  const inFlight = createInFlight({ clock, withinMs: 1_000 }, over.signal)
  const all = Array.from({ length: 1_000 }, () => codeOf(inFlight.add('it', never())))
  assert.equal(clock.pending().length, 1)
  inFlight.failAll(new Failure('HUB_CLOSED', 'gone'))
  assert.deepEqual(new Set(await Promise.all(all)), new Set(['HUB_CLOSED']))
  over.abort()
  await clock.advance(0)
  assert.deepEqual(clock.pending(), [])
})

test('work that comes after the end fails as the rest did', async () => {
  const inFlight = createInFlight({ clock: createFakeClock(), withinMs: 1 }, new AbortController().signal)
  inFlight.failAll(new Failure('HUB_CLOSED', 'gone'))
  assert.equal(await codeOf(inFlight.add('it', Promise.reject(new Error('not connected')))), 'HUB_CLOSED')
})

test('after a pause the watch begins anew', async () => {
  const clock = createFakeClock()
  const inFlight = createInFlight({ clock, withinMs: 1_000 }, new AbortController().signal)
  await inFlight.add('it', Promise.resolve())
  await clock.advance(10_000)
  const late = codeOf(inFlight.add('it', never()))
  await clock.advance(1_000)
  assert.equal(await late, 'HUB_NO_ANSWER')
})
