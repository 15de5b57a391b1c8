import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Failure } from '../../../agent/failure.ts'
import type { FailureCode } from '../../../agent/failure.ts'
import type { CredentialRef } from '../../../agent/credential/credential-ref.ts'
import type { Setback } from '../../../agent/credential/lifecycle.ts'
import { emptyMemory } from '../../../agent/credential/memory.ts'
import type { Memory } from '../../../agent/credential/memory.ts'
import { latenessOf, setbackOf } from '../../../agent/credential/setback.ts'
import { failure, gen, HOUR, MINUTE, NOW, sas } from './policy-facts.ts'

const took = (of: CredentialRef, agoMs: number): Memory => ({
  ...emptyMemory,
  lastRegistration: { of, atMs: NOW - agoMs },
})
const never = emptyMemory
const justOther = took(sas, MINUTE)

const rows: readonly (readonly [sentence: string, code: FailureCode, memory: Memory, expected: Setback])[] = [
  ['DPS says nothing', 'DPS_NO_ANSWER', never, 'unreachable'],
  ['DPS throttles', 'DPS_THROTTLED', never, 'unreachable'],
  ['DPS says nothing just after it took another', 'DPS_NO_ANSWER', justOther, 'unreachable'],
  ['the hub closes early', 'HUB_CLOSED_EARLY', never, 'unreachable'],
  ['somebody untrusted stands in the place of the hub', 'TLS_SERVER_UNTRUSTED', never, 'unreachable'],
  ['DPS refuses it and took no other', 'DPS_UNAUTHORIZED', never, 'refused'],
  ['DPS refuses it just after it took another', 'DPS_UNAUTHORIZED', justOther, 'rolledBack'],
  ['DPS refuses the connection just after it took another', 'DPS_REFUSED_CONNECTION', justOther, 'rolledBack'],
  ['DPS knows no enrollment just after it took another', 'DPS_NOT_FOUND', justOther, 'rolledBack'],
  ['DPS refuses it a moment before its memory is over', 'DPS_UNAUTHORIZED', took(sas, 35 * MINUTE - 1), 'rolledBack'],
  ['DPS refuses it once its memory is over', 'DPS_UNAUTHORIZED', took(sas, 35 * MINUTE), 'refused'],
  ['DPS refuses it and took it itself just before', 'DPS_UNAUTHORIZED', took(gen(2), MINUTE), 'refused'],
  ['DPS refuses it and took another generation just before', 'DPS_DISABLED', took(gen(1), MINUTE), 'rolledBack'],
  ['DPS refuses it and the other is of a clock that was ahead', 'DPS_UNAUTHORIZED', took(sas, -HOUR), 'rolledBack'],
  ['the hub refuses it', 'HUB_REFUSED_CREDENTIAL', never, 'refused'],
  ['the hub refuses it, which has no such memory', 'HUB_REFUSED_CREDENTIAL', justOther, 'refused'],
  ['its key cannot be read', 'KEY_UNREADABLE', justOther, 'refused'],
  ['a TLS alert is about it, which anybody on the way may send', 'TLS_CREDENTIAL_REFUSED', never, 'rolledBack'],
  ['the fault is ours', 'AUTH_WRONG_CREDENTIAL', never, 'rolledBack'],
  ['its chain is for another key', 'CHAIN_KEY_MISMATCH', justOther, 'refused'],
]

for (const [sentence, code, memory, expected] of rows) {
  test(`a candidate is ${expected} when ${sentence}`, () => {
    const { result, code: told, reason } = setbackOf(failure(code), gen(2), memory, NOW)
    assert.deepEqual([result, told], [expected, code])
    assert.ok(reason.startsWith('as the test says'), reason)
    assert.equal(/no verdict/.test(reason), code.startsWith('DPS_') && expected === 'rolledBack', reason)
  })
}

const silence = new Failure('DPS_NO_ANSWER', 'nothing came')
const refusal = new Failure('HUB_REFUSED_CREDENTIAL', 'CONNACK 5')

test('a registration that is late has met an outage, whatever was said last', () => {
  assert.equal(latenessOf('AUTH_REGISTER_LATE', undefined).result, 'unreachable')
  assert.equal(latenessOf('AUTH_REGISTER_LATE', silence).result, 'unreachable')
  assert.equal(latenessOf('AUTH_REGISTER_LATE', refusal).result, 'unreachable')
})

test('a proof that is late is rolled back, and was an outage if nothing else was heard', () => {
  assert.equal(latenessOf('AUTH_PROOF_LATE', undefined).result, 'rolledBack')
  assert.equal(latenessOf('AUTH_PROOF_LATE', refusal).result, 'rolledBack')
  assert.equal(latenessOf('AUTH_PROOF_LATE', silence).result, 'unreachable')
})

for (const code of ['AUTH_REGISTER_LATE', 'AUTH_PROOF_LATE'] as const) {
  test(`${code}: the last failure says more than the time, and the reason says both`, () => {
    assert.equal(latenessOf(code, undefined).code, code)
    assert.match(latenessOf(code, undefined).reason, / in time$/)
    assert.equal(latenessOf(code, silence).code, 'DPS_NO_ANSWER')
    assert.match(latenessOf(code, silence).reason, / in time; nothing came$/)
  })
}
