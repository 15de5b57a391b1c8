import assert from 'node:assert/strict'
import { test } from 'node:test'
import { viewAuth } from '../../../agent/credential/auth-view.ts'
import type { Attempt, Memory } from '../../../agent/credential/memory.ts'
import type { Lifecycle } from '../../../agent/credential/lifecycle.ts'
import { Failure } from '../../../agent/failure.ts'
import { failureTable } from '../../../agent/failure-table.ts'
import type { Finding } from '../../../agent/health/warning-table.ts'
import { findWarnings } from '../../../agent/health/warnings.ts'
import type { HealthFacts } from '../../../agent/health/warnings.ts'
import { authFacts, authNowMs, onSas, onX509, refusedAttempt, wishedMove } from '../../kit/auth-facts.ts'

const DAY_MS = 86_400_000

const steadyOnX509: Lifecycle = { phase: 'steady', active: onX509 }

function find(facts: ReturnType<typeof authFacts>, others: Partial<HealthFacts> = {}): readonly Finding[] {
  return findWarnings({ nowMs: facts.nowMs, hub: { state: 'connected' }, auth: viewAuth(facts), ...others })
}

function codes(facts: ReturnType<typeof authFacts>, others: Partial<HealthFacts> = {}): readonly string[] {
  return find(facts, others).map(({ code }) => code)
}

test('a device that is where it is wanted has nothing to warn of, on either lane', () => {
  assert.deepEqual(codes(authFacts()), [])
  assert.deepEqual(codes(authFacts(steadyOnX509)), [])
})

test('a rollback is warned of with its cause, and nothing has to be done for it to go on', () => {
  const verdict = { result: 'refused', code: 'DPS_UNAUTHORIZED', reason: 'DPS answered 401' } as const
  const both = { active: onSas, candidate: onX509, move: wishedMove }
  const [found] = find(authFacts({ phase: 'rollingBack', ...both, verdict }))
  assert.equal(found?.code, 'ROLLING_BACK')
  assert.match(found.text, /gen-0002 .*DPS_UNAUTHORIZED.*DPS answered 401/)
  assert.match(found.advice ?? '', /^Nothing: /)
  assert.ok(found.advice?.endsWith(failureTable.DPS_UNAUTHORIZED.advice))
  assert.deepEqual(codes(authFacts({ phase: 'proving', ...both })), [])
})

const fallenBack: NonNullable<Memory['fallenBack']> = {
  from: onX509,
  cause: 'DPS_DISABLED',
  sinceMs: Date.UTC(2026, 10, 23, 6),
  returnAtMs: Date.UTC(2026, 10, 23, 14),
  returnsFailed: 0,
}

test('a fallback is warned of with its cause, its start, the next return, and what to type', () => {
  const [found, ...others] = find(authFacts(undefined, { fallenBack }))
  assert.equal(found?.code, 'FALLEN_BACK_TO_SAS')
  assert.match(found.text, /2026-11-23T06:00.*DPS_DISABLED.*2026-11-23T14:00/)
  assert.ok(found.advice?.startsWith(failureTable.DPS_DISABLED.advice))
  assert.match(found.advice ?? '', /iot-device-agent auth x509$/)
  assert.deepEqual(others, [])
})

test('a return that failed is no warning of its own beside the fallback', () => {
  const history = [{ ...refusedAttempt, cause: 'return' as const }]
  assert.deepEqual(codes(authFacts(undefined, { fallenBack, history })), ['FALLEN_BACK_TO_SAS'])
})

/** What is warned of a device on SAS whose last move was this one. */
function afterAttempt(change: Partial<Attempt>, others: Partial<HealthFacts> = {}): readonly string[] {
  return codes(authFacts(undefined, { history: [{ ...refusedAttempt, ...change }] }), others)
}

test('a wish that was refused is warned of with the code, the reason and its advice', () => {
  const [found] = find(authFacts(undefined, { history: [refusedAttempt] }))
  assert.equal(found?.code, 'MOVE_REFUSED')
  assert.match(found.text, /X\.509.*DPS_UNAUTHORIZED.*CA certificate not found/)
  assert.equal(found.advice, failureTable.DPS_UNAUTHORIZED.advice)
})

const results: readonly (readonly [result: Attempt['result'], expected: readonly string[]])[] = [
  ['refused', ['MOVE_REFUSED']],
  ['rejected', ['MOVE_REFUSED']],
  ['rolledBack', ['MOVE_ROLLED_BACK']],
  ['unreachable', []],
]

for (const [result, expected] of results) {
  test(`a last move that ended ${result}: ${expected.join() || 'nothing'}`, () => {
    assert.deepEqual(afterAttempt({ result }), expected)
  })
}

test('a newer attempt, and a move under way, end the warning', () => {
  const newer: Attempt = { to: 'x509', cause: 'twin', version: 8, result: 'active', atMs: authNowMs }
  assert.deepEqual(codes(authFacts(steadyOnX509, { history: [refusedAttempt, newer] })), [])
  const moving: Lifecycle = { phase: 'preparing', active: onSas, move: wishedMove }
  assert.deepEqual(codes(authFacts(moving, { history: [refusedAttempt] })), [])
})

test('a wish that was refused is a warning for as long as the twin wishes it', () => {
  assert.deepEqual(afterAttempt({}, { wished: { mode: 'x509' } }), ['MOVE_REFUSED'])
  assert.deepEqual(afterAttempt({}, { wished: { mode: 'sas' } }), [])
  assert.deepEqual(afterAttempt({}, { wished: {} }), [])
  // A renewal that was refused leads to the lane on which the device is.
  const renewal = authFacts(steadyOnX509, { history: [refusedAttempt] })
  assert.deepEqual(codes(renewal, { wished: { mode: 'x509', renew: '2026-11' } }), ['MOVE_REFUSED'])
  assert.deepEqual(codes(renewal, { wished: { mode: 'x509' } }), [])
})

test('what was ordered by hand, or tried by the device itself, is a warning for a day', () => {
  for (const cause of ['command', 'method', 'return', 'rescue', 'fallback', 'expiry'] as const) {
    assert.deepEqual(afterAttempt({ cause, atMs: authNowMs - DAY_MS + 1 }), ['MOVE_REFUSED'], cause)
    assert.deepEqual(afterAttempt({ cause, atMs: authNowMs - DAY_MS }), [], cause)
  }
})

test('a SAS secret that cannot be used is warned of with its own advice, until SAS is retired', () => {
  const sas = new Failure('SAS_SECRET_EXPOSED', '/k (mode 0644) is open: chmod 600 /k')
  const [found] = find(authFacts(steadyOnX509, {}, { sas }))
  assert.equal(found?.code, 'SAS_SECRET_UNUSABLE')
  assert.match(found.text, /SAS_SECRET_EXPOSED: .*chmod 600/)
  assert.equal(found.advice, sas.advice)
  const retirement = { atMs: 0, done: true, left: [] }
  assert.deepEqual(codes(authFacts(steadyOnX509, { retirement }, { sas })), [])
})

test('copies of a retired secret are named until nothing is left', () => {
  const left = ['/etc/k belongs to root: rm /etc/k', 'the key stands in a backup']
  const [found] = find(authFacts(steadyOnX509, { retirement: { atMs: 0, done: false, left } }))
  assert.equal(found?.code, 'RETIREMENT_INCOMPLETE')
  for (const copy of left) assert.ok(found.text.includes(copy))
})

/** X.509 has proved itself for so many days. */
function since(days: number): Partial<Memory> {
  return { x509ProvenSinceMs: authNowMs - days * DAY_MS }
}

test('a SAS secret that nobody has needed for 30 days is noted, and only on X.509', () => {
  assert.deepEqual(codes(authFacts(steadyOnX509, since(30))), ['SAS_STILL_HERE'])
  assert.deepEqual(codes(authFacts(steadyOnX509, since(29.9))), [])
  assert.deepEqual(codes(authFacts(undefined, since(30))), [])
  assert.deepEqual(codes(authFacts(steadyOnX509, since(30), { sas: 'absent' })), [])
})

test('an audit trail that does not fit together is a warning', () => {
  const audit = { seq: 3, head: 'ab', intact: false }
  assert.deepEqual(codes(authFacts(undefined, {}, { audit })), ['AUDIT_TAMPERED'])
  assert.deepEqual(codes(authFacts(undefined, {}, { audit: { ...audit, intact: true } })), [])
})

const clocks: readonly (readonly [clock: NonNullable<HealthFacts['clock']>, code?: string, text?: RegExp])[] = [
  [{ trust: 'trusted', skewSeconds: 2 }],
  [{ trust: 'plausible' }, 'CLOCK_UNTRUSTED', /not synchronised/],
  [{ trust: 'wrong' }, 'CLOCK_WRONG', /before what this device has seen/],
  [{ trust: 'wrong', skewSeconds: 400.4 }, 'CLOCK_WRONG', /400 s ahead of/],
  [{ trust: 'wrong', skewSeconds: -400 }, 'CLOCK_WRONG', /400 s behind/],
]

for (const [clock, code, text = /^$/] of clocks) {
  test(`a clock that is ${JSON.stringify(clock)}: ${code ?? 'nothing'}`, () => {
    const found = findWarnings({ nowMs: 0, hub: { state: 'connected' }, clock })
    assert.deepEqual(
      found.map((finding) => finding.code),
      code === undefined ? [] : [code],
    )
    assert.match(found[0]?.text ?? '', text)
  })
}
