import assert from 'node:assert/strict'
import test from 'node:test'
import { usual } from '../../scripts/figures/renewals-page.ts'
import { busiest, DAY_MS, HOUR_MS, simulateFleet } from '../../scripts/figures/renewals.ts'

const waves = simulateFleet(usual)

test('a fleet that was certified in one hour is not renewed in one: a span of 18 days has 432 hours', () => {
  const [first = []] = waves
  const even = usual.devices / (0.2 * usual.lifetimeDays * 24)
  assert.ok(busiest(first, HOUR_MS) < 2 * even, `${busiest(first, HOUR_MS)} in an hour`)
  assert.ok(Math.min(...first) >= 54 * DAY_MS && Math.max(...first) <= 72 * DAY_MS + HOUR_MS)
})

test('the waves flatten from one renewal to the next', () => {
  const most = waves.map((times) => busiest(times, DAY_MS))
  assert.ok((most[4] ?? 0) < (most[0] ?? 0), String(most))
})

test('without a spread they all come at once', () => {
  const [first = []] = simulateFleet({ ...usual, policy: { ...usual.policy, spread: 0 } })
  assert.ok(busiest(first, HOUR_MS) > usual.devices / 2 - 1)
})

test('an outage keeps nobody from being renewed before the end of its certificate', () => {
  const outage = { fromDay: 62, toDay: 65 }
  const [first = [], second = []] = simulateFleet({ ...usual, outage })
  assert.ok(first.every((atMs) => atMs < outage.fromDay * DAY_MS || atMs >= outage.toDay * DAY_MS))
  assert.ok(first.every((atMs) => atMs < usual.lifetimeDays * DAY_MS))
  assert.ok(second.every((atMs, device) => atMs - (first[device] ?? 0) < usual.lifetimeDays * DAY_MS))
})
