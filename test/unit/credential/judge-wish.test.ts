import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Failure } from '../../../agent/failure.ts'
import { judgeMove } from '../../../agent/credential/judge-wish.ts'
import type { Move } from '../../../agent/credential/lifecycle.ts'
import type { PolicyFacts } from '../../../agent/credential/policy.ts'
import { allows, DAY, gen, HOUR, MINUTE, NOW, onSas, onX509, remembers, sas } from './policy-facts.ts'

type Wanted = Pick<Move, 'to' | 'fresh' | 'cause' | 'candidate'>

const toSas: Wanted = { to: 'sas', fresh: false, cause: 'twin' }
const toX509: Wanted = { to: 'x509', fresh: false, cause: 'twin' }
const renewal: Wanted = { to: 'x509', fresh: true, cause: 'twin' }

const noSas: PolicyFacts = { ...onX509, inventory: { ...onX509.inventory, sas: 'absent' } }
const badSas: PolicyFacts = {
  ...onX509,
  inventory: { ...onX509.inventory, sas: new Failure('SAS_GROUP_KEY', 'the key in sas.key is one of a group') },
}
const retired = remembers(onX509, { retirement: { atMs: NOW - DAY, done: true, left: [] } })
const retiring = remembers(onX509, { retirement: { atMs: NOW - DAY, done: false, left: [] } })
const fallenBack = remembers(onSas, {
  fallenBack: {
    from: gen(1),
    cause: 'DPS_UNAUTHORIZED',
    sinceMs: NOW - HOUR,
    returnAtMs: NOW + HOUR,
    returnsFailed: 0,
  },
})
const spent = remembers(onSas, { moves: [NOW - 5 * HOUR, NOW - 20 * HOUR, NOW - HOUR] })
const noDowngrade = allows(onX509, { downgradeAllowed: false })

const rows: readonly (readonly [sentence: string, move: Wanted, facts: PolicyFacts, expected: string])[] = [
  ['X.509 is wanted on a device on SAS', toX509, onSas, 'go'],
  ['SAS is wanted on a device on X.509', toSas, onX509, 'go'],
  ['X.509 is wanted where it is in use', toX509, onX509, 'already'],
  ['SAS is wanted where it is in use', toSas, onSas, 'already'],
  ['SAS is wanted by a device that has fallen back to it', toSas, fallenBack, 'already'],
  ['X.509 is wanted by a device that has fallen back', toX509, fallenBack, 'go'],
  ['a new certificate is wanted on X.509', renewal, onX509, 'go'],
  ['a new certificate is wanted on SAS', renewal, onSas, 'go'],
  ['the credential in use is to be registered again', { ...toX509, candidate: gen(1) }, onX509, 'go'],
  ['a device without any credential wants X.509', toX509, { ...onX509, active: undefined }, 'go'],

  ['X.509 is switched off', toX509, allows(onSas, { x509Enabled: false }), 'AUTH_X509_OFF'],
  ['X.509 is switched off though in use', toX509, allows(onX509, { x509Enabled: false }), 'AUTH_X509_OFF'],
  [
    'X.509 is switched off and the return is due',
    { ...toX509, cause: 'return' },
    allows(onSas, { x509Enabled: false }),
    'AUTH_X509_OFF',
  ],
  ['SAS is retired', toSas, retired, 'AUTH_SAS_RETIRED'],
  ['the retirement of SAS has only begun', toSas, retiring, 'AUTH_SAS_RETIRED'],
  ['SAS is retired and has no secret any more', toSas, { ...retired, inventory: noSas.inventory }, 'AUTH_SAS_RETIRED'],
  ['there is no SAS secret', toSas, noSas, 'AUTH_NO_SAS'],
  ['there is no SAS secret for a fallback', { ...toSas, cause: 'fallback' }, noSas, 'AUTH_NO_SAS'],
  ['the SAS secret cannot be used', toSas, badSas, 'SAS_GROUP_KEY'],
  ['a certificate is to be renewed by way of SAS', { ...toSas, fresh: true }, onSas, 'AUTH_WISH_INVALID'],
  ['a move to X.509 names SAS as its candidate', { ...toX509, candidate: sas }, retired, 'AUTH_SAS_RETIRED'],

  ['the twin wants SAS and downgrades are forbidden', toSas, noDowngrade, 'AUTH_FORBIDDEN'],
  ['a command wants SAS and downgrades are forbidden', { ...toSas, cause: 'command' }, noDowngrade, 'AUTH_FORBIDDEN'],
  ['a method wants SAS and downgrades are forbidden', { ...toSas, cause: 'method' }, noDowngrade, 'AUTH_FORBIDDEN'],
  ['a fallback comes where only wishes are forbidden', { ...toSas, cause: 'fallback' }, noDowngrade, 'go'],
  ['SAS goes on where it is in use and downgrades are forbidden', toSas, { ...noDowngrade, active: sas }, 'already'],
  [
    'the twin would make a fallback last and downgrades are forbidden',
    toSas,
    allows(fallenBack, { downgradeAllowed: false }),
    'AUTH_FORBIDDEN',
  ],
  [
    'a device that has fallen back registers SAS again and downgrades are forbidden',
    { ...toSas, cause: 'command', candidate: sas },
    allows(fallenBack, { downgradeAllowed: false }),
    'go',
  ],

  ['the moves of the day are spent', toX509, spent, 'AUTH_MOVES_SPENT'],
  ['the moves of the day are spent and the return is due', { ...toX509, cause: 'return' }, spent, 'AUTH_MOVES_SPENT'],
  ['the moves of the day are spent and nothing is to be done', toSas, spent, 'already'],
  ['the moves are spent and the wish is forbidden', toX509, allows(spent, { x509Enabled: false }), 'AUTH_X509_OFF'],
  ['the clock is wrong', toX509, { ...onSas, clock: 'wrong' }, 'CLOCK_UNTRUSTED'],
  ['the clock is only plausible', toX509, { ...onSas, clock: 'plausible' }, 'go'],
  ['the clock is wrong and the wish is forbidden', toSas, { ...noDowngrade, clock: 'wrong' }, 'AUTH_FORBIDDEN'],
]

for (const [sentence, move, facts, expected] of rows) {
  test(`${sentence}: ${expected}`, () => {
    const judgement = judgeMove(move, facts)
    assert.equal('code' in judgement ? judgement.code : judgement.verdict, expected)
  })
}

test('what is forbidden is final, what must wait is not', () => {
  assert.equal(judgeMove(toSas, noDowngrade).verdict, 'rejected')
  assert.equal(judgeMove(toX509, spent).verdict, 'wait')
  assert.equal(judgeMove(toX509, { ...onSas, clock: 'wrong' }).verdict, 'wait')
})

test('a spent budget is free again when the oldest move is a day old, and the reason says when', () => {
  const judgement = judgeMove(toX509, spent)
  assert.ok(judgement.verdict === 'wait')
  assert.equal(judgement.untilMs, NOW + 4 * HOUR)
  assert.match(judgement.reason, /3 moves.*2026-06-01T16:00:00\.000Z/)
  assert.equal(judgeMove(toX509, { ...spent, nowMs: NOW + 4 * HOUR - 1 }).verdict, 'wait')
  assert.equal(judgeMove(toX509, { ...spent, nowMs: NOW + 4 * HOUR }).verdict, 'go')
})

test('a budget that was made smaller waits for as many moves as are too many', () => {
  const judgement = judgeMove(toX509, allows(spent, { movesPerDay: 2 }))
  assert.ok(judgement.verdict === 'wait')
  assert.equal(judgement.untilMs, NOW + 19 * HOUR)
})

test('moves from a clock that was ahead count as moves of now', () => {
  const ahead = remembers(onSas, { moves: [NOW + 9 * DAY, NOW + 9 * DAY, NOW + 9 * DAY] })
  assert.equal(judgeMove(toX509, ahead).verdict, 'wait')
})

test('a wrong clock is looked at again in a minute', () => {
  const judgement = judgeMove(toX509, { ...onSas, clock: 'wrong' })
  assert.ok(judgement.verdict === 'wait')
  assert.equal(judgement.untilMs, NOW + MINUTE)
})

test('a SAS secret that cannot be used is rejected in the words of its failure', () => {
  assert.deepEqual(judgeMove(toSas, badSas), {
    verdict: 'rejected',
    code: 'SAS_GROUP_KEY',
    reason: 'the key in sas.key is one of a group',
  })
})
