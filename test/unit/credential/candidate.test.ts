import assert from 'node:assert/strict'
import { test } from 'node:test'
import { chooseCandidate } from '../../../agent/credential/candidate.ts'
import { nameOf } from '../../../agent/credential/credential-ref.ts'
import type { CredentialRef } from '../../../agent/credential/credential-ref.ts'
import type { Move } from '../../../agent/credential/lifecycle.ts'
import type { HeldCertificate, PolicyFacts } from '../../../agent/credential/policy.ts'
import { DAY, gen, held, NOW, onSas, onX509, remembers } from './policy-facts.ts'

const files: Extract<CredentialRef, { lane: 'x509' }> = { lane: 'x509', generation: 'files' }
const pair: HeldCertificate = { ref: files, notBeforeMs: NOW - 9 * DAY, notAfterMs: NOW + 9 * DAY }
const holding = (facts: PolicyFacts, ...certificates: readonly HeldCertificate[]): PolicyFacts => ({
  ...facts,
  inventory: { ...facts.inventory, certificates },
})

const toSas: Move = { to: 'sas', fresh: false, cause: 'twin', atMs: NOW }
const toX509: Move = { to: 'x509', fresh: false, cause: 'twin', atMs: NOW }
const renewal: Move = { ...toX509, fresh: true }
const named = (candidate: CredentialRef): Move => ({ ...toX509, candidate })

const expired = held(1, 40, -1)
const none = holding(onSas)
const one = holding(onSas, held(1))
const two = holding(onSas, held(2), held(1))
const afterCut = holding(onX509, held(2), held(1))
const second: PolicyFacts = { ...afterCut, active: gen(2) }
const newOnes = holding(onX509, held(3), held(2), held(1))
const refusing = (facts: PolicyFacts) => remembers(facts, { refusedGenerations: ['gen-0002'] })

type Row = readonly [sentence: string, move: Move, facts: PolicyFacts, expected: string]

const rows: readonly Row[] = [
  ['SAS is wanted', toSas, onX509, 'sas'],
  ['X.509 is wanted and there is no certificate', toX509, none, 'a new one'],
  ['X.509 is wanted and there is a certificate', toX509, one, 'gen-0001'],
  ['X.509 is wanted and there are two: the best comes first', toX509, two, 'gen-0002'],
  ['the best was refused by the cloud', toX509, refusing(two), 'gen-0001'],
  ['the only one was refused by the cloud', toX509, refusing(holding(onSas, held(2))), 'a new one'],
  ['the only one has expired', toX509, holding(onSas, expired), 'a new one'],
  ['the best has expired', toX509, holding(onSas, held(2, 40, -1), held(1)), 'gen-0001'],
  ['it ends at this instant', toX509, holding(onSas, held(1, 40, 0)), 'a new one'],
  ['it has expired by a clock that is wrong', toX509, { ...holding(onSas, expired), clock: 'wrong' }, 'gen-0001'],
  ['it was refused, whatever the clock', toX509, { ...refusing(holding(onSas, held(2))), clock: 'wrong' }, 'a new one'],
  ['there is the pair of files', toX509, holding(onSas, pair, held(1)), 'files'],

  ['a renewal is wanted', renewal, onX509, 'a new one'],
  ['a renewal is wanted on SAS, where nothing is newer', renewal, one, 'a new one'],
  ['a renewal is wanted and one newer never came to its turn', renewal, afterCut, 'gen-0002'],
  ['a renewal is wanted and all others are older', renewal, second, 'a new one'],
  ['a renewal is wanted and the newer one was refused', renewal, refusing(afterCut), 'a new one'],
  ['a renewal is wanted, one newer was refused, another was not', renewal, refusing(newOnes), 'gen-0003'],
  [
    'a renewal is wanted and the newer one has expired',
    renewal,
    holding(onX509, held(2, 40, -1), held(1)),
    'a new one',
  ],
  ['a renewal is wanted and there is the pair of files', renewal, holding(onX509, pair, held(1)), 'a new one'],
  [
    'a renewal is wanted from the pair of files, and one was made for it',
    renewal,
    { ...holding(onX509, pair, held(1)), active: files },
    'gen-0001',
  ],
  ['the tenth thousand follows the one before', renewal, thousands(), 'gen-10000'],

  ['one is named', named(gen(1)), two, 'gen-0001'],
  ['the one that is named is the active one', named(gen(1)), onX509, 'gen-0001'],
  ['the one that is named has expired: the cloud judges', named(gen(1)), holding(onSas, expired), 'gen-0001'],
  ['the one that is named is gone', named(gen(3)), two, 'gen-0002'],
  ['the one that is named is gone, and there is no other', named(gen(3)), none, 'a new one'],
]

for (const [sentence, move, facts, expected] of rows) {
  test(`${sentence}: ${expected}`, () => {
    const candidate = chooseCandidate(move, facts)
    assert.equal(candidate === undefined ? 'a new one' : nameOf(candidate), expected)
  })
}

function thousands(): PolicyFacts {
  const [before, after] = ['gen-9999', 'gen-10000'].map((generation) => ({ lane: 'x509', generation }) as const)
  assert.ok(before && after)
  return { ...holding(onX509, { ...held(1), ref: before }, { ...held(1), ref: after }), active: before }
}
