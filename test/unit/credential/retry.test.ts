import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { FailureCode } from '../../../agent/failure.ts'
import type { Cause, Move, Setback, Verdict } from '../../../agent/credential/lifecycle.ts'
import { emptyMemory } from '../../../agent/credential/memory.ts'
import type { Memory } from '../../../agent/credential/memory.ts'
import { isRetryDue, withRetry } from '../../../agent/credential/retry.ts'
import { DAY, gen, HOUR, MINUTE, NOW, sas } from './policy-facts.ts'

const lowest = () => 0
const highest = () => 0.999_999_999
const move: Move = { to: 'x509', fresh: false, cause: 'twin', version: 7, renew: 'spring', atMs: NOW }
const verdict = (result: Setback, code: FailureCode = 'AUTH_PROOF_LATE'): Verdict => ({ result, code, reason: 'so' })
const late = verdict('unreachable')
const pausesOf = (random: () => number) => {
  let memory: Memory = emptyMemory
  return [1, 2, 3, 4, 5, 6, 7].map(() => {
    memory = withRetry(memory, move, late, NOW, random)
    return ((memory.retry?.notBeforeMs ?? 0) - NOW) / MINUTE
  })
}

test('a wish that met an outage is tried again after 15 minutes, doubling to four hours, jittered over the upper half', () => {
  assert.deepEqual(pausesOf(highest), [15, 30, 60, 120, 240, 240, 240])
  assert.deepEqual(pausesOf(lowest), [7.5, 15, 30, 60, 120, 120, 120])
})

test('another wish starts with the first pause', () => {
  const twice = withRetry(withRetry(emptyMemory, move, late, NOW, highest), move, late, NOW, highest)
  for (const other of [
    { ...move, version: 8 },
    { ...move, renew: 'summer' },
    { ...move, cause: 'command' as const },
  ]) {
    const { retry } = withRetry(twice, other, late, NOW, highest)
    assert.deepEqual(retry, { move: other, notBeforeMs: NOW + 15 * MINUTE, failed: 1 })
  }
})

for (const result of ['refused', 'rejected'] as const) {
  test(`a wish that was ${result} is settled and never tried again`, () => {
    const waiting = withRetry(emptyMemory, move, late, NOW, highest)
    assert.deepEqual(withRetry(waiting, move, verdict(result), NOW, highest), {
      ...emptyMemory,
      settledVersion: 7,
      settledTo: move.to,
      settledRenew: 'spring',
    })
  })
}

const causes: Readonly<Record<Cause, boolean>> = {
  twin: true,
  command: true,
  method: true,
  expiry: true,
  fallback: false,
  return: false,
  rescue: false,
  renewal: false,
}

for (const [cause, again] of Object.entries(causes) as [Cause, boolean][]) {
  test(`a move by ${cause} that met an outage ${again ? 'is tried again' : 'leaves the retry of a wish as it is'}`, () => {
    const waiting = withRetry(emptyMemory, { ...move, version: 1 }, late, NOW, highest)
    const memory = withRetry(waiting, { ...move, cause }, late, NOW + HOUR, highest)
    assert.equal(memory.retry?.move.cause, again ? cause : 'twin')
    if (!again) assert.equal(memory, waiting)
  })
}

test('a move of its own that was refused leaves the retry of a wish as it is', () => {
  const waiting = withRetry(emptyMemory, move, late, NOW, highest)
  assert.equal(withRetry(waiting, { ...move, cause: 'rescue' }, verdict('refused'), NOW, highest), waiting)
})

const took = (agoMs: number, code: FailureCode) => {
  const memory = { ...emptyMemory, lastRegistration: { of: sas, atMs: NOW - agoMs } }
  return (withRetry(memory, move, verdict('rolledBack', code), NOW, lowest).retry?.notBeforeMs ?? 0) - NOW
}

test('after a refusal that was no verdict DPS is given 36 minutes from what it took last', () => {
  assert.equal(took(MINUTE, 'DPS_UNAUTHORIZED'), 35 * MINUTE)
  assert.equal(took(34 * MINUTE, 'DPS_UNAUTHORIZED'), 7.5 * MINUTE)
  assert.equal(took(MINUTE, 'AUTH_PROOF_LATE'), 7.5 * MINUTE)
  assert.equal(took(-9 * DAY, 'DPS_UNAUTHORIZED'), 36 * MINUTE, 'a stamp ahead counts as of now')
})

const due = (aheadMs: number) =>
  isRetryDue({ ...emptyMemory, retry: { move, notBeforeMs: NOW + aheadMs, failed: 1 } }, NOW)

test('a retry is due when its time has come, and when it lies so far ahead that the clock must have been set back', () => {
  assert.equal(isRetryDue(emptyMemory, NOW), false)
  assert.equal(due(1), false)
  assert.equal(due(0), true)
  assert.equal(due(DAY), false)
  assert.equal(due(DAY + 1), true)
})

test('what else is remembered is left alone', () => {
  const before: Memory = { ...emptyMemory, settledVersion: 3, refusedGenerations: [gen(2).generation], moves: [NOW] }
  const { retry: _new, ...others } = withRetry(before, move, late, NOW, lowest)
  assert.deepEqual(others, before)
})
