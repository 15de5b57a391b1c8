/** The watchdog of systemd is fed by progress: every part of the agent promises when it will be seen again. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { keepsPromises } from '../../agent/agent.ts'
import { createNotify } from '../../agent/system/notify.ts'
import { createLog } from '../../agent/system/log.ts'
import { createFakeClock } from '../kit/clock.ts'

test('with nothing promised the agent is alive', () => {
  assert.equal(keepsPromises({ promises: new Map() }, 1_000), true)
})

test('one part that is overdue is enough for the agent to be stuck', () => {
  const promises = new Map([
    ['credentials', 60_000],
    ['link 1', 30_000],
  ])
  assert.equal(keepsPromises({ promises }, 29_999), true)
  assert.equal(keepsPromises({ promises }, 30_000), false)
})

test('a part that has gone, or that may wait for ever, holds nothing up', () => {
  const promises = new Map([['link 1', Number.POSITIVE_INFINITY]])
  assert.equal(keepsPromises({ promises }, Number.MAX_SAFE_INTEGER), true)
})

test('the watchdog goes without food from the broken promise on, and is fed again when it is kept', async () => {
  const clock = createFakeClock()
  const promises = new Map([['credentials', 100_000]])
  const asked: boolean[] = []
  const alive = () => {
    asked.push(keepsPromises({ promises }, clock.monotonicMs()))
    return false
  }
  const log = createLog({ level: 'error', clock, write: (line) => assert.fail(line) })
  const notify = createNotify({ environment: { NOTIFY_SOCKET: '/nowhere', WATCHDOG_USEC: '60000000' }, clock, log })
  const stop = new AbortController()
  const feeding = notify.feedWatchdog(alive, stop.signal)
  await clock.advance(120_000)
  promises.set('credentials', 300_000)
  await clock.advance(30_000)
  stop.abort()
  await feeding
  // At 0, 30, 60, 90, 120 and 150 seconds; due at 100, and again at 300.
  assert.deepEqual(asked, [true, true, true, true, false, true])
})
