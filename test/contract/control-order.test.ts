import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { askOrder, orderOf, requestOf } from '../../agent/control/order.ts'
import { parseRequest } from '../../agent/control/protocol.ts'
import { openControl } from '../../agent/control/server.ts'
import type { AuthOrder } from '../../agent/credential/rotation-ports.ts'
import { Failure } from '../../agent/failure.ts'
import { systemClock as clock } from '../../agent/system/clock.ts'
import { makeTemporaryFolder } from '../kit/openssl.ts'

function onFailure(failure: Failure): void {
  throw failure
}

/** An agent that answers every order with this. */
async function openAgent(answer: (order: AuthOrder) => unknown) {
  const folder = await makeTemporaryFolder()
  const path = join(folder.path, 'control.sock')
  const control = await openControl({ path, clock, onFailure, answer: (request) => answer(orderOf(request)) })
  return {
    path,
    async [Symbol.asyncDispose]() {
      await control[Symbol.asyncDispose]()
      await folder[Symbol.asyncDispose]()
    },
  }
}

const read = (line: string) => orderOf(parseRequest(line))

test('each order has its request, as documented', () => {
  const cause = 'command'
  assert.deepEqual(read('{"ask":"auth","mode":"sas"}'), { order: 'sas', cause, rehearse: false })
  assert.deepEqual(read('{"ask":"auth","mode":"x509","rehearse":true}'), { order: 'x509', cause, rehearse: true })
  assert.deepEqual(read('{"ask":"renew","rehearse":false}'), { order: 'renew', cause, rehearse: false })
  assert.deepEqual(read('{"ask":"reprovision"}'), { order: 'reprovision', cause, rehearse: false })
})

const nonsense: readonly (readonly [request: string, says: RegExp])[] = [
  ['{"ask":"auth"}', /mode must be "sas" or "x509", is missing/],
  ['{"ask":"auth","mode":"SAS"}', /is "SAS"/],
  ['{"ask":"auth","mode":["sas"]}', /is \["sas"\]/],
  ['{"ask":"renew","mode":"x509"}', /renew takes no mode/],
  ['{"ask":"renew","rehearse":1}', /rehearse must be true or false, is 1/],
  ['{"ask":"renew","rehearse":null}', /rehearse must be true or false, is null/],
  ['{"ask":"renew","rehersal":true}', /no field "rehersal"/],
  ['{"ask":"renew","__proto__":{"rehearse":true}}', /no field "__proto__"/],
  ['{"ask":"sas"}', /nothing to answer to "sas"/],
  ['{"ask":""}', /nothing to answer to ""/],
]

for (const [line, says] of nonsense) {
  test(`${line} is CONTROL_BAD_REQUEST`, () => {
    assert.throws(
      () => read(line),
      (error) => error instanceof Failure && error.code === 'CONTROL_BAD_REQUEST' && says.test(error.message),
    )
  })
}

test('an order travels over the socket and comes out as it went in', async () => {
  const seen: AuthOrder[] = []
  await using agent = await openAgent((order) => {
    seen.push(order)
    return { accepted: true, steps: ['ünïcode'] }
  })
  for (const order of ['sas', 'x509', 'renew', 'reprovision'] as const) {
    for (const rehearse of [true, false]) {
      assert.deepEqual(orderOf(requestOf({ order, rehearse })), { order, rehearse, cause: 'command' })
      assert.deepEqual(await askOrder({ order, rehearse }, { path: agent.path, clock }), {
        accepted: true,
        steps: ['ünïcode'],
      })
      assert.deepEqual(seen.pop(), { order, rehearse, cause: 'command' })
    }
  }
})

test('an agent that has no such request says so in its own words', async () => {
  await using agent = await openAgent(() => {
    throw new Failure('USAGE', 'there is nothing to answer to auth')
  })
  const answer = await askOrder({ order: 'sas', rehearse: false }, { path: agent.path, clock })
  assert.ok('ok' in answer)
  assert.deepEqual([answer.code, answer.message], ['USAGE', 'there is nothing to answer to auth'])
})

test('an answer of another form is not taken for one', async () => {
  for (const answer of [
    null,
    'done',
    {},
    { accepted: 'yes', steps: [] },
    { accepted: true, steps: 'one' },
    { accepted: true, steps: [1] },
    { accepted: true },
    { accepted: false, code: 7, steps: [] },
  ]) {
    await using agent = await openAgent(() => answer)
    await assert.rejects(askOrder({ order: 'renew', rehearse: false }, { path: agent.path, clock }), {
      code: 'CONTROL_BAD_ANSWER',
    })
  }
})
