import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Failure } from '../../../agent/failure.ts'
import { createGate } from '../../../agent/hub/gate.ts'
import { readyForRenewal } from '../../../agent/hub/renewal.ts'
import { createFakeClock } from '../../kit/clock.ts'

const MINUTE = 60_000

/** A session with a token of one hour, and whether it is ready to be renewed. */
function hold(random = 0) {
  const clock = createFakeClock()
  const off = new AbortController()
  const ended = Promise.withResolvers<Failure>()
  const gate = createGate(ended.promise)
  const token = { endsAtMs: clock.now() + 60 * MINUTE }
  let renewed: Failure | undefined
  let failed: unknown
  const watch = async () => {
    const parts = { clock, random: () => random, host: 'hub-1' }
    try {
      renewed = await readyForRenewal(token, gate, parts, off.signal)
    } catch (error) {
      failed = error
    }
  }
  const over = watch()
  return { clock, off, ended, gate, over, renewed: () => renewed, failed: () => failed }
}

test('a session is renewed after 45 minutes, not a moment before', async () => {
  const { clock, renewed } = hold()
  await clock.advance(45 * MINUTE - 1)
  assert.equal(renewed(), undefined)
  await clock.advance(1)
  assert.equal(renewed()?.code, 'SESSION_RENEWED')
  assert.deepEqual(clock.pending(), [])
})

test('chance brings the renewal forward by a tenth at most', async () => {
  const { clock, renewed } = hold(0.999_999)
  await clock.advance(40.5 * MINUTE - 1)
  assert.equal(renewed(), undefined)
  await clock.advance(1_000)
  assert.equal(renewed()?.code, 'SESSION_RENEWED')
})

test('a wall clock that steps forward until less than five minutes are left is noticed within a minute', async () => {
  const { clock, renewed } = hold()
  await clock.advance(90_000)
  clock.stepWall(55 * MINUTE)
  await clock.advance(MINUTE)
  assert.equal(renewed()?.code, 'SESSION_RENEWED')
})

test('a step that leaves five minutes and more changes nothing', async () => {
  const { clock, renewed } = hold()
  clock.stepWall(50 * MINUTE)
  await clock.advance(5 * MINUTE)
  assert.equal(renewed(), undefined)
  await clock.advance(1 * MINUTE)
  assert.equal(renewed()?.code, 'SESSION_RENEWED')
})

test('a wall clock that is set back by a year puts nothing off', async () => {
  const { clock, renewed } = hold()
  clock.stepWall(-365 * 24 * 60 * MINUTE)
  await clock.advance(45 * MINUTE)
  assert.equal(renewed()?.code, 'SESSION_RENEWED')
})

test('no timer is longer than a minute', async () => {
  const { clock, over, off } = hold()
  for (let minute = 0; minute < 44; minute += 1) {
    assert.ok(clock.pending().every((ms) => ms <= MINUTE))
    await clock.advance(MINUTE)
  }
  off.abort(new Error('over'))
  await over
})

test('a session that is over first is not renewed, and leaves no timer', async () => {
  const { clock, off, over, renewed, failed } = hold()
  const reason = new Error('over')
  off.abort(reason)
  await over
  assert.equal(failed(), reason)
  assert.equal(renewed(), undefined)
  assert.deepEqual(clock.pending(), [])
})

test('what is on its way is waited for, whatever it comes to; what comes later is not begun and fails with the end', async () => {
  const { clock, gate, ended, over, renewed } = hold()
  const answers = [Promise.withResolvers<string>(), Promise.withResolvers<string>()] as const
  const works = answers.map(({ promise }) => gate.pass(() => promise).catch((error: Error) => error.message))
  await clock.advance(45 * MINUTE)
  let begun = false
  let late: unknown
  const lateWork = gate
    .pass(async () => {
      begun = true
    })
    .catch((error: unknown) => {
      late = error
    })
  answers[0].resolve('acknowledged')
  await clock.advance(0)
  assert.equal(renewed(), undefined)
  answers[1].reject(new Error('refused'))
  await over
  assert.deepEqual(await Promise.all(works), ['acknowledged', 'refused'])
  assert.deepEqual([renewed()?.code, begun, late], ['SESSION_RENEWED', false, undefined])
  const reason = new Failure('SESSION_RENEWED', 'test')
  ended.resolve(reason)
  await lateWork
  assert.deepEqual([begun, late], [false, reason])
})

test('what is not answered within five seconds is left behind', async () => {
  const { clock, gate, renewed } = hold()
  void gate.pass(() => new Promise<never>(() => undefined))
  await clock.advance(45 * MINUTE + 4_999)
  assert.equal(renewed(), undefined)
  await clock.advance(1)
  assert.equal(renewed()?.code, 'SESSION_RENEWED')
  assert.ok(renewed()?.cause instanceof Failure)
})
