import assert from 'node:assert/strict'
import { duplexPair } from 'node:stream'
import { test } from 'node:test'

import { systemClock, type Clock } from '../../agent/system/clock.ts'
import { createFaults } from '../cloud/faults.ts'
import type { Endpoint, Link } from '../cloud/model.ts'
import { createRecord } from '../cloud/record.ts'
import { createBroker } from '../cloud/wire/broker.ts'
import { covers, isFilter } from '../cloud/wire/topics.ts'
import { expectPacket, greet, nextPublish, publication, speak, subscribe } from './cloud-client.ts'

const GREETING = { host: 'any.localhost', deviceId: 'edge-1' }

/** A broker over memory in front of an endpoint of the test's own making. */
function startBroker(more: Partial<Endpoint> = {}, clock: Clock = systemClock) {
  const links: Link[] = []
  const endpoint: Endpoint = {
    ...{ kind: 'hub', host: 'any.localhost', keepsSessions: true, maxFilters: 5 },
    authorize: () => ({ accepted: true }),
    opened: (link) => void links.push(link),
    permits: () => true,
    subscribed: () => undefined,
    received: () => undefined,
    acknowledgementDelayMs: () => 0,
    closed: () => undefined,
    ...more,
  }
  const record = createRecord(() => clock.now())
  const broker = createBroker({ endpoints: () => [endpoint], faults: createFaults(), recorder: record, clock })
  const dial = () => {
    const [near, far] = duplexPair()
    broker.attach({ stream: far, endpoint, serverName: endpoint.host, chain: [], transport: 'mqtt' })
    return speak(near)
  }
  return { broker, record, dial, links, [Symbol.asyncDispose]: () => broker.close() }
}

test('a verdict that takes its time is waited for, and what was sent meanwhile is not lost', async () => {
  const { promise, resolve } = Promise.withResolvers<{ accepted: true }>()
  await using house = startBroker({ authorize: () => promise })
  await using client = house.dial()
  const answer = greet(client, GREETING)
  client.send({ cmd: 'pingreq' })
  resolve({ accepted: true })
  assert.equal((await answer).returnCode, 0)
  assert.equal((await client.next()).cmd, 'pingresp')
})

for (const [where, broken] of [
  ['throws while judging', { authorize: () => fail() }],
  ['rejects while judging', { authorize: () => Promise.reject(new Error('boom')) }],
  ['throws when opened', { opened: () => fail() }],
  ['throws at a subscription', { permits: () => fail() }],
  ['throws at a publish', { received: () => fail() }],
  ['rejects at a publish', { received: () => Promise.reject(new Error('boom')) }],
] as const satisfies readonly (readonly [string, Partial<Endpoint>])[])
  test(`an endpoint that ${where} costs one connection and is recorded`, async () => {
    await using house = startBroker(broken)
    await using client = house.dial()
    client.send({ ...connectPacket() })
    client.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'a', qos: 0 }] })
    client.send(publication('a', 'x', 1))
    await client.closed
    const event = await house.record.waitFor((each) => 'reason' in each && each.reason.includes('the endpoint failed'))
    assert.ok('reason' in event && event.reason.includes('boom'))
  })

test('filters beyond the limit of the endpoint are refused, known ones may be repeated', async () => {
  await using house = startBroker({ maxFilters: 2 })
  await using client = house.dial()
  await greet(client, GREETING)
  assert.deepEqual(await subscribe(client, ['a', 'b', 'c']), [1, 1, 128])
  assert.deepEqual(await subscribe(client, ['a', 'd']), [1, 128])
  client.send({ cmd: 'unsubscribe', messageId: 4, unsubscriptions: ['a'] })
  assert.equal((await client.next()).cmd, 'unsuback')
  assert.deepEqual(await subscribe(client, ['d']), [1])
})

test('a message goes out at the lower of both QoS, and only where a filter covers it', async () => {
  await using house = startBroker()
  await using client = house.dial()
  await greet(client, GREETING)
  await subscribe(client, ['low/#'], 0)
  await subscribe(client, ['high/+/x'], 1)
  const [link] = house.links
  assert.ok(link !== undefined)
  assert.equal(link.send('low/1', 'a', 1), true)
  assert.equal(link.send('high/1/x', 'b', 1), true)
  assert.equal(link.send('high/1/y', 'c', 1), false)
  assert.equal(link.send('high/2/x', 'd', 0), true)
  const seen = [await nextPublish(client), await nextPublish(client), await nextPublish(client)]
  assert.deepEqual(
    seen.map(({ text, qos }) => [text, qos]),
    [
      ['a', 0],
      ['b', 1],
      ['d', 0],
    ],
  )
})

test('filters cover topics as section 4.7 of the standard says', () => {
  for (const [filter, topic, expected] of [
    ['a/#', 'a', true],
    ['a/#', 'a/b/c', true],
    ['a/+', 'a/b', true],
    ['a/+', 'a/b/c', false],
    ['a/+', 'a', false],
    ['+/b', 'a/b', true],
    ['#', 'a/b', true],
    ['#', '$iothub/x', false],
    ['+/x', '$iothub/x', false],
    ['$iothub/#', '$iothub/x', true],
    ['a', 'A', false],
  ] as const)
    assert.equal(covers(filter, topic), expected, `${filter} ${topic}`)
  for (const [filter, expected] of [
    ['a/#', true],
    ['+/+', true],
    ['a/#/b', false],
    ['a#', false],
    ['a+/b', false],
    ['', false],
    ['a\0', false],
  ] as const)
    assert.equal(isFilter(filter), expected, filter)
})

test('a client that never acknowledges is cut before its session grows without bound', async () => {
  await using house = startBroker()
  await using client = house.dial()
  await greet(client, GREETING)
  await subscribe(client, ['#'], 1)
  const [link] = house.links
  let sent = 0
  while (link?.send('x', 'y', 1) === true) sent += 1
  assert.equal(sent, 200)
  await client.closed
})

test('held acknowledgements stop the reading, so that a client cannot pile up messages', async () => {
  const { promise, resolve } = Promise.withResolvers<undefined>()
  const clock: Clock = {
    ...systemClock,
    wait: (delayMs, signal) => (delayMs === 9 ? promise : systemClock.wait(delayMs, signal)),
  }
  let taken = 0
  await using house = startBroker({ acknowledgementDelayMs: () => 9, rejects: () => void (taken += 1) }, clock)
  await using client = house.dial()
  await greet(client, GREETING)
  for (let id = 1; id <= 300; id += 1) client.send(publication('a', 'x', 1, id))
  // The stream in memory hands everything over in one turn of the loop.
  await new Promise((done) => setImmediate(done))
  assert.equal(taken, 100)
  resolve(undefined)
  for (let id = 1; id <= 300; id += 1) assert.equal(expectPacket(await client.next(), 'puback').messageId, id)
})

test('a connection that never says CONNECT is closed', async () => {
  let nowMs = 0
  const waits: (() => void)[] = []
  const clock: Clock = {
    now: () => nowMs,
    monotonicMs: () => nowMs,
    wait: (_delayMs, signal) =>
      new Promise((resolve, reject) => {
        waits.push(resolve)
        signal?.addEventListener('abort', () => reject(signal.reason as Error))
      }),
  }
  await using house = startBroker({}, clock)
  const client = house.dial()
  nowMs = 31_000
  waits.shift()?.()
  await client.closed
  await house.record.waitFor((event) => event.kind === 'refused' && event.reason === 'no CONNECT in time')
})

test('the record is a ring: old events go, waiting sees old and new ones, and closing ends the wait', async () => {
  const record = createRecord(() => 7)
  for (let count = 0; count < 20_001; count += 1)
    record.add({ kind: 'disconnected', host: 'h', clientId: String(count), reason: '' })
  assert.equal(record.seq(), 20_001)
  assert.equal(record.count('disconnected'), 20_001)
  assert.ok(record.events().length <= 20_000)
  assert.equal(record.events().at(-1)?.seq, 20_001)
  const future = record.waitFor((event) => event.seq > 20_001)
  record.add({ kind: 'refused', host: 'h', clientId: 'x', reason: 'r' })
  assert.equal((await future).seq, 20_002)
  const never = record.waitFor(() => false)
  record.close()
  await assert.rejects(never, /closed/)
})

test('received bytes are kept up to 16 MiB and counted beyond', () => {
  const record = createRecord(() => 0)
  for (let count = 0; count < 17; count += 1) record.addReceived(Buffer.alloc(1024 * 1024, count))
  assert.equal(record.received().length, 16 * 1024 * 1024)
  assert.equal(record.receivedBytes(), 17 * 1024 * 1024)
})

function connectPacket() {
  return {
    ...({ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 4 } as const),
    ...{ clientId: 'edge-1', clean: true, keepalive: 0 },
  }
}

function fail(): never {
  throw new Error('boom')
}
