import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PolicyFacts } from '../../../agent/credential/policy.ts'
import { judgeRetirement } from '../../../agent/credential/retirement.ts'
import { allows, allowsFallback, DAY, gen, HOUR, MINUTE, NOW, onX509, refused, remembers, sas } from './policy-facts.ts'

const proven = (forMs: number) => remembers(onX509, { x509ProvenSinceMs: NOW - forMs })
const soaked = proven(DAY)
const fallenBack = {
  from: gen(1),
  cause: 'DPS_UNAUTHORIZED',
  sinceMs: NOW - HOUR,
  returnAtMs: NOW + HOUR,
  returnsFailed: 0,
} as const

test('SAS is retired by wish once X.509 has proved itself for the soak', () => {
  assert.deepEqual(judgeRetirement(true, soaked), { do: 'retire' })
})

test('before that the wish waits, and the reason says since when and until when', () => {
  const judgement = judgeRetirement(true, proven(DAY - HOUR))
  assert.ok(judgement.do === 'wait')
  assert.equal(judgement.untilMs, NOW + HOUR)
  assert.match(judgement.reason, /since 2026-05-31T13:00:00\.000Z.*until 2026-06-01T13:00:00\.000Z/)
})

const obstacles: readonly (readonly [sentence: string, facts: PolicyFacts, reason: RegExp])[] = [
  ['the device is on SAS', { ...soaked, active: sas }, /not on X\.509/],
  ['the device has no credential yet', { ...soaked, active: undefined }, /not on X\.509/],
  ['the device has fallen back', remembers({ ...soaked, active: sas }, { fallenBack }), /fallen back/],
  ['the fallback is not over though X.509 is in use', remembers(soaked, { fallenBack }), /fallen back/],
  ['X.509 has never proved itself', onX509, /not proved itself yet/],
  ['the cloud refuses the certificate at this moment', refused(soaked, 1, 0), /refuses/],
  ['the clock is only plausible', { ...soaked, clock: 'plausible' }, /clock/],
  ['the clock is wrong', { ...soaked, clock: 'wrong' }, /clock/],
]

for (const [sentence, facts, reason] of obstacles) {
  test(`the wish to retire SAS waits while ${sentence}`, () => {
    const judgement = judgeRetirement(true, facts)
    assert.ok(judgement.do === 'wait')
    assert.equal(judgement.untilMs, NOW + MINUTE)
    assert.match(judgement.reason, reason)
  })
  test(`no policy retires SAS while ${sentence}`, () => {
    assert.equal(judgeRetirement(false, allowsFallback(facts, { retireAfterMs: 1 })).do, 'nothing')
  })
}

const after = (facts: PolicyFacts, retireAfterMs: number | undefined) =>
  judgeRetirement(false, allowsFallback(facts, { retireAfterMs })).do

test('without a wish SAS is retired only when the policy says so, and when X.509 has been proven that long', () => {
  assert.equal(after(proven(365 * DAY), undefined), 'nothing')
  assert.equal(after(proven(30 * DAY - 1), 30 * DAY), 'nothing')
  assert.equal(after(proven(30 * DAY), 30 * DAY), 'retire')
})

const soon = (facts: PolicyFacts) => allowsFallback(allows(facts, { soakMs: 2 * DAY }), { retireAfterMs: DAY })

test('a policy that retires SAS sooner than the soak waits for the soak', () => {
  assert.equal(judgeRetirement(false, soon(proven(2 * DAY - 1))).do, 'nothing')
  assert.equal(judgeRetirement(false, soon(proven(2 * DAY))).do, 'retire')
})

test('a wish does not wait for the later instant of the policy', () => {
  assert.equal(judgeRetirement(true, allowsFallback(soaked, { retireAfterMs: 30 * DAY })).do, 'retire')
})

const retiring = (facts: PolicyFacts, done: boolean) => remembers(facts, { retirement: { atMs: NOW, done, left: [] } })

test('a retirement that has begun is finished whatever else holds, and one that is done is not repeated', () => {
  for (const wished of [true, false]) {
    for (const [, facts] of obstacles) {
      assert.equal(judgeRetirement(wished, retiring(facts, false)).do, 'retire')
      assert.equal(judgeRetirement(wished, retiring(facts, true)).do, 'nothing')
    }
  }
})

test('a device without a SAS secret retires SAS all the same: one that is laid down later must not be used', () => {
  const absent: PolicyFacts = { ...soaked, inventory: { ...soaked.inventory, sas: 'absent' } }
  assert.equal(judgeRetirement(true, absent).do, 'retire')
})
