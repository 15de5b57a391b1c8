import assert from 'node:assert/strict'
import mqttPacket from 'mqtt-packet'
import { duplexPair } from 'node:stream'
import { test } from 'node:test'

import { systemClock } from '../../agent/system/clock.ts'
import { startCloud } from '../cloud/cloud.ts'
import { createFaults } from '../cloud/faults.ts'
import { createHub } from '../cloud/hub/hub.ts'
import { decodeBag } from '../cloud/hub/property-bag.ts'
import { isDocument, mergePatch, sectionProblem } from '../cloud/hub/twin.ts'
import { parseHubUser } from '../cloud/hub/username.ts'
import { createRecord } from '../cloud/record.ts'
import { signSas } from '../cloud/sas.ts'
import { createBroker } from '../cloud/wire/broker.ts'
import { createFramer } from '../cloud/wire/framing.ts'
import { parsePacket } from '../cloud/wire/packets.ts'
import { connectDevice, dial, dialWebSocket, greet, publication, speak, type WireClient } from './cloud-client.ts'

/** The same bytes at every run; another seed by FUZZ_SEED. */
const SEED = Number(process.env['FUZZ_SEED'] ?? '20260105')
const KEY = Buffer.alloc(32, 3).toString('base64')
const HOST = 'hub-1.localhost'
const GREETING = { host: HOST, deviceId: 'edge-1', password: tokenFor() }

test('no bytes make the packet parser throw', () => {
  const random = createRandom(SEED)
  for (let turn = 0; turn < 20_000; turn += 1) {
    const bytes = turn % 2 === 0 ? random.bytes(random.below(80)) : mutate(random, random.pick(validPackets()))
    const framer = createFramer(100_000)
    for (const cut of [bytes.subarray(0, bytes.length >> 1), bytes.subarray(bytes.length >> 1)]) framer.push(cut)
    const framed = framer.next()
    if (framed.kind === 'packet') parsePacket(framed.bytes)
  }
})

test('no text makes the readers of topics, bags and twins throw', () => {
  const random = createRandom(SEED + 1)
  for (let turn = 0; turn < 20_000; turn += 1) {
    const text = random.text(60)
    decodeBag(text)
    parseHubUser(text)
    const value = random.json(6)
    const problem = sectionProblem('reported', value, (patch) => mergePatch({ a: { b: 1 } }, patch))
    if (problem === undefined) assert.ok(isDocument(value))
  }
})

test('whatever a client sends is answered or ends its connection, and the next client is served', async () => {
  const { house, isClean } = startHubInMemory()
  const random = createRandom(SEED + 2)
  for (let turn = 0; turn < 1_500; turn += 1) {
    await using client = house.dial()
    if (turn % 3 > 0) await greet(client, GREETING)
    const bad = turn % 3 === 2 ? hostilePublish(random) : keepLength(mutate(random, random.pick(validPackets())))
    client.sendBytes(bad)
    await answeredOrClosed(client)
  }
  await using client = house.dial()
  assert.equal((await greet(client, GREETING)).returnCode, 0)
  client.send(publication('$iothub/twin/GET/?$rid=1', '', 1, 4))
  assert.equal((await client.next()).cmd, 'puback')
  assert.deepEqual(isClean(), [])
  await house.broker.close()
})

test('garbage over TLS and WebSocket, cut off at any point, does no harm', async () => {
  await using cloud = await startCloud()
  const credential = await cloud.authority.makeDevice('edge-1')
  cloud.hub.assign('edge-1', { type: 'certificateAuthority' }, undefined)
  const random = createRandom(SEED + 3)
  for (let turn = 0; turn < 60; turn += 1) {
    const host = random.pick([HOST, 'dps.localhost'])
    const client = turn % 2 === 0 ? await dial(cloud, { host }) : await dialWebSocket(cloud, { host })
    client.sendBytes(random.below(2) === 0 ? random.bytes(200) : mutate(random, random.pick(validPackets())))
    client.drop()
    await client.closed
  }
  await using client = await connectDevice(cloud, { deviceId: 'edge-1', credential })
  client.send(publication('devices/edge-1/messages/events/', 'still here', 1))
  assert.equal((await client.next()).cmd, 'puback')
  const failures = cloud.record.events().filter((event) => 'reason' in event && event.reason.includes('failed'))
  assert.deepEqual(failures, [])
})

/** PINGREQ follows; the server answers something or closes. Either way nothing hangs: `next` has a guard. */
async function answeredOrClosed(client: WireClient): Promise<void> {
  client.send({ cmd: 'pingreq' })
  const end = client.closed.then(() => 'closed')
  const answer = client.next().then(
    (packet) => packet.cmd,
    (error: Error) => (error.message.includes('ended') ? 'closed' : 'silence'),
  )
  assert.notEqual(await Promise.race([end, answer]), 'silence')
}

function startHubInMemory() {
  const record = createRecord(Date.now)
  const faults = createFaults()
  const hub = createHub({ host: HOST, policies: [], faults, recorder: record, clock: systemClock })
  hub.assign('edge-1', { type: 'sas', primaryKey: KEY, secondaryKey: KEY }, undefined)
  const broker = createBroker({ endpoints: () => [hub], faults, recorder: record, clock: systemClock })
  const dialMemory = () => {
    const [near, far] = duplexPair()
    broker.attach({ stream: far, endpoint: hub, serverName: HOST, chain: [], transport: 'mqtt' })
    return speak(near)
  }
  /** Invariants of ours that broke: there must be none. */
  const isClean = () =>
    record.events().flatMap((event) => ('reason' in event && event.reason.includes('endpoint failed') ? [event] : []))
  return { house: { dial: dialMemory, broker }, isClean }
}

function tokenFor(): string {
  return signSas({
    resource: `${HOST}/devices/edge-1`,
    key: KEY,
    expiresAtSeconds: Math.floor(Date.now() / 1000) + 600,
  })
}

function validPackets(): readonly Buffer[] {
  return [
    mqttPacket.generate({
      ...({ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 4, clean: false, keepalive: 60 } as const),
      ...{ clientId: 'edge-1', username: `${HOST}/edge-1/?api-version=2021-04-12`, password: Buffer.from(tokenFor()) },
      will: { topic: 'devices/edge-1/messages/events/', payload: 'will', qos: 1, retain: false },
    }),
    mqttPacket.generate(publication('devices/edge-1/messages/events/$.ct=a%2Fb&x=y', '{"a":1}', 1, 7)),
    mqttPacket.generate(publication('$iothub/twin/GET/?$rid=7', '', 0)),
    mqttPacket.generate(publication('$iothub/twin/PATCH/properties/reported/?$rid=8', '{"a":{"b":[1]}}', 1, 8)),
    mqttPacket.generate(publication('$iothub/methods/res/200/?$rid=9', '{}', 0)),
    mqttPacket.generate({ cmd: 'subscribe', messageId: 3, subscriptions: [{ topic: '$iothub/twin/res/#', qos: 1 }] }),
    mqttPacket.generate({ cmd: 'unsubscribe', messageId: 4, unsubscriptions: ['$iothub/twin/res/#'] }),
    mqttPacket.generate({ cmd: 'puback', messageId: 5 }),
    mqttPacket.generate({ cmd: 'pingreq' }),
    mqttPacket.generate({ cmd: 'disconnect' }),
  ]
}

/** A publish whose framing is right and whose topic and body are not. */
function hostilePublish(random: Random): Buffer {
  const start = random.pick([
    ...['', '$iothub/', '$iothub/twin/', '$iothub/twin/GET/?', '$iothub/twin/PATCH/properties/reported/?$rid=1'],
    ...[
      '$iothub/methods/res/',
      'devices/edge-1/messages/events/',
      'devices/edge-1/',
      'devices/__proto__/messages/events/',
    ],
  ])
  const topic = `${start}${random.text(40)}`.replaceAll(/[+#]/g, '') || 'x'
  const body = random.pick([
    random.text(40),
    JSON.stringify(random.json(12)),
    '['.repeat(50_000),
    '{"__proto__":{"a":1}}',
  ])
  return mqttPacket.generate(publication(topic, body, random.below(2) === 0 ? 0 : 1, 1 + random.below(60_000)))
}

/** Flips, cuts, repeats or inserts some bytes. */
function mutate(random: Random, packet: Buffer): Buffer {
  const bytes = Buffer.from(packet)
  for (let change = 0; change <= random.below(4); change += 1) bytes[random.below(bytes.length)] = random.below(256)
  const at = random.below(bytes.length)
  const ways = [
    () => bytes,
    () => bytes.subarray(0, at),
    () => Buffer.concat([bytes.subarray(0, at), random.bytes(random.below(9)), bytes.subarray(at)]),
    () => Buffer.concat([bytes, bytes]),
  ]
  return random.pick(ways)()
}

/** Mends the remaining length, so that the server has a whole packet to judge. */
function keepLength(bytes: Buffer): Buffer {
  const body = bytes.subarray(2, 2 + 100)
  return Buffer.concat([Buffer.from([bytes[0] ?? 0x10, body.length]), body])
}

interface Random {
  below(limit: number): number
  bytes(count: number): Buffer
  pick<T>(from: readonly T[]): T
  text(most: number): string
  json(depth: number): unknown
}

/** mulberry32: small, and the same everywhere. */
function createRandom(seed: number): Random {
  let state = seed
  const next = () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
  const below = (limit: number) => Math.floor(next() * limit)
  const pick = <T>(from: readonly T[]): T => {
    const chosen = from[below(from.length)]
    if (chosen === undefined) throw new RangeError('nothing to pick from')
    return chosen
  }
  const pieces = [
    '%',
    '%2',
    '%zz',
    '&',
    '=',
    '/',
    '?',
    '$',
    '$rid=',
    '$.ct',
    '..',
    '\u{1f600}',
    'é',
    '{',
    '"',
    '\\',
    '-1',
    ' ',
  ]
  const text = (most: number) => {
    let made = ''
    while (made.length < below(most)) made += below(2) === 0 ? pick(pieces) : String.fromCharCode(33 + below(94))
    return made
  }
  const leaves: readonly (() => unknown)[] = [
    () => null,
    () => below(2) === 0,
    () => (next() - 0.5) * 10 ** below(20),
    () => Number.MAX_SAFE_INTEGER,
    () => text(30),
    () => 'x'.repeat(below(6000)),
  ]
  const json = (depth: number): unknown => {
    if (depth === 0 || below(3) === 0) return pick(leaves)()
    if (below(3) === 0) return Array.from({ length: below(4) }, () => json(depth - 1))
    const names = ['__proto__', 'constructor', '$version', 'a.b', 'ok', 'toString', text(10)]
    return Object.fromEntries(Array.from({ length: below(4) }, () => [pick(names), json(depth - 1)]))
  }
  return { below, pick, text, json, bytes: (count) => Buffer.from(Array.from({ length: count }, () => below(256))) }
}
