import assert from 'node:assert/strict'
import test from 'node:test'
import { judgeDue } from '../../../agent/credential/due.ts'
import type { CredentialRef } from '../../../agent/credential/credential-ref.ts'
import type { Lifecycle, Move } from '../../../agent/credential/lifecycle.ts'
import type { PolicyFacts } from '../../../agent/credential/policy.ts'
import { allows, DAY, gen, held, HOUR, NOW, onX509, remembers } from './policy-facts.ts'

const files = { lane: 'x509', generation: 'files' } as const
const steady = (active: CredentialRef): Lifecycle => ({ phase: 'steady', active })
const expiry: Move = { to: 'x509', fresh: true, cause: 'expiry', atMs: NOW }

const renewing: PolicyFacts = allows(onX509, { renewal: { enabled: true, fraction: 0.7, spread: 0.1, floorMs: HOUR } })
/** `held` is of 30 days of which some are left. */
const withDays = (facts: PolicyFacts, leftDays: number, lifetimeDays = 30): PolicyFacts => ({
  ...facts,
  inventory: {
    ...facts.inventory,
    certificates: [
      { ...held(1), notBeforeMs: NOW + (leftDays - lifetimeDays) * DAY, notAfterMs: NOW + leftDays * DAY, share: 0.5 },
    ],
  },
})
const renewal: Move = { to: 'x509', fresh: true, cause: 'renewal', atMs: NOW }

test('a certificate of which seven tenths are over is renewed, and none before', () => {
  assert.deepEqual(judgeDue(steady(gen(1)), undefined, withDays(renewing, 9)), { due: 'move', move: renewal })
  assert.deepEqual(judgeDue(steady(gen(1)), undefined, withDays(renewing, 9.1)), { due: 'nothing' })
})

test('nothing is renewed that the owner renews, by a clock that is wrong, or against his will', () => {
  const nothing = { due: 'nothing' }
  const due = withDays(renewing, 3)
  const pair = due.inventory.certificates.map((certificate) => ({ ...certificate, ref: files }))
  const onPair = { ...due, active: files, inventory: { ...due.inventory, certificates: pair } }
  assert.deepEqual(judgeDue(steady(files), undefined, onPair), nothing)
  assert.deepEqual(judgeDue(steady(gen(1)), undefined, { ...due, clock: 'wrong' }), nothing)
  assert.deepEqual(judgeDue(steady(gen(1)), undefined, withDays(onX509, 3)), nothing)
})

test('after a renewal that failed the next one waits for its time, and a try of a wish goes before', () => {
  const failed = (agoMs: number) =>
    remembers(withDays(renewing, 8), { renewal: { of: gen(1), failed: 1, lastAtMs: NOW - agoMs } })
  assert.equal(judgeDue(steady(gen(1)), undefined, failed(23 * HOUR)).due, 'nothing')
  assert.equal(judgeDue(steady(gen(1)), undefined, failed(25 * HOUR)).due, 'move')
  const ofAnother = { renewal: { of: gen(7), failed: 3, lastAtMs: NOW } }
  assert.equal(judgeDue(steady(gen(1)), undefined, remembers(withDays(renewing, 8), ofAnother)).due, 'move')
  const retry = { move: { ...renewal, cause: 'command' as const }, notBeforeMs: NOW + HOUR, failed: 1 }
  assert.equal(judgeDue(steady(gen(1)), undefined, remembers(withDays(renewing, 8), { retry })).due, 'nothing')
})

test('a renewal that is prepared goes on past expiry, and ends when it is not due after all', () => {
  const preparing = { phase: 'preparing', active: gen(1), move: renewal } as const
  assert.deepEqual(judgeDue(preparing, undefined, withDays(renewing, 3)), { due: 'nothing' })
  assert.deepEqual(judgeDue(preparing, undefined, withDays(renewing, -1)), { due: 'nothing' })
  assert.deepEqual(judgeDue(preparing, undefined, withDays(renewing, 29)), { due: 'withdraw' })
  assert.deepEqual(judgeDue(preparing, undefined, withDays(onX509, 3)), { due: 'withdraw' })
})

test('an expired certificate is replaced whether renewals are on or off', () => {
  assert.deepEqual(judgeDue(steady(gen(1)), undefined, withDays(renewing, -1)), { due: 'move', move: expiry })
})
