import assert from 'node:assert/strict'
import test from 'node:test'
import * as fc from 'fast-check'
import { planRenewal, shareOf } from '../../../agent/credential/renewal.ts'
import type { Renewable, RenewalPolicy } from '../../../agent/credential/renewal.ts'

const DAY = 86_400_000
const HOUR = 3_600_000
const BEGIN = Date.UTC(2026, 0, 1)
const policy: RenewalPolicy = { enabled: true, fraction: 0.7, spread: 0.1, floorMs: HOUR }

/** A certificate of ninety days in the middle of its span. */
const ninety: Renewable = { notBeforeMs: BEGIN, notAfterMs: BEGIN + 90 * DAY, share: 0.5 }
const plan = (certificate: Renewable, nowMs = BEGIN, offlineMs = 0) =>
  planRenewal(certificate, undefined, offlineMs, policy, nowMs)

test('a certificate of ninety days is renewed at seventy percent of them, give or take nine days', () => {
  assert.equal(plan(ninety).renewAtMs, BEGIN + 63 * DAY)
  assert.equal(plan({ ...ninety, share: 0 }).renewAtMs, BEGIN + 54 * DAY)
  assert.equal(plan({ ...ninety, share: 0.75 }).renewAtMs, BEGIN + 67.5 * DAY)
})

test('it is due from that moment on, and expired from its end on', () => {
  const states = [0, 63 * DAY - 1, 63 * DAY, 90 * DAY - 1, 90 * DAY].map((ms) => plan(ninety, BEGIN + ms).state)
  assert.deepEqual(states, ['notYet', 'notYet', 'due', 'due', 'expired'])
  assert.equal(plan(ninety, BEGIN - DAY).state, 'notYet', 'nor by a clock that is behind')
})

test('a device that was away for three weeks renews six weeks before the end, and never in the first third', () => {
  assert.equal(plan(ninety, BEGIN, 21 * DAY).renewAtMs, BEGIN + 48 * DAY)
  assert.equal(plan(ninety, BEGIN, 60 * DAY).renewAtMs, BEGIN + 30 * DAY)
  assert.equal(plan(ninety, BEGIN, DAY).renewAtMs, BEGIN + 63 * DAY, 'a day is no reason')
})

test('what an authority has set back counts from when it came', () => {
  // A minute of validity that begins an hour ago: by its own dates it would be due at once.
  const minute = { notBeforeMs: BEGIN - HOUR, notAfterMs: BEGIN + 60_000, share: 0.5 }
  assert.equal(plan({ ...minute, acceptedAtMs: BEGIN }).renewAtMs, BEGIN + 42_000)
  assert.equal(plan(minute).state, 'due')
  assert.equal(
    plan({ ...ninety, acceptedAtMs: BEGIN + 400 * DAY }).renewAtMs,
    BEGIN + 63 * DAY,
    'a clock that was wrong',
  )
})

/** Lets every attempt fail until the certificate has expired; when each came. */
function attemptsOf(certificate: Renewable): readonly number[] {
  const times: number[] = []
  for (let atMs = plan(certificate).renewAtMs; atMs < certificate.notAfterMs && times.length < 10_000;) {
    times.push(atMs)
    const { nextAttemptMs } = planRenewal(certificate, { failed: times.length, lastAtMs: atMs }, 0, policy, atMs)
    atMs = nextAttemptMs
  }
  return times
}

test('attempts that fail come daily at first, then ever denser, and hourly in the last hours', () => {
  const times = attemptsOf(ninety)
  const pauses = times.slice(1).map((atMs, index) => atMs - (times[index] ?? 0))
  assert.deepEqual(pauses.slice(0, 3), [DAY, DAY, DAY])
  assert.ok(pauses.every((pause, index) => index === 0 || pause <= (pauses[index - 1] ?? 0)))
  assert.equal(pauses.at(-1), HOUR)
})

test('a certificate of a minute has several attempts too', () => {
  const minute = { notBeforeMs: BEGIN, notAfterMs: BEGIN + 60_000, share: 1 - 2 ** -32 }
  assert.ok(attemptsOf(minute).length >= 5)
})

const anyCertificate: fc.Arbitrary<Renewable> = fc
  .tuple(fc.integer({ min: 10_000, max: 3650 * DAY }), fc.double({ min: 0, max: 0.999, noNaN: true }))
  .map(([lifetimeMs, share]) => ({ notBeforeMs: BEGIN, notAfterMs: BEGIN + lifetimeMs, share }))
const anySpell = fc.integer({ min: 0, max: 4000 * DAY })

test('the point lies within the lifetime, after its first third, and is earlier the longer a device was away', () => {
  fc.assert(
    fc.property(anyCertificate, anySpell, anySpell, (certificate, one, other) => {
      const { notBeforeMs, notAfterMs } = certificate
      const [near, far] = [Math.min(one, other), Math.max(one, other)]
      const [early, late] = [plan(certificate, BEGIN, far).renewAtMs, plan(certificate, BEGIN, near).renewAtMs]
      assert.ok(early <= late && late < notAfterMs)
      assert.ok(early >= notBeforeMs + (notAfterMs - notBeforeMs) / 3 - 1)
    }),
  )
})

test('two attempts are never closer than the floor, and at least five find room when all fail', () => {
  fc.assert(
    fc.property(anyCertificate, (certificate) => {
      const times = attemptsOf(certificate)
      const floor = Math.min(HOUR, (certificate.notAfterMs - certificate.notBeforeMs) / 50)
      assert.ok(times.length >= 5)
      assert.ok(times.every((atMs, index) => index === 0 || atMs - (times[index - 1] ?? 0) >= floor - 1))
    }),
  )
})

test('the share is the same for one thumbprint, and uniform over many', () => {
  assert.equal(shareOf('00000000FF'), 0)
  assert.equal(shareOf('80000000'), 0.5)
  assert.equal(shareOf('FFFFFFFF00'), 1 - 2 ** -32)
})
