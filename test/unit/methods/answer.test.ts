import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { AuthOrder, OrderAnswer } from '../../../agent/credential/rotation-ports.ts'
import { Failure } from '../../../agent/failure.ts'
import { createMethods } from '../../../agent/methods/answer.ts'
import type { MethodPorts } from '../../../agent/methods/answer.ts'
import type { MethodAudit } from '../../../agent/methods/audit.ts'
import { methodNames, methodStatuses } from '../../../agent/methods/table.ts'
import { createFakeClock } from '../../kit/clock.ts'

const START_MS = Date.UTC(2026, 4, 1)

/** The methods of an agent that takes every order, with all that they did. */
function makeBench(more: Partial<MethodPorts> = {}) {
  const clock = createFakeClock(START_MS)
  const audited: MethodAudit[] = []
  const orders: AuthOrder[] = []
  const failures: Failure[] = []
  const levels: string[] = []
  const answer = createMethods({
    clock,
    version: '1.2.3',
    allowed: new Set(methodNames),
    status: () => ({ format: 1 }),
    order(order) {
      orders.push(order)
      return Promise.resolve({ accepted: true, steps: ['one', 'two'] })
    },
    setLogLevel: (level) => void levels.push(level),
    csr: () => ({ csr: 'PEM' }),
    installCertificate: (chain) => Promise.resolve({ thumbprintSha256: chain.slice(0, 2) }),
    audit: (entry) => void audited.push(entry),
    onFailure: (failure) => void failures.push(failure),
    ...more,
  })
  const call = (name: string, payload?: unknown) => answer({ name, payload })
  const status = async (name: string, payload?: unknown) => (await call(name, payload)).status
  return { clock, audited, orders, failures, levels, call, status }
}

test('ping and getStatus answer and leave nothing in the trail', async () => {
  const bench = makeBench()
  assert.deepEqual(await bench.call('ping'), {
    status: 200,
    body: { version: '1.2.3', at: '2026-05-01T00:00:00.000Z' },
  })
  assert.deepEqual(await bench.call('getStatus', {}), { status: 200, body: { format: 1 } })
  assert.deepEqual(bench.audited, [])
})

const orderCalls: readonly (readonly [name: string, payload: unknown, order: AuthOrder])[] = [
  ['setAuthMode', { mode: 'sas' }, { order: 'sas', cause: 'method', rehearse: false }],
  ['setAuthMode', { mode: 'x509', rehearse: true }, { order: 'x509', cause: 'method', rehearse: true }],
  ['renewCertificate', undefined, { order: 'renew', cause: 'method', rehearse: false }],
  ['reprovision', { rehearse: true }, { order: 'reprovision', cause: 'method', rehearse: true }],
]

for (const [name, payload, order] of orderCalls) {
  test(`${name} ${JSON.stringify(payload)} gives the order and answers its steps`, async () => {
    const bench = makeBench()
    assert.deepEqual(await bench.call(name, payload), {
      status: 200,
      body: { accepted: true, steps: ['one', 'two'] },
    })
    assert.deepEqual(bench.orders, [order])
    assert.deepEqual(bench.audited, [
      {
        method: name,
        outcome: order.rehearse ? 'rehearsed' : 'accepted',
        status: 200,
        payload: payload ?? {},
      },
    ])
  })
}

test('a chain that is handed in is answered, and is not kept in the trail', async () => {
  const bench = makeBench()
  const chain = `AB${'c'.repeat(2000)}`
  const reply = await bench.call('installCertificate', { chain })
  assert.deepEqual(reply, { status: 200, body: { thumbprintSha256: 'AB' } })
  assert.deepEqual(bench.audited, [{ method: 'installCertificate', outcome: 'accepted', status: 200, payload: {} }])
  assert.deepEqual(await bench.call('getCsr'), { status: 200, body: { csr: 'PEM' } })
  assert.equal(bench.audited.length, 1)
})

test('setLogLevel sets it', async () => {
  const bench = makeBench()
  assert.deepEqual(await bench.call('setLogLevel', { level: 'debug' }), { status: 200, body: { level: 'debug' } })
  assert.deepEqual(bench.levels, ['debug'])
  assert.equal(bench.audited.length, 1)
})

const refusals: readonly (readonly [answer: OrderAnswer, status: number, body: object])[] = [
  [
    { accepted: false, code: 'AUTH_BUSY', steps: ['a move is proving'] },
    409,
    { code: 'AUTH_BUSY', message: 'a move is proving', advice: new Failure('AUTH_BUSY', '').advice },
  ],
  [
    { accepted: false, code: 'AUTH_SAS_RETIRED', steps: [] },
    409,
    {
      code: 'AUTH_SAS_RETIRED',
      message: 'SAS is wanted, but it was retired on this device for good.',
      advice: new Failure('AUTH_SAS_RETIRED', '').advice,
    },
  ],
]

for (const [answer, status, body] of refusals) {
  test(`an order that is refused with ${answer.code} is ${status}, with the reason, and audited`, async () => {
    const bench = makeBench({ order: () => Promise.resolve(answer) })
    assert.deepEqual(await bench.call('setAuthMode', { mode: 'sas' }), { status, body })
    assert.deepEqual(bench.audited, [
      { method: 'setAuthMode', outcome: 'refused', status, code: answer.code, payload: { mode: 'sas' } },
    ])
  })
}

test('what is our own fault is 500 without a word of it to the caller, logged, and audited as failed', async () => {
  const bench = makeBench({ order: () => Promise.reject(new TypeError('x of /var/lib is undefined')) })
  const { status, body } = await bench.call('reprovision')
  assert.equal(status, 500)
  assert.doesNotMatch(JSON.stringify(body), /var\/lib/)
  assert.deepEqual(
    bench.failures.map(({ code, message }) => [code, message]),
    [['UNEXPECTED', 'x of /var/lib is undefined']],
  )
  assert.deepEqual(bench.audited, [
    { method: 'reprovision', outcome: 'failed', status: 500, code: 'UNEXPECTED', payload: {} },
  ])
})

test('a payload that is wrong is 400 with every problem, and changes nothing', async () => {
  const bench = makeBench()
  const { status, body } = await bench.call('setAuthMode', { mode: 'SAS', now: true })
  assert.equal(status, 400)
  assert.match(JSON.stringify(body), /METHOD_INVALID.*no field .*now.*mode must be one of/)
  assert.deepEqual(bench.orders, [])
  assert.deepEqual(bench.audited, [{ method: 'setAuthMode', outcome: 'refused', status: 400, code: 'METHOD_INVALID' }])
})

test('a method that the device does not allow is 403 and audited, one that nobody has is 404 and is not', async () => {
  const bench = makeBench({ allowed: new Set(['ping', 'getStatus', 'toString']) })
  assert.equal(await bench.status('reprovision'), 403)
  assert.equal(await bench.status('setLogLevel', { level: 'debug' }), 403)
  assert.equal(await bench.status('Ping'), 404)
  assert.equal(await bench.status('toString'), 404)
  assert.equal(await bench.status('__proto__'), 404)
  assert.equal(await bench.status('ping'), 200)
  assert.deepEqual(bench.orders, [])
  assert.deepEqual(bench.levels, [])
  assert.deepEqual(
    bench.audited.map(({ method, status }) => [method, status]),
    [['reprovision', 403]],
  )
})

test('every status that is answered is documented', async () => {
  const bench = makeBench({ allowed: new Set(['ping', 'setAuthMode']) })
  const calls = ['ping', 'none', 'reprovision', ...Array.from({ length: 6 }, () => 'setAuthMode')]
  for (const name of calls) assert.ok(Object.hasOwn(methodStatuses, await bench.status(name)))
})

test('of changes four a minute are let through and twenty an hour, whichever they are', async () => {
  const bench = makeBench()
  const names = ['renewCertificate', 'reprovision'] as const
  const statuses: number[] = []
  for (let minute = 0; minute < 6; minute += 1) {
    for (let at = 0; at < 5; at += 1) statuses.push(await bench.status(names[at % 2] ?? ''))
    await bench.clock.advance(60_000)
  }
  const good = [200, 200, 200, 200, 429]
  assert.deepEqual(statuses, [...good, ...good, ...good, ...good, ...good, 429, 429, 429, 429, 429])
  await bench.clock.advance(3_600_000 - 6 * 60_000)
  assert.equal(await bench.status('reprovision'), 200)
})

test('the wall clock has no say in how often', async () => {
  const bench = makeBench()
  for (let at = 0; at < 4; at += 1) await bench.status('reprovision')
  bench.clock.stepWall(86_400_000)
  assert.equal(await bench.status('reprovision'), 429)
})

test('who is too early is told how long to wait', async () => {
  const bench = makeBench()
  for (let at = 0; at < 4; at += 1) await bench.status('reprovision')
  await bench.clock.advance(20_500)
  const { body } = await bench.call('reprovision')
  assert.match(JSON.stringify(body), /METHOD_TOO_OFTEN.*in 40 s/)
})

test('asking is let through sixty times a minute, and takes nothing from changing', async () => {
  const bench = makeBench()
  for (let at = 0; at < 60; at += 1)
    assert.equal(await bench.status(at % 2 === 0 ? 'ping' : 'none'), at % 2 === 0 ? 200 : 404)
  assert.equal(await bench.status('getStatus'), 429)
  assert.equal(await bench.status('none'), 429)
  assert.equal(await bench.status('reprovision'), 200)
})

test('a flood leaves at most one entry a minute in the trail, which counts what was left out', async () => {
  const bench = makeBench()
  for (let at = 0; at < 1_000; at += 1) await bench.status('setAuthMode', { mode: 'sas' })
  assert.equal(bench.audited.length, 5)
  await bench.clock.advance(59_999)
  await bench.status('setAuthMode', { mode: 'sas' })
  assert.equal(bench.audited.length, 5)
  await bench.clock.advance(1)
  for (let at = 0; at < 5; at += 1) await bench.status('setAuthMode', { mode: 'sas' })
  assert.deepEqual(
    bench.audited.map(({ status, leftOut }) => [status, leftOut]),
    [
      ...Array.from({ length: 4 }, () => [200, undefined]),
      [429, undefined],
      ...Array.from({ length: 4 }, () => [200, undefined]),
      [429, 996],
    ],
  )
})

test('a flood of a method that is not allowed leaves one entry a minute, and changes that are allowed go on', async () => {
  const bench = makeBench({ allowed: new Set(['setLogLevel']) })
  for (let at = 0; at < 50; at += 1) await bench.status('setAuthMode', { mode: 'sas' })
  assert.equal(await bench.status('setLogLevel', { level: 'warn' }), 200)
  assert.deepEqual(
    bench.audited.map(({ method, status }) => [method, status]),
    [
      ['setAuthMode', 403],
      ['setLogLevel', 200],
    ],
  )
})
