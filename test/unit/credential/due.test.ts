import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { chooseCandidate } from '../../../agent/credential/candidate.ts'
import { judgeDue, factsOf } from '../../../agent/credential/due.ts'
import type { Due } from '../../../agent/credential/due.ts'
import type { Lifecycle, Move, Verdict } from '../../../agent/credential/lifecycle.ts'
import type { FallenBack, Memory, Retry } from '../../../agent/credential/memory.ts'
import type { PolicyFacts } from '../../../agent/credential/policy.ts'
import type { AuthWishes } from '../../../agent/credential/rotation-ports.ts'
import { anyFacts } from './arbitrary-facts.ts'
import {
  allows,
  allowsFallback,
  DAY,
  gen,
  held,
  HOUR,
  MINUTE,
  NOW,
  onSas,
  onX509,
  refused,
  remembers,
  sas,
} from './policy-facts.ts'

const twin: Move = { to: 'x509', fresh: false, cause: 'twin', version: 7, atMs: NOW }
const toSas: Move = { ...twin, to: 'sas' }
const renewal: Move = { ...twin, fresh: true, renew: 'spring' }
const command: Move = { to: 'x509', fresh: true, cause: 'command', atMs: NOW - DAY }
const expiry: Move = { to: 'x509', fresh: true, cause: 'expiry', atMs: NOW }
const wishes = (part: Omit<AuthWishes, 'version'> = {}, version = 7): AuthWishes => ({ version, ...part })
const x509 = wishes({ mode: 'x509' })
const wantsSas = wishes({ mode: 'sas' })
const silent = wishes()

const retry = (move: Move, inMs: number): { readonly retry: Retry } => ({
  retry: { move: { ...move, atMs: NOW - HOUR }, notBeforeMs: NOW + inMs, failed: 1 },
})
const settled = (settledTo: 'sas' | 'x509', settledVersion = 7): Partial<Memory> => ({ settledVersion, settledTo })
const fallenBack: FallenBack = {
  ...{ from: gen(1), cause: 'DPS_DISABLED', sinceMs: NOW - DAY, returnAtMs: NOW + HOUR, returnsFailed: 0 },
}
const back: Move = { to: 'x509', candidate: gen(1), fresh: false, cause: 'return', because: 'DPS_DISABLED', atMs: NOW }

const fellBack = remembers(onSas, { fallenBack })
const mayReturn = remembers(onSas, { fallenBack: { ...fallenBack, returnAtMs: NOW } })
const returnsWithNone: PolicyFacts = { ...mayReturn, inventory: { certificates: [], sas: 'ready' } }
const expired: PolicyFacts = { ...onX509, inventory: { certificates: [held(1, 40, -1)], sas: 'ready' } }
const spent = (facts: PolicyFacts) => remembers(facts, { moves: [NOW - HOUR, NOW - HOUR, NOW - HOUR] })
const proven = remembers(onX509, { x509ProvenSinceMs: NOW - 9 * DAY })
const ripe = refused(onX509, 5, HOUR)
const fallback: Move = {
  ...{ to: 'sas', candidate: sas, fresh: false, cause: 'fallback', because: 'DPS_UNAUTHORIZED', atMs: NOW },
}
const rescuable: PolicyFacts = { ...ripe, inventory: { certificates: [held(1), held(2)], sas: 'ready' } }
const rescue: Move = { ...fallback, to: 'x509', candidate: gen(2), cause: 'rescue' }

/** What comes out, in short: a waiting by its code, a rejection by its code. */
type Expected =
  | Move
  | 'nothing'
  | 'withdraw'
  | 'contentment'
  | 'retire'
  | 'overtaken'
  | 'fulfilled'
  | { readonly waits: string }
  | { readonly rejects: string }

function told(due: Due): unknown {
  if (due.due === 'move') return due.move
  if (due.due === 'reject') return { rejects: due.verdict.code }
  if (due.due === 'nothing' && due.waiting !== undefined) return { waits: due.waiting.code }
  return due.due
}

const steady = (facts: PolicyFacts): Lifecycle =>
  facts.active ? { phase: 'steady', active: facts.active } : { phase: 'newborn' }
const preparing = (move: Move, facts: PolicyFacts): Lifecycle =>
  facts.active ? { phase: 'preparing', active: facts.active, move } : { phase: 'newborn' }

type Row = readonly [sentence: string, wishes: AuthWishes | undefined, facts: PolicyFacts, expected: Expected]

const atRest: readonly Row[] = [
  ['a twin that was not read wishes nothing', undefined, onSas, 'nothing'],
  ['a twin without a mode wishes no change', silent, onSas, 'nothing'],
  ['a mode that the device is not on begins a move', x509, onSas, twin],
  ['SAS in the place of X.509 begins a move', wantsSas, onX509, toSas],
  ['a mode that the device is on is settled and begins nothing', x509, onX509, 'fulfilled'],
  [
    'a mode that is forbidden is answered',
    wantsSas,
    allows(onX509, { downgradeAllowed: false }),
    { rejects: 'AUTH_FORBIDDEN' },
  ],
  ['a mode that must wait says why', x509, spent(onSas), { waits: 'AUTH_MOVES_SPENT' }],
  ['a mode that must wait for the clock says so', x509, { ...onSas, clock: 'wrong' }, { waits: 'CLOCK_UNTRUSTED' }],

  // A version is settled together with the lane that it wished.
  ['a version that is settled begins nothing', x509, remembers(onSas, settled('x509')), 'nothing'],
  ['the same version of another hub may wish another lane', x509, remembers(onSas, settled('sas')), twin],
  ['a version that is settled says nothing about the next', x509, remembers(onSas, settled('x509', 6)), twin],
  ['nor about an older one, since another hub counts anew', x509, remembers(onSas, settled('x509', 900)), twin],

  // auth.renew asks for a new certificate, once.
  ['a new text asks for a new certificate', wishes({ renew: 'spring' }), onX509, renewal],
  ['a new text beside the mode in use does as well', wishes({ mode: 'x509', renew: 'spring' }), onX509, renewal],
  ['a new text beside X.509 is one move from SAS', wishes({ mode: 'x509', renew: 'spring' }), onSas, renewal],
  [
    'a text that was dealt with asks nothing',
    wishes({ renew: 'spring' }),
    remembers(onX509, { settledRenew: 'spring' }),
    'nothing',
  ],
  ['another text asks again', wishes({ renew: 'spring' }), remembers(onX509, { settledRenew: 'winter' }), renewal],
  [
    'a new text counts though the version is settled, as on another hub',
    ...([wishes({ mode: 'x509', renew: 'spring' }), remembers(onX509, settled('x509')), renewal] as const),
  ],
  ['on SAS alone there is nothing to renew', wishes({ renew: 'spring' }), onSas, { rejects: 'AUTH_WISH_INVALID' }],
  [
    'a text beside SAS is judged as the wish for SAS',
    wishes({ mode: 'sas', renew: 'spring' }),
    onX509,
    { ...toSas, renew: 'spring' },
  ],

  // What met an outage is tried again.
  ['a wish whose retry is not due waits', x509, remembers(onSas, retry(twin, HOUR)), 'nothing'],
  ['a wish whose retry is due is tried again', x509, remembers(onSas, retry(twin, 0)), twin],
  [
    'a new version does not wait for the retry of an old one',
    wishes({ mode: 'x509' }, 8),
    remembers(onSas, retry(twin, HOUR)),
    { ...twin, version: 8 },
  ],
  [
    'the same version of another hub waits for no retry of the other lane',
    wantsSas,
    remembers(onX509, retry(renewal, HOUR)),
    toSas,
  ],
  [
    'a command that met an outage is tried again without a twin',
    undefined,
    remembers(onX509, retry(command, 0)),
    { ...command, atMs: NOW },
  ],
  ['the twin is read before its wish is tried again', undefined, remembers(onSas, retry(twin, 0)), 'nothing'],
  [
    'a retry that has come true by itself is over',
    undefined,
    remembers(onX509, retry({ ...command, fresh: false }, 0)),
    'overtaken',
  ],
  ['a retry that nobody wishes any more is over', wishes({}, 8), remembers(onSas, retry(twin, 0)), 'overtaken'],
  [
    'a retry that has become impossible is answered',
    undefined,
    allows(remembers(onX509, retry(command, 0)), { x509Enabled: false }),
    { rejects: 'AUTH_X509_OFF' },
  ],
  [
    'a retry that must wait says why',
    undefined,
    spent(remembers(onX509, retry(command, 0))),
    { waits: 'AUTH_MOVES_SPENT' },
  ],
  [
    'another lane is wished, which is in use: the retry is over',
    wishes({ mode: 'sas' }, 8),
    remembers(onSas, retry(twin, HOUR)),
    'contentment',
  ],

  // Refusals, expiry, return, retirement.
  ['a certificate that is refused leads to SAS', undefined, ripe, fallback],
  ['to another certificate first', undefined, rescuable, rescue],
  ['an expired certificate is replaced', undefined, expired, expiry],
  ['by a clock that is wrong no certificate has expired', undefined, { ...expired, clock: 'wrong' }, 'nothing'],
  [
    'a certificate is good up to its last instant',
    undefined,
    { ...onX509, inventory: { certificates: [held(1, 40, 0)], sas: 'ready' } },
    'nothing',
  ],
  ['an expired certificate that is not in use matters to nobody', undefined, { ...expired, active: sas }, 'nothing'],
  ['an expired certificate is not asked for twice', undefined, remembers(expired, retry(expiry, HOUR)), 'nothing'],
  ['but again when its retry is due', undefined, remembers(expired, retry(expiry, 0)), expiry],
  ['an expired certificate waits for the budget and says so', undefined, spent(expired), { waits: 'AUTH_MOVES_SPENT' }],
  ['the way back is tried when its time has come', undefined, mayReturn, back],
  ['not before', undefined, fellBack, 'nothing'],
  ['SAS that the twin wishes is no fallback any more', wantsSas, fellBack, 'contentment'],
  ['X.509 is wished all the time that the device has fallen back: the schedule says when', x509, fellBack, 'nothing'],
  ['but a new certificate is asked for at once', wishes({ mode: 'x509', renew: 'spring' }), fellBack, renewal],
  ['SAS is retired by wish', wishes({ sasRetired: true }), proven, 'retire'],
  ['a retirement that has to wait says so', wishes({ sasRetired: true }), onX509, { waits: 'AUTH_NOT_PROVEN_YET' }],
  [
    'a retirement that nobody wished waits in silence',
    silent,
    allowsFallback(onX509, { retireAfterMs: DAY }),
    'nothing',
  ],
  [
    'a retirement that was begun goes on without a wish',
    undefined,
    remembers(onX509, { retirement: { atMs: NOW, done: false, left: [] } }),
    'retire',
  ],

  // The order of precedence.
  ['a refusal comes before a wish', wishes({ renew: 'spring' }), ripe, fallback],
  ['a wish comes before the replacement of an expired certificate', wantsSas, expired, toSas],
  [
    'a wish comes before a retry',
    wishes({ mode: 'sas' }, 8),
    remembers(onX509, retry(command, 0)),
    { ...toSas, version: 8 },
  ],
  ['a wish comes before the return', wishes({ mode: 'x509', renew: 'spring' }), mayReturn, renewal],
  [
    'a retry comes before the replacement of an expired certificate',
    undefined,
    remembers(expired, retry(command, 0)),
    { ...command, atMs: NOW },
  ],
  ['a retry comes before the return', undefined, remembers(mayReturn, retry(command, 0)), { ...command, atMs: NOW }],
  ['a wish comes before a retirement', wishes({ renew: 'spring', sasRetired: true }), proven, renewal],
  ['a wish that waits holds no retirement up', wishes({ renew: 'spring', sasRetired: true }), spent(proven), 'retire'],
  [
    'of two that wait the wish is told',
    wishes({ renew: 'spring', sasRetired: true }),
    spent(onX509),
    { waits: 'AUTH_MOVES_SPENT' },
  ],
]

for (const [sentence, wished, facts, expected] of atRest) {
  test(`at rest: ${sentence}`, () => {
    assert.deepEqual(told(judgeDue(steady(facts), wished, facts)), expected)
  })
}

type Preparing = readonly [
  sentence: string,
  move: Move,
  wishes: AuthWishes | undefined,
  facts: PolicyFacts,
  expected: Expected,
]

const meanwhile: readonly Preparing[] = [
  ['the same wish goes on', twin, x509, onSas, 'nothing'],
  ['the same wish of a newer version goes on', twin, wishes({ mode: 'x509' }, 8), onSas, 'nothing'],
  ['a twin that was not read yet takes nothing back', twin, undefined, onSas, 'nothing'],
  ['a wish that is gone is withdrawn', twin, wishes({}, 8), onSas, 'withdraw'],
  ['a wish that is gone on another hub is withdrawn, whatever its version', twin, silent, onSas, 'withdraw'],
  ['a wish for what is in use withdraws the other', twin, wishes({ mode: 'sas' }, 8), onSas, 'withdraw'],
  ['so does the same version of another hub', twin, wantsSas, onSas, 'withdraw'],
  ['a wish for the other lane takes its place', renewal, wishes({ mode: 'sas' }, 8), onX509, { ...toSas, version: 8 }],
  [
    'another text takes its place',
    renewal,
    wishes({ renew: 'summer' }, 8),
    onX509,
    { ...renewal, renew: 'summer', version: 8 },
  ],
  [
    'a text beside the wish takes its place',
    twin,
    wishes({ mode: 'x509', renew: 'spring' }, 8),
    onSas,
    { ...renewal, version: 8 },
  ],
  [
    'a wish that is forbidden is answered, and the other goes on',
    renewal,
    wishes({ mode: 'sas' }, 8),
    allows(onX509, { downgradeAllowed: false }),
    { rejects: 'AUTH_FORBIDDEN' },
  ],
  ['a command goes on without a wish', command, silent, onX509, 'nothing'],
  ['a command goes on beside a wish for what is in use', command, x509, onX509, 'nothing'],
  ['a wish takes the place of a command', command, wantsSas, onX509, toSas],
  ['a refusal takes the place of a wish', renewal, wishes({ renew: 'spring' }), ripe, fallback],
  ['a fallback does not begin twice', fallback, undefined, ripe, 'nothing'],
  ['nor does a rescue', rescue, undefined, rescuable, 'nothing'],
  ['a certificate that is good again needs no other', expiry, undefined, onX509, 'withdraw'],
  ['one that has expired still does', expiry, undefined, expired, 'nothing'],
  [
    'a wish for a new certificate does not end because the old one is good',
    renewal,
    wishes({ renew: 'spring' }),
    onX509,
    'nothing',
  ],
  ['no retry begins', command, undefined, remembers(onX509, retry(command, 0)), 'nothing'],
  ['no expiry begins', command, undefined, expired, 'nothing'],
  ['the return has its turn with a certificate that is at hand', command, undefined, mayReturn, back],
  ['but asks for none beside it', command, undefined, returnsWithNone, 'nothing'],
  ['a return does not begin twice', back, undefined, mayReturn, 'nothing'],
  ['a return goes on though X.509 is wished', back, x509, mayReturn, 'nothing'],
  ['SAS that the twin wishes is no fallback any more', back, wantsSas, mayReturn, 'contentment'],
  ['then there is nothing to return from', back, wantsSas, onSas, 'withdraw'],
  [
    'a text that is gone is withdrawn though X.509 is wished',
    renewal,
    wishes({ mode: 'x509' }, 8),
    fellBack,
    'withdraw',
  ],
  ['SAS is retired though a certificate is awaited', command, wishes({ sasRetired: true }), proven, 'retire'],
]

for (const [sentence, move, wished, facts, expected] of meanwhile) {
  test(`while a move by ${move.cause} is prepared: ${sentence}`, () => {
    assert.deepEqual(told(judgeDue(preparing(move, facts), wished, facts)), expected)
  })
}

test('whatever is under way ends first', () => {
  const verdict: Verdict = { result: 'unreachable', code: 'DPS_NO_ANSWER', reason: 'nothing came' }
  const under = { active: gen(1), candidate: gen(2), move: renewal }
  const states: readonly Lifecycle[] = [
    { phase: 'newborn' },
    { phase: 'registering', ...under },
    { phase: 'proving', ...under },
    { phase: 'committing', ...under },
    { phase: 'rollingBack', ...under, verdict },
  ]
  for (const state of states)
    for (const facts of [ripe, expired, mayReturn, proven, remembers(onX509, retry(command, 0))])
      assert.deepEqual(
        judgeDue(state, wishes({ mode: 'sas', sasRetired: true }), facts),
        { due: 'nothing' },
        state.phase,
      )
})

const anyWishes: fc.Arbitrary<AuthWishes | undefined> = fc.option(
  fc.record(
    {
      version: fc.integer({ min: 1, max: 3 }),
      mode: fc.constantFrom('sas' as const, 'x509' as const),
      renew: fc.constantFrom('spring', 'summer'),
    },
    { requiredKeys: ['version'] },
  ),
  { nil: undefined },
)

test('what waits for a certificate is not begun anew for ever: no two wishes take turns', () => {
  fc.assert(
    fc.property(anyFacts, anyWishes, (facts, wished) => {
      const begun: Move[] = []
      let state = steady(facts)
      for (;;) {
        const due = judgeDue(state, wished, facts)
        if (due.due !== 'move') return
        begun.push(due.move)
        assert.ok(begun.length < 4, JSON.stringify(begun))
        if (chooseCandidate(due.move, facts) !== undefined) return
        state = preparing(due.move, facts)
      }
    }),
    { numRuns: 5000 },
  )
})

test('a waiting says until when, and a rejection carries the move that it answers', () => {
  const waits = judgeDue(steady(onSas), x509, { ...onSas, clock: 'wrong' })
  assert.ok(waits.due === 'nothing')
  assert.equal(waits.waiting?.untilMs, NOW + MINUTE)
  const rejects = judgeDue(steady(onX509), wantsSas, allows(onX509, { downgradeAllowed: false }))
  assert.ok(rejects.due === 'reject')
  assert.deepEqual([rejects.move, rejects.verdict.result], [toSas, 'rejected'])
})

test('what is judged stands on the credential that the state falls back on', () => {
  const { active: _any, ...others } = onX509
  assert.deepEqual(factsOf(steady(onSas), others), onSas)
  assert.deepEqual(factsOf({ phase: 'newborn' }, others), { ...onX509, active: undefined })
})
