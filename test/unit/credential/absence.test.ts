/** How long a device was away: by failures of the link while it ran, by the wall clock while it was switched off. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { measureAbsence } from '../../../agent/credential/absence.ts'
import type { ClockTrust } from '../../../agent/credential/policy.ts'
import type { LinkEvents } from '../../../agent/credential/rotation-ports.ts'
import { Failure } from '../../../agent/failure.ts'
import { createFakeClock } from '../../kit/clock.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR
const START = Date.UTC(2026, 10, 24)

const silent: LinkEvents = {
  gate: () => Promise.resolve(),
  registered: () => Promise.resolve(),
  connected: () => undefined,
  twinRead: () => undefined,
  acknowledged: () => undefined,
  failed: () => undefined,
}
const outage = new Failure('NETWORK_DNS', 'no name')

function device(savedMs?: number) {
  const clock = createFakeClock(START)
  const state: { trust: ClockTrust } = { trust: 'trusted' }
  const absence = measureAbsence({ clock, trust: () => state.trust, savedMs })
  return { clock, state, absence, events: absence.watched(silent) }
}

test('an outage counts from the first attempt that failed to the next session', async () => {
  const { clock, absence, events } = device()
  events.connected(undefined)
  events.failed(outage)
  await clock.advance(2 * HOUR)
  events.failed(outage)
  await clock.advance(HOUR)
  events.connected(undefined)
  assert.equal(absence.lastMs(), 3 * HOUR)
})

test('time switched off counts up to the first session, less what the saved time may be old', async () => {
  const { clock, absence, events } = device(START - 9 * DAY)
  assert.equal(absence.lastMs(), 0)
  await clock.advance(MINUTE)
  events.connected(undefined)
  await clock.advance(5 * MINUTE)
  assert.equal(absence.lastMs(), 9 * DAY + MINUTE - HOUR)
  await clock.advance(DAY)
  events.connected(undefined)
  assert.equal(absence.lastMs(), 9 * DAY + MINUTE - HOUR)
})

test('a restart is none, and neither is a saved time that lies ahead', () => {
  for (const savedMs of [START - 59 * MINUTE, START + DAY]) {
    const { absence, events } = device(savedMs)
    events.connected(undefined)
    assert.equal(absence.lastMs(), 0)
  }
})

test('a clock that is not trusted says nothing about it until it is', () => {
  const { state, absence, events } = device(START - 9 * DAY)
  state.trust = 'plausible'
  events.connected(undefined)
  assert.equal(absence.lastMs(), 0)
  state.trust = 'trusted'
  assert.equal(absence.lastMs(), 9 * DAY - HOUR)
})
