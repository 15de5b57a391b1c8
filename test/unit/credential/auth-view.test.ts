import assert from 'node:assert/strict'
import { test } from 'node:test'
import { viewAuth } from '../../../agent/credential/auth-view.ts'
import type { SasView } from '../../../agent/credential/auth-view.ts'
import type { Lifecycle } from '../../../agent/credential/lifecycle.ts'
import { Failure } from '../../../agent/failure.ts'
import { authFacts, authNowMs, onSas, onX509, refusedAttempt, wishedMove } from '../../kit/auth-facts.ts'

const move = wishedMove
const verdict = { result: 'refused', code: 'DPS_UNAUTHORIZED', reason: '401' } as const
const both = { active: onSas, candidate: onX509, move }

const phases: readonly (readonly [lifecycle: Lifecycle, mode: string, state: string, candidate?: string])[] = [
  [{ phase: 'newborn' }, 'sas', 'newborn'],
  [{ phase: 'steady', active: onX509 }, 'x509', 'active'],
  [{ phase: 'preparing', active: onSas, move }, 'sas', 'preparing'],
  [{ phase: 'registering', ...both }, 'sas', 'registering', 'gen-0002'],
  [{ phase: 'proving', ...both }, 'sas', 'proving', 'gen-0002'],
  [{ phase: 'committing', ...both }, 'x509', 'committing', 'gen-0002'],
  [{ phase: 'rollingBack', ...both, verdict }, 'sas', 'rollingBack', 'gen-0002'],
]

for (const [lifecycle, mode, state, candidate] of phases) {
  test(`${lifecycle.phase}: the mode is ${mode}, the state ${state}`, () => {
    const view = viewAuth(authFacts(lifecycle))
    assert.deepEqual([view.mode, view.lane, view.state, view.move?.candidate], [mode, mode, state, candidate])
  })
}

test('a certificate is awaited by a device that prepares, and by none that is beyond that', () => {
  const awaitingSinceMs = authNowMs - 1000
  for (const [lifecycle] of phases) {
    const view = viewAuth(authFacts(lifecycle, {}, { awaitingSinceMs }))
    const awaits = lifecycle.phase === 'newborn' || lifecycle.phase === 'preparing'
    assert.equal(view.state === 'awaitingCertificate', awaits, lifecycle.phase)
    assert.equal(view.awaitingSinceMs, awaits ? awaitingSinceMs : undefined)
  }
})

test('SAS by a connection string is a lane of its own, and X.509 beside one is not', () => {
  const sasSecret = { from: 'credential:connection-string', direct: true }
  assert.equal(viewAuth(authFacts({ phase: 'steady', active: onSas }, {}, { sasSecret })).lane, 'sasDirect')
  assert.equal(viewAuth(authFacts({ phase: 'steady', active: onX509 }, {}, { sasSecret })).lane, 'x509')
})

test('the move under way says who wants it, since when and why, and why it is rolled back', () => {
  const because = 'HUB_REFUSED_CREDENTIAL'
  const lifecycle: Lifecycle = { phase: 'rollingBack', ...both, move: { ...move, because }, verdict }
  assert.deepEqual(viewAuth(authFacts(lifecycle)).move, {
    ...{ to: 'x509', cause: 'twin', sinceMs: move.atMs, version: 7, because, candidate: 'gen-0002', verdict },
  })
})

function leftAfter(...fallbacks: readonly number[]): number {
  return viewAuth(authFacts(undefined, { fallbacks })).fallback.leftToday
}

function sasOf(...facts: Parameters<typeof authFacts>): SasView {
  return viewAuth(authFacts(...facts)).sas
}

const HOUR_MS = 3_600_000

test('fallbacks of the last day are counted, whatever the clock did since', () => {
  assert.equal(leftAfter(), 2)
  assert.equal(leftAfter(authNowMs - 25 * HOUR_MS, authNowMs - 23 * HOUR_MS), 1)
  assert.equal(leftAfter(authNowMs + HOUR_MS), 1)
  assert.equal(leftAfter(authNowMs, authNowMs, authNowMs), 0)
})

test('a move that is tried again waits for its time, with what ended it', () => {
  const retry = { move, notBeforeMs: authNowMs + HOUR_MS, failed: 1 }
  const { waiting } = viewAuth(authFacts(undefined, { retry, history: [refusedAttempt] }))
  const { code, reason } = refusedAttempt
  assert.deepEqual(waiting, { code, reason, untilMs: authNowMs + HOUR_MS })
})

test('what is looked at again every minute names no instant, which would be another one each minute', () => {
  const waiting = { code: 'CLOCK_UNTRUSTED', reason: 'the clock is wrong', untilMs: authNowMs + 60_000 } as const
  assert.deepEqual(viewAuth(authFacts(undefined, {}, { waiting })).waiting, {
    code: 'CLOCK_UNTRUSTED',
    reason: 'the clock is wrong',
  })
})

test('a SAS secret is available if it can be used and SAS is not over', () => {
  assert.equal(sasOf().available, true)
  assert.equal(sasOf(undefined, {}, { sas: 'absent' }).available, false)
  assert.equal(sasOf(undefined, { retirement: { atMs: authNowMs, done: false, left: [] } }).available, false)
  const exposed = new Failure('SAS_SECRET_EXPOSED', '/k is open: chmod 600 /k')
  const { available, failure } = sasOf(undefined, {}, { sas: exposed })
  assert.equal(available, false)
  assert.deepEqual(failure, { code: exposed.code, message: exposed.message, advice: exposed.advice })
})
