import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Attempt } from '../../../agent/credential/memory.ts'
import type { HeldCertificate, PolicyFacts } from '../../../agent/credential/policy.ts'
import { judgeRescue } from '../../../agent/credential/rescue.ts'
import { allows, DAY, gen, held, HOUR, MINUTE, NOW, onSas, onX509, refused, remembers, sas } from './policy-facts.ts'

const holding = (facts: PolicyFacts, ...certificates: readonly HeldCertificate[]): PolicyFacts => ({
  ...facts,
  inventory: { ...facts.inventory, certificates },
})
const two = holding(refused(onX509, 3, 2 * MINUTE), held(1), held(2))
const attempt: Attempt = { to: 'x509', cause: 'rescue', result: 'rolledBack', atMs: NOW - 59 * MINUTE }

test('a device whose certificate is refused for good goes on with another one that it holds', () => {
  assert.deepEqual(judgeRescue(two), {
    do: 'fall',
    move: { to: 'x509', candidate: gen(2), fresh: false, cause: 'rescue', because: 'DPS_UNAUTHORIZED' },
  })
})

test('a device whose SAS key is refused for good goes on with a certificate that it holds', () => {
  const judgement = judgeRescue(refused(onSas, 3, 2 * MINUTE))
  assert.deepEqual(judgement.do === 'fall' && judgement.move.candidate, gen(1))
})

test('of several certificates the newest comes to the rescue, in whatever order they are held', () => {
  const many = [held(3, 30), held(1), held(2, 20), held(4, 90)]
  for (const certificates of [many, many.toReversed()]) {
    const judgement = judgeRescue(holding(two, ...certificates))
    assert.deepEqual(judgement.do === 'fall' && judgement.move.candidate, gen(2))
  }
})

const stays: readonly (readonly [sentence: string, facts: PolicyFacts])[] = [
  ['nothing was refused', holding(onX509, held(1), held(2))],
  ['two refusals were seen', holding(refused(onX509, 2, HOUR), held(1), held(2))],
  ['another credential was refused than the one in use', { ...two, active: sas }],
  ['it holds no other certificate', holding(two, held(1))],
  ['the other certificate has expired', holding(two, held(1), held(2, 400, -1))],
  ['the other certificate is not valid yet', holding(two, held(1), held(2, -1))],
  ['the other certificate was refused before', remembers(two, { refusedGenerations: ['gen-0002'] })],
  ['X.509 is switched off', allows(refused(onSas, 3, HOUR), { x509Enabled: false })],
  ['the clock is only plausible', { ...two, clock: 'plausible' }],
  ['the clock is wrong', { ...two, clock: 'wrong' }],
  ['it has no credential yet', { ...two, active: undefined }],
  ['a rescue has failed within the hour', remembers(two, { history: [attempt] })],
  ['only SAS is left', holding(two)],
]

for (const [sentence, facts] of stays) {
  test(`nothing comes to the rescue of a device when ${sentence}`, () => {
    assert.equal(judgeRescue(facts).do, 'stay')
  })
}

test('a rescue waits until the refusals span two minutes', () => {
  const early = holding(refused(onX509, 3, 0), held(1), held(2))
  assert.deepEqual(judgeRescue(early), { do: 'wait', untilMs: NOW + 2 * MINUTE })
})

test('a rescue waits for the budget of moves', () => {
  const spent = remembers(two, { moves: [NOW - DAY + HOUR, NOW - 2, NOW - 1] })
  assert.deepEqual(judgeRescue(spent), { do: 'wait', untilMs: NOW + HOUR })
})

test('a rescue is tried again an hour after one that failed, and at once after one that worked', () => {
  assert.equal(judgeRescue(remembers(two, { history: [{ ...attempt, atMs: NOW - HOUR }] })).do, 'fall')
  assert.equal(judgeRescue(remembers(two, { history: [{ ...attempt, result: 'active' }] })).do, 'fall')
})

test('a failed rescue that a clock set ahead has dated into the future holds up nothing', () => {
  assert.equal(judgeRescue(remembers(two, { history: [{ ...attempt, atMs: NOW + DAY }] })).do, 'fall')
})

test('where only DPS knows the hub, a clock that is merely plausible is enough, and one that is wrong is not', () => {
  const unassigned = { ...allows(onX509, { onboarding: 'sas' }), needsRegistration: true }
  const expected = { do: 'fall', move: { to: 'x509', fresh: true, cause: 'rescue', because: 'DPS_CSR_NEEDED' } }
  assert.deepEqual(judgeRescue({ ...unassigned, clock: 'plausible' }), expected)
  assert.equal(judgeRescue({ ...unassigned, clock: 'wrong' }).do, 'stay')
})
