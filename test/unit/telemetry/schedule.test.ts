import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Failure } from '../../../agent/failure.ts'
import { createSchedule } from '../../../agent/telemetry/schedule.ts'
import { createFakeClock } from '../../kit/clock.ts'
import type { FakeClock } from '../../kit/clock.ts'

/** A schedule that runs; `takenAt` are the instants of its samples. */
function start(clock: FakeClock, intervalMs: number, take: () => Promise<void> = () => Promise.resolve()) {
  const takenAt: number[] = []
  const failures: string[] = []
  const stop = new AbortController()
  const schedule = createSchedule({
    clock,
    intervalMs,
    take() {
      takenAt.push(clock.monotonicMs())
      return take()
    },
    onFailure: (failure) => failures.push(failure.code),
  })
  const ended = schedule.run(stop.signal).catch((error: unknown) => error)
  return { schedule, takenAt, failures, stop, ended }
}

test('the first sample comes at once, and one every interval after it', async () => {
  const clock = createFakeClock()
  const { takenAt, stop, ended } = start(clock, 60_000)
  await clock.advance(0)
  assert.deepEqual(takenAt, [0])
  await clock.advance(59_999)
  assert.deepEqual(takenAt, [0])
  await clock.advance(120_001)
  assert.deepEqual(takenAt, [0, 60_000, 120_000, 180_000])
  stop.abort()
  await ended
})

test('slow samples add no drift', async () => {
  const clock = createFakeClock()
  const { takenAt, stop, ended } = start(clock, 10_000, () => clock.wait(300))
  await clock.advance(50_000)
  assert.deepEqual(takenAt, [0, 10_000, 20_000, 30_000, 40_000, 50_000])
  stop.abort()
  await clock.advance(1000)
  await ended
})

test('after a long pause there is one sample, not one for each that was missed', async () => {
  const clock = createFakeClock()
  let pauseMs = 0
  const { takenAt, stop, ended } = start(clock, 10_000, () => clock.wait(pauseMs))
  pauseMs = 34_000
  await clock.advance(10_000)
  pauseMs = 0
  await clock.advance(60_000)
  // The sample of 10 s took until 44 s: that of 40 s is taken late, those of 20 s and 30 s are not.
  assert.deepEqual(takenAt, [0, 10_000, 44_000, 50_000, 60_000, 70_000])
  stop.abort()
  await ended
})

test('a shorter interval counts from the last sample, and is due at once when that was long ago', async () => {
  const clock = createFakeClock()
  const { schedule, takenAt, stop, ended } = start(clock, 60_000)
  await clock.advance(2000)
  schedule.setIntervalMs(5000)
  await clock.advance(4000)
  assert.deepEqual(takenAt, [0, 5000])
  schedule.setIntervalMs(60_000)
  await clock.advance(30_000)
  schedule.setIntervalMs(10_000)
  await clock.advance(0)
  assert.deepEqual(takenAt, [0, 5000, 36_000])
  assert.equal(schedule.intervalMs(), 10_000)
  await clock.advance(9000)
  assert.deepEqual(takenAt, [0, 5000, 36_000, 45_000])
  stop.abort()
  await ended
})

test('a longer interval puts the next sample off', async () => {
  const clock = createFakeClock()
  const { schedule, takenAt, stop, ended } = start(clock, 10_000)
  await clock.advance(1000)
  schedule.setIntervalMs(30_000)
  await clock.advance(28_000)
  assert.deepEqual(takenAt, [0])
  await clock.advance(1000)
  assert.deepEqual(takenAt, [0, 30_000])
  stop.abort()
  await ended
})

test('a step of the wall clock changes nothing', async () => {
  const clock = createFakeClock()
  const { takenAt, stop, ended } = start(clock, 10_000)
  await clock.advance(1000)
  clock.stepWall(365 * 86_400_000)
  await clock.advance(19_000)
  clock.stepWall(-730 * 86_400_000)
  await clock.advance(10_000)
  assert.deepEqual(takenAt, [0, 10_000, 20_000, 30_000])
  stop.abort()
  await ended
})

test('a sample that fails is told, and the next is taken at its time', async () => {
  const clock = createFakeClock()
  const { takenAt, failures, stop, ended } = start(clock, 10_000, () =>
    Promise.reject(new Failure('DISK_FULL', 'no room')),
  )
  await clock.advance(10_000)
  assert.deepEqual(takenAt, [0, 10_000])
  assert.deepEqual(failures, ['DISK_FULL', 'DISK_FULL'])
  stop.abort()
  await ended
})

test('it ends with the reason of the abort and leaves no timer behind', async () => {
  const clock = createFakeClock()
  const { stop, ended } = start(clock, 10_000)
  await clock.waiting()
  const reason = new Error('stopped')
  stop.abort(reason)
  assert.equal(await ended, reason)
  assert.deepEqual(clock.pending(), [])
})
