import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createVirtualClock } from '../../kit/virtual-clock.ts'

test('each step wakes the next one who waits, and all that follows from it happens at that instant', async () => {
  const clock = createVirtualClock(0)
  const heard: string[] = []
  const say = async (who: string, ms: number) => {
    await clock.wait(ms)
    await Promise.resolve()
    heard.push(`${who} at ${clock.monotonicMs()}`)
  }
  void say('late', 5_000)
  void say('early', 1_000).then(() => say('early again', 2_000))
  assert.deepEqual(clock.pending(), [1_000, 5_000])
  while (await clock.step(10_000)) heard.push('step')
  assert.deepEqual(heard, ['early at 1000', 'step', 'early again at 3000', 'step', 'late at 5000', 'step'])
  assert.equal(clock.monotonicMs(), 10_000)
})

test('the wall clock can be set without anybody being woken for it', async () => {
  const clock = createVirtualClock(1_000)
  let isWoken = false
  const wake = async () => {
    await clock.wait(60_000)
    isWoken = true
  }
  void wake()
  clock.stepWall(-500)
  assert.equal(await clock.step(1_000), false)
  assert.equal(clock.now(), 1_500)
  clock.stepWall(3_600_000)
  assert.equal(await clock.step(59_999), false)
  assert.equal(isWoken, false)
  assert.equal(await clock.step(60_000), true)
  assert.equal(isWoken, true)
})

test('a wait ends with the reason of its signal, and is forgotten', async () => {
  const clock = createVirtualClock()
  const stop = new AbortController()
  const waiting = clock.wait(1_000, stop.signal)
  stop.abort(new Error('enough'))
  await assert.rejects(waiting, /enough/)
  await assert.rejects(clock.wait(1_000, stop.signal), /enough/)
  assert.deepEqual(clock.pending(), [])
})

test('without power nobody is woken any more', async () => {
  const clock = createVirtualClock()
  let woken = 0
  const count = () => {
    woken += 1
  }
  void clock.wait(1_000).then(count)
  clock.stop()
  void clock.wait(0).then(count)
  assert.equal(await clock.step(2_000), false)
  assert.equal(woken, 0)
})
