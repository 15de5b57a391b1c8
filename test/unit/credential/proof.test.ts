import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isProven, isRestored, noProof } from '../../../agent/credential/proof.ts'
import type { Proof } from '../../../agent/credential/proof.ts'
import { gen, sas } from './policy-facts.ts'

const whole: Proof = { presented: gen(2), twinRead: true, acknowledged: true }

const rows: readonly (readonly [sentence: string, proof: Proof, isProven: boolean, isRestored: boolean])[] = [
  ['nothing was seen', noProof, false, false],
  ['only CONNACK was seen', { ...noProof, presented: gen(2) }, false, false],
  ['CONNACK and the twin were seen', { ...whole, acknowledged: false }, false, true],
  ['the twin was not read but a message was acknowledged', { ...whole, twinRead: false }, false, false],
  ['all of it was seen', whole, true, true],
  ['all of it was seen with another generation', { ...whole, presented: gen(1) }, false, false],
  ['all of it was seen with SAS', { ...whole, presented: sas }, false, false],
  ['nobody knows what was presented', { ...whole, presented: undefined }, false, false],
]

for (const [sentence, proof, proven, restored] of rows) {
  test(`when ${sentence} a candidate is ${proven ? '' : 'not '}proven`, () => {
    assert.equal(isProven(proof, gen(2)), proven)
  })
  test(`when ${sentence} the old credential is ${restored ? '' : 'not '}restored`, () => {
    assert.equal(isRestored(proof, gen(2)), restored)
  })
}

test('SAS proves itself by SAS alone', () => {
  assert.equal(isProven({ ...whole, presented: sas }, sas), true)
  assert.equal(isProven(whole, sas), false)
})
