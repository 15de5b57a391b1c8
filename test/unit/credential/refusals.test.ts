import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { FailureCode } from '../../../agent/failure.ts'
import { failureTable } from '../../../agent/failure-table.ts'
import { emptyMemory } from '../../../agent/credential/memory.ts'
import type { PolicyFacts } from '../../../agent/credential/policy.ts'
import { isNoVerdict, isTerminalRefusal, withoutRefusals, withRefusal } from '../../../agent/credential/refusals.ts'
import { DAY, failure, gen, held, HOUR, MINUTE, NOW, onSas, onX509, remembers, sas } from './policy-facts.ts'

const authenticated: readonly FailureCode[] = [
  'HUB_REFUSED_CREDENTIAL',
  'DPS_REFUSED_CONNECTION',
  'DPS_UNAUTHORIZED',
  'DPS_NOT_FOUND',
  'DPS_DISABLED',
]
const codes = Object.keys(failureTable) as FailureCode[]
const expired: PolicyFacts = { ...onX509, inventory: { certificates: [held(1, 400, -1)], sas: 'ready' } }

test('of all failures only the refusals that come inside an authenticated channel count against a good certificate', () => {
  const counting = codes.filter((code) => isTerminalRefusal(failure(code), gen(1), onX509))
  assert.deepEqual(counting.toSorted(), authenticated.toSorted())
})

test('the same ones count against SAS', () => {
  const counting = codes.filter((code) => isTerminalRefusal(failure(code), sas, onSas))
  assert.deepEqual(counting.toSorted(), authenticated.toSorted())
})

const dated = (notAfterMs: number): PolicyFacts => ({
  ...onX509,
  inventory: { certificates: [{ ...held(1), notAfterMs }], sas: 'ready' },
})

test('a TLS alert counts only when our own certificate has expired by a trusted clock', () => {
  const alert = failure('TLS_CREDENTIAL_REFUSED')
  assert.equal(isTerminalRefusal(alert, gen(1), dated(NOW - 1)), true)
  assert.equal(isTerminalRefusal(alert, gen(1), dated(NOW)), false)
  assert.equal(isTerminalRefusal(alert, gen(1), { ...dated(NOW - DAY), clock: 'plausible' }), false)
  assert.equal(isTerminalRefusal(alert, gen(2), expired), false, 'another certificate has expired')
  assert.equal(isTerminalRefusal(alert, sas, { ...expired, active: sas }), false, 'SAS shows no certificate')
})

test('nothing counts, whatever it is, by a clock that is not trusted', () => {
  for (const clock of ['plausible', 'wrong'] as const)
    for (const code of codes) assert.equal(isTerminalRefusal(failure(code), gen(1), { ...expired, clock }), false, code)
})

const took = (of: PolicyFacts['active'], agoMs: number) =>
  of === undefined ? onX509 : remembers(onX509, { lastRegistration: { of, atMs: NOW - agoMs } })
const counts = (facts: PolicyFacts) => isTerminalRefusal(failure('DPS_UNAUTHORIZED'), gen(1), facts)

test('nothing counts for 35 minutes after DPS took another credential', () => {
  assert.equal(counts(took(sas, 35 * MINUTE - 1)), false)
  assert.equal(counts(took(sas, 35 * MINUTE)), true)
  assert.equal(counts(took(gen(2), MINUTE)), false)
  assert.equal(counts(took(gen(1), MINUTE)), true)
})

test('a registration from a clock that was ahead counts as one of now', () => {
  const memory = { ...emptyMemory, lastRegistration: { of: sas, atMs: NOW + 9 * DAY } }
  assert.equal(isNoVerdict(gen(1), memory, NOW), true)
  assert.equal(isNoVerdict(sas, memory, NOW), false)
  assert.equal(isNoVerdict(gen(1), emptyMemory, NOW), false)
})

test('refusals in a row are counted with the first and the last of them', () => {
  const one = withRefusal(emptyMemory, gen(1), failure('HUB_REFUSED_CREDENTIAL'), NOW)
  const two = withRefusal(one, gen(1), failure('DPS_UNAUTHORIZED'), NOW + HOUR)
  assert.deepEqual(two.refusals, {
    of: gen(1),
    count: 2,
    firstAtMs: NOW,
    lastAtMs: NOW + HOUR,
    code: 'DPS_UNAUTHORIZED',
  })
})

test('the refusals of another credential start anew', () => {
  const one = withRefusal(emptyMemory, gen(1), failure('DPS_UNAUTHORIZED'), NOW)
  const other = withRefusal(one, gen(2), failure('DPS_DISABLED'), NOW + HOUR)
  assert.deepEqual(other.refusals, {
    of: gen(2),
    count: 1,
    firstAtMs: NOW + HOUR,
    lastAtMs: NOW + HOUR,
    code: 'DPS_DISABLED',
  })
})

test('a clock that was set back between two refusals makes no time pass between them', () => {
  const one = withRefusal(emptyMemory, gen(1), failure('DPS_UNAUTHORIZED'), NOW)
  const two = withRefusal(one, gen(1), failure('DPS_UNAUTHORIZED'), NOW - DAY)
  assert.deepEqual([two.refusals?.count, two.refusals?.firstAtMs, two.refusals?.lastAtMs], [2, NOW - DAY, NOW - DAY])
})

test('a credential that works is no longer refused', () => {
  const memory = withRefusal({ ...emptyMemory, settledVersion: 7 }, gen(1), failure('DPS_UNAUTHORIZED'), NOW)
  assert.deepEqual(withoutRefusals(memory), { ...emptyMemory, settledVersion: 7 })
})
