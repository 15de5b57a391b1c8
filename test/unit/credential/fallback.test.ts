import assert from 'node:assert/strict'
import { test } from 'node:test'
import { judgeFallback } from '../../../agent/credential/fallback.ts'
import type { Attempt } from '../../../agent/credential/memory.ts'
import type { PolicyFacts } from '../../../agent/credential/policy.ts'
import {
  allows,
  allowsFallback,
  DAY,
  failure,
  gen,
  held,
  HOUR,
  MINUTE,
  NOW,
  onSas,
  onX509,
  refused,
  remembers,
} from './policy-facts.ts'

/** Everything that a fallback needs, just so. */
const ripe = refused(onX509, 5, 30 * MINUTE)

test('a device whose certificate the cloud refuses for good falls back to SAS with the cause', () => {
  assert.deepEqual(judgeFallback(ripe), {
    do: 'fall',
    move: {
      to: 'sas',
      candidate: { lane: 'sas' },
      fresh: false,
      cause: 'fallback',
      because: 'DPS_UNAUTHORIZED',
    },
  })
})

/** Nothing could come to the rescue. */
const noneHeld: PolicyFacts['inventory'] = { certificates: [], sas: 'ready' }

const stays: readonly (readonly [sentence: string, facts: PolicyFacts])[] = [
  ['nothing was refused', onX509],
  ['one refusal is missing', refused(onX509, 4, 30 * MINUTE)],
  ['it is on SAS', refused({ ...onSas, inventory: noneHeld }, 9, HOUR)],
  ['it has no credential yet', { ...ripe, active: undefined }],
  ['another certificate was refused than the one in use', { ...ripe, active: gen(2), inventory: noneHeld }],
  ['the policy allows no fallback', allowsFallback(ripe, { enabled: false })],
  ['the migration is over', allowsFallback(ripe, { untilMs: NOW })],
  ['nobody has said when the migration is over', allowsFallback(ripe, { untilMs: undefined })],
  ['a day allows none', allowsFallback(ripe, { perDay: 0 })],
  ['the clock is only plausible', { ...ripe, clock: 'plausible' }],
  ['the clock is wrong', { ...ripe, clock: 'wrong' }],
  ['there is no SAS secret', { ...ripe, inventory: { ...ripe.inventory, sas: 'absent' } }],
  ['the SAS secret cannot be used', { ...ripe, inventory: { ...ripe.inventory, sas: failure('SAS_SECRET_EXPOSED') } }],
  ['SAS is retired', remembers(ripe, { retirement: { atMs: NOW - DAY, done: true, left: [] } })],
  ['the retirement of SAS has begun', remembers(ripe, { retirement: { atMs: NOW, done: false, left: [] } })],
  [
    'another certificate has its turn first',
    { ...ripe, inventory: { certificates: [held(1), held(2)], sas: 'ready' } },
  ],
]

for (const [sentence, facts] of stays) {
  test(`a device stays where it is when ${sentence}`, () => {
    assert.equal(judgeFallback(facts).do, 'stay')
  })
}

const waits: readonly (readonly [sentence: string, facts: PolicyFacts, untilMs: number])[] = [
  ['the refusals came within the hold-off', refused(onX509, 5, 20 * MINUTE), NOW + 10 * MINUTE],
  ['the hold-off ends at once', refused(onX509, 5, 30 * MINUTE - 1), NOW + MINUTE],
  [
    'the fallbacks of the day are spent',
    remembers(ripe, { fallbacks: [NOW - 20 * HOUR, NOW - 2 * HOUR] }),
    NOW + 4 * HOUR,
  ],
  ['the moves of the day are spent', remembers(ripe, { moves: [NOW - 3, NOW - 2, NOW - DAY + HOUR] }), NOW + HOUR],
  [
    'the last fallback began less than an hour ago',
    remembers(ripe, { fallbacks: [NOW - 50 * MINUTE] }),
    NOW + 10 * MINUTE,
  ],
  [
    'several of these hold, until the last of them does not',
    remembers(ripe, { fallbacks: [NOW - 50 * MINUTE], moves: [NOW - 3, NOW - 2, NOW - DAY + 2 * HOUR] }),
    NOW + 2 * HOUR,
  ],
]

for (const [sentence, facts, untilMs] of waits) {
  test(`a device waits with its fallback when ${sentence}`, () => {
    assert.deepEqual(judgeFallback(facts), { do: 'wait', untilMs })
  })
}

test('time alone does not make refusals last: the last must come after the hold-off', () => {
  const early = refused(onX509, 9, 20 * MINUTE)
  assert.deepEqual(judgeFallback({ ...early, nowMs: NOW + DAY }), { do: 'wait', untilMs: NOW + DAY + MINUTE })
})

test('a fallback is possible again an hour after the last began', () => {
  assert.equal(judgeFallback(remembers(ripe, { fallbacks: [NOW - HOUR] })).do, 'fall')
})

test('the last instant before the end of the migration is within it', () => {
  assert.equal(judgeFallback(allowsFallback(ripe, { untilMs: NOW + 1 })).do, 'fall')
})

test('a downgrade by wish may be forbidden while a fallback is not', () => {
  assert.equal(judgeFallback(allows(ripe, { downgradeAllowed: false })).do, 'fall')
})

test('after a rescue that failed the fallback has its turn', () => {
  const attempt: Attempt = { to: 'x509', cause: 'rescue', result: 'rolledBack', atMs: NOW - 5 * MINUTE }
  const both: PolicyFacts = { ...ripe, inventory: { certificates: [held(1), held(2)], sas: 'ready' } }
  assert.equal(judgeFallback(remembers(both, { history: [attempt] })).do, 'fall')
})

test('a certificate that could not rescue because it was refused or has expired does not hold the fallback up', () => {
  const both: PolicyFacts = { ...ripe, inventory: { certificates: [held(1), held(2)], sas: 'ready' } }
  assert.equal(judgeFallback(remembers(both, { refusedGenerations: ['gen-0002'] })).do, 'fall')
  const old: PolicyFacts = { ...ripe, inventory: { certificates: [held(1), held(2, 400, -1)], sas: 'ready' } }
  assert.equal(judgeFallback(old).do, 'fall')
})
