import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Failure } from '../../../agent/failure.ts'
import type { CredentialRef } from '../../../agent/credential/credential-ref.ts'
import type { Judgement } from '../../../agent/credential/judge-wish.ts'
import type { Move } from '../../../agent/credential/lifecycle.ts'
import { answerOf, moveOfOrder, rehearsed } from '../../../agent/credential/order.ts'
import type { AuthOrder } from '../../../agent/credential/rotation-ports.ts'
import { gen, NOW, sas } from './policy-facts.ts'

type Row = readonly [
  sentence: string,
  order: AuthOrder['order'],
  active: CredentialRef | undefined,
  expected: Omit<Move, 'cause' | 'atMs'>,
]

const rows: readonly Row[] = [
  ['sas asks for SAS', 'sas', gen(1), { to: 'sas', fresh: false }],
  ['x509 asks for X.509 with what is there', 'x509', sas, { to: 'x509', fresh: false }],
  ['renew asks for a new certificate', 'renew', gen(1), { to: 'x509', fresh: true }],
  ['renew asks for one on SAS as well', 'renew', sas, { to: 'x509', fresh: true }],
  ['reprovision registers SAS again', 'reprovision', sas, { to: 'sas', fresh: false, candidate: sas }],
  [
    'reprovision registers the certificate again',
    'reprovision',
    gen(2),
    { to: 'x509', fresh: false, candidate: gen(2) },
  ],
  ['reprovision has nothing to register again', 'reprovision', undefined, { to: 'x509', fresh: false }],
]

for (const [sentence, order, active, expected] of rows) {
  for (const cause of ['command', 'method'] as const) {
    test(`by ${cause}, ${sentence}`, () => {
      assert.deepEqual(moveOfOrder({ order, cause, rehearse: false }, active, NOW), { ...expected, cause, atMs: NOW })
    })
  }
}

const move: Move = { to: 'x509', fresh: false, cause: 'command', atMs: NOW }
const plan = { move, active: sas, candidate: gen(2) }
const go: Judgement = { verdict: 'go' }

test('an order that is met already is accepted, and nothing is done', () => {
  const { accepted, code, steps } = answerOf({ verdict: 'already' }, plan, false)
  assert.deepEqual([accepted, code, steps.length], [true, undefined, 1])
  assert.match(steps.join(), /nothing to do.*x509/)
})

test('an order that is rejected, or has to wait, is answered with code and reason', () => {
  const rejected: Judgement = { verdict: 'rejected', code: 'AUTH_NO_SAS', reason: 'this device has no SAS secret' }
  const wait: Judgement = { verdict: 'wait', code: 'AUTH_MOVES_SPENT', reason: 'not before noon', untilMs: NOW + 1 }
  for (const judgement of [rejected, wait]) {
    const { code, reason } = judgement
    assert.deepEqual(answerOf(judgement, plan, false), { accepted: false, code, steps: [reason] })
  }
})

test('an order that is accepted is answered with its steps in order: register, prove, and the way back', () => {
  const { accepted, steps } = answerOf(go, plan, false)
  assert.equal(accepted, true)
  assert.equal(steps.length, 3)
  assert.match(steps[0] ?? '', /gen-0002 will be registered with DPS.*sas goes on/)
  assert.match(steps[1] ?? '', /will connect with it, read its twin and have one message acknowledged/)
  assert.match(steps[2] ?? '', /fails, sas will be registered again/)
})

test('where no certificate is at hand the first step is to ask for one', () => {
  const [first = ''] = answerOf(go, { ...plan, candidate: undefined }, false).steps
  assert.match(first, /CSR are made.*awaited.*goes on with sas/)
  assert.match(
    answerOf(go, { ...plan, active: undefined, candidate: undefined }, false).steps.join(),
    /goes on with nothing/,
  )
})

test('a rehearsal says what would be done, and nothing that will', () => {
  for (const candidate of [gen(2), undefined]) {
    const text = answerOf(go, { ...plan, candidate }, true).steps.join('\n')
    assert.match(text, /would be/)
    assert.doesNotMatch(text, / will | is made/)
  }
})

test('a rehearsal that reached DPS says so before the steps, and promises no more than it saw', () => {
  const answer = answerOf(go, plan, true)
  const { accepted, steps } = rehearsed(answer, undefined)
  assert.equal(accepted, true)
  assert.match(steps[0] ?? '', /DPS was reached.*shows at the registration only/)
  assert.deepEqual(steps.slice(1), answer.steps)
})

test('a rehearsal that met an obstacle is answered with it alone', () => {
  const obstacle = new Failure('DPS_NO_ANSWER', 'nothing came from DPS')
  assert.deepEqual(rehearsed(answerOf(go, plan, true), obstacle), {
    accepted: false,
    code: 'DPS_NO_ANSWER',
    steps: ['DPS cannot be reached so: DPS_NO_ANSWER: nothing came from DPS'],
  })
})
