import assert from 'node:assert/strict'
import { test } from 'node:test'
import { emptyMemory } from '../../../agent/credential/memory.ts'
import type { FallenBack } from '../../../agent/credential/memory.ts'
import type { PolicyFacts } from '../../../agent/credential/policy.ts'
import { judgeReturn, withFallenBack, withReturned, withReturnFailed } from '../../../agent/credential/return.ts'
import { allows, DAY, gen, held, HOUR, MINUTE, NOW, onSas, policy, remembers } from './policy-facts.ts'

const nominal = () => 0.5
const fallenBack: FallenBack = {
  from: gen(1),
  cause: 'DPS_UNAUTHORIZED',
  sinceMs: NOW - 4 * HOUR,
  returnAtMs: NOW,
  returnsFailed: 0,
}
const due = remembers(onSas, { fallenBack })
const at = (returnAtMs: number) => remembers(onSas, { fallenBack: { ...fallenBack, returnAtMs } })
const candidateOf = (facts: PolicyFacts) => {
  const judgement = judgeReturn(facts)
  return judgement.do === 'fall' ? judgement.move.candidate : judgement.do
}

test('a device that has fallen back tries the certificate again that it fell from when its time has come', () => {
  assert.deepEqual(judgeReturn(due), {
    do: 'fall',
    move: { to: 'x509', candidate: gen(1), fresh: false, cause: 'return', because: 'DPS_UNAUTHORIZED' },
  })
})

test('until then it waits', () => {
  assert.deepEqual(judgeReturn(at(NOW + 1)), { do: 'wait', untilMs: NOW + 1 })
})

test('it returns with a newer certificate, even when the one that it fell from counts as refused', () => {
  const withNewer: PolicyFacts = { ...due, inventory: { certificates: [held(1), held(2, 1)], sas: 'ready' } }
  assert.deepEqual(candidateOf(withNewer), gen(2))
  assert.deepEqual(candidateOf(remembers(withNewer, { refusedGenerations: ['gen-0001', 'gen-0002'] })), gen(1))
})

test('it returns with a new certificate when the one that it fell from has expired', () => {
  assert.equal(candidateOf({ ...due, inventory: { certificates: [held(1, 400, -1)], sas: 'ready' } }), undefined)
})

test('there is no return without a fallback, on X.509, or with X.509 switched off', () => {
  assert.equal(judgeReturn(onSas).do, 'stay')
  assert.equal(judgeReturn({ ...due, active: gen(1) }).do, 'stay')
  assert.equal(judgeReturn(allows(due, { x509Enabled: false })).do, 'stay')
})

test('a return waits for the budget of moves and for a clock that is not wrong', () => {
  const spent = remembers(due, { moves: [NOW - DAY + HOUR, NOW - 2, NOW - 1] })
  assert.deepEqual(judgeReturn(spent), { do: 'wait', untilMs: NOW + HOUR })
  assert.deepEqual(judgeReturn({ ...due, clock: 'wrong' }), { do: 'wait', untilMs: NOW + MINUTE })
  assert.equal(judgeReturn({ ...due, clock: 'plausible' }).do, 'fall')
})

test('a clock that was set far back does not put the return off for ever', () => {
  const longestMs = 8 * policy.fallback.returnAfterMs * 1.1
  assert.equal(judgeReturn(at(NOW + longestMs)).do, 'wait')
  assert.equal(judgeReturn(at(NOW + longestMs + 1)).do, 'fall')
})

test('the first return is planned within a tenth of its time, and X.509 is not proven any more', () => {
  const before = { ...emptyMemory, x509ProvenSinceMs: NOW - DAY, settledVersion: 7 }
  const fallen = (random: number) => withFallenBack(before, gen(1), 'DPS_UNAUTHORIZED', NOW, policy, () => random)
  assert.deepEqual(fallen(0.5), {
    ...emptyMemory,
    settledVersion: 7,
    fallenBack: { ...fallenBack, sinceMs: NOW, returnAtMs: NOW + 4 * HOUR },
  })
  assert.equal(fallen(0).fallenBack?.returnAtMs, NOW + 4 * HOUR * 0.9)
  assert.equal(fallen(0.999_999_999).fallenBack?.returnAtMs, NOW + 4 * HOUR * 1.1)
})

test('the pause doubles with each return that fails, up to eight times the first', () => {
  let memory = due.memory
  const pauses = [1, 2, 3, 4, 5].map(() => {
    memory = withReturnFailed(memory, NOW, policy, nominal)
    return ((memory.fallenBack?.returnAtMs ?? 0) - NOW) / (4 * HOUR)
  })
  assert.deepEqual(pauses, [2, 4, 8, 8, 8])
  assert.equal(memory.fallenBack?.returnsFailed, 5)
  assert.equal(memory.fallenBack?.sinceMs, fallenBack.sinceMs)
})

test('a return that failed without a fallback changes nothing', () => {
  assert.equal(withReturnFailed(emptyMemory, NOW, policy, nominal), emptyMemory)
})

test('after the return neither the fallback nor the refusals that led to it are left', () => {
  const refusals = { of: gen(1), count: 9, firstAtMs: NOW - DAY, lastAtMs: NOW, code: 'DPS_UNAUTHORIZED' } as const
  assert.deepEqual(withReturned({ ...due.memory, refusals, fallbacks: [NOW - HOUR] }), {
    ...emptyMemory,
    fallbacks: [NOW - HOUR],
  })
})
