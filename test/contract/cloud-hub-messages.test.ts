import assert from 'node:assert/strict'
import { test } from 'node:test'

import { startCloud, type Cloud } from '../cloud/cloud.ts'
import { ServiceError, type Telemetry } from '../cloud/model.ts'
import { createFakeClock } from '../kit/clock.ts'
import { connectDevice, expectPacket, nextPublish, publication, subscribe } from './cloud-client.ts'

const EVENTS = 'devices/edge-1/messages/events/'
const C2D = 'devices/edge-1/messages/devicebound/#'
const METHODS = '$iothub/methods/POST/#'

async function startWithClient(options: Parameters<typeof startCloud>[0] = {}, greeting: { clean?: boolean } = {}) {
  const cloud = await startCloud(options)
  const credential = await cloud.authority.makeDevice('edge-1')
  cloud.hub.assign('edge-1', { type: 'certificateAuthority' }, undefined)
  const client = await connectDevice(cloud, { deviceId: 'edge-1', credential, ...greeting })
  return Object.assign(cloud, { client, credential })
}

async function nextTelemetry(cloud: Cloud, since = 0): Promise<Telemetry> {
  const event = await cloud.record.waitFor(({ kind }) => kind === 'telemetry', { since })
  assert.ok(event.kind === 'telemetry')
  return event.message
}

const hasCode = (code: number) => (error: unknown) => error instanceof ServiceError && error.code === code

test('a property bag becomes application and system properties', async () => {
  await using cloud = await startWithClient()
  const bag =
    '$.mid=m-1&%24.cid=c&$.ct=application%2Fjson&$.ce=utf-8&$.ctime=2026-01-01T00%3A00%3A00Z&a%20b=c%26d&flag&empty='
  cloud.client.send(publication(EVENTS + bag, '{"t":1}', 1, 11))
  assert.equal(expectPacket(await cloud.client.next(), 'puback').messageId, 11)
  const message = await nextTelemetry(cloud)
  assert.deepEqual(message.properties, { 'a b': 'c&d', flag: null, empty: '' })
  const {
    'message-id': id,
    'correlation-id': correlation,
    'content-type': type,
    'content-encoding': encoding,
  } = message.system
  assert.deepEqual([id, correlation, type, encoding], ['m-1', 'c', 'application/json', 'utf-8'])
  assert.equal(message.system['iothub-creation-time-utc'], '2026-01-01T00:00:00Z')
  assert.equal(message.body.toString(), '{"t":1}')
})

test('the hub stamps who sent a message, by which identity and with which kind of credential', async () => {
  await using cloud = await startWithClient()
  cloud.client.send(publication(EVENTS, 'x'))
  const { system } = await nextTelemetry(cloud)
  assert.equal(system['iothub-connection-device-id'], 'edge-1')
  assert.equal(system['iothub-connection-auth-generation-id'], cloud.hub.identity('edge-1')?.generationId)
  assert.deepEqual(JSON.parse(system['iothub-connection-auth-method'] ?? ''), {
    scope: 'device',
    type: 'x509',
    issuer: 'iothub',
  })
  assert.match(system['iothub-enqueuedtime'] ?? '', /^\d{4}-\d\d-\d\dT[\d:.]+Z$/)
})

test('RETAIN is not honoured and shows as the property mqtt-retain', async () => {
  await using cloud = await startWithClient()
  cloud.client.send({ ...publication(EVENTS, 'x'), retain: true })
  assert.equal((await nextTelemetry(cloud)).properties['mqtt-retain'], 'true')
})

test('256 KB with properties pass, one byte more closes the connection without PUBACK', async () => {
  await using cloud = await startWithClient()
  const bag = 'k=v'
  const most = 256 * 1024 - bag.length + 1
  cloud.client.send(publication(EVENTS + bag, Buffer.alloc(most), 1, 1))
  assert.equal((await cloud.client.next()).cmd, 'puback')
  cloud.client.send(publication(EVENTS + bag, Buffer.alloc(most + 1), 1, 2))
  assert.equal(await cloud.client.closed, 0)
  await cloud.record.waitFor((event) => event.kind === 'disconnected' && event.reason.includes('262145 bytes'))
  assert.equal(cloud.record.count('telemetry'), 1)
})

test('a bag that cannot be decoded closes the connection', async () => {
  await using cloud = await startWithClient()
  cloud.client.send(publication(`${EVENTS}a=%GG`, 'x', 1))
  assert.equal(await cloud.client.closed, 0)
  await cloud.record.waitFor((event) => event.kind === 'disconnected' && event.reason.includes('percent'))
})

test('traffic shaping holds the PUBACK back, and the message with it', async () => {
  const clock = createFakeClock(Date.now())
  await using cloud = await startWithClient({ clock })
  cloud.faults.set('pubackDelayMs', 700)
  cloud.client.send(publication(EVENTS, 'slow', 1, 8))
  await clock.waiting(700)
  assert.equal(cloud.record.count('telemetry'), 0)
  await clock.advance(700)
  assert.equal(expectPacket(await cloud.client.next(), 'puback').messageId, 8)
  assert.equal((await nextTelemetry(cloud)).body.toString(), 'slow')
})

test('a throttled session ends after as many messages as the fault allows', async () => {
  await using cloud = await startWithClient()
  cloud.faults.set('throttleAfterMessages', 2)
  for (const id of [1, 2, 3]) cloud.client.send(publication(EVENTS, 'x', 1, id))
  assert.equal((await cloud.client.next()).cmd, 'puback')
  assert.equal((await cloud.client.next()).cmd, 'puback')
  assert.equal(await cloud.client.closed, 0)
  await cloud.record.waitFor((event) => event.kind === 'disconnected' && event.reason.startsWith('429001'))
})

test('a C2D message carries its properties, and PUBACK completes it', async () => {
  await using cloud = await startWithClient()
  await subscribe(cloud.client, [C2D])
  cloud.hub.sendToDevice('edge-1', 'hallo', { 'iothub-ack': 'full', 'a b': 'c/d' })
  const message = await nextPublish(cloud.client)
  const bag = new URLSearchParams(message.topic.slice('devices/edge-1/messages/devicebound/'.length))
  assert.equal(message.text, 'hallo')
  assert.equal(bag.get('$.to'), '/devices/edge-1/messages/devicebound')
  assert.ok(bag.get('$.mid'))
  assert.deepEqual([bag.get('iothub-ack'), bag.get('a b')], ['full', 'c/d'])
  assert.equal(cloud.hub.queued('edge-1'), 1, 'not complete before PUBACK')
  cloud.client.send({ cmd: 'puback', messageId: message.id ?? 0 })
  cloud.client.send({ cmd: 'pingreq' })
  assert.equal((await cloud.client.next()).cmd, 'pingresp')
  assert.equal(cloud.hub.queued('edge-1'), 0)
})

test('50 messages wait for a device; one more, one too large and one for nobody are refused', async () => {
  await using cloud = await startWithClient()
  for (let count = 0; count < 50; count += 1) cloud.hub.sendToDevice('edge-1', `m${count}`)
  assert.throws(() => cloud.hub.sendToDevice('edge-1', 'm50'), hasCode(403004))
  assert.throws(() => cloud.hub.sendToDevice('edge-1', Buffer.alloc(64 * 1024 + 1)), hasCode(413001))
  assert.throws(() => cloud.hub.sendToDevice('edge-9', 'x'), hasCode(404001))
  cloud.client.send({ cmd: 'subscribe', messageId: 3, subscriptions: [{ topic: C2D, qos: 1 }] })
  assert.equal((await cloud.client.next()).cmd, 'suback')
  for (let count = 0; count < 50; count += 1) assert.equal((await nextPublish(cloud.client)).text, `m${count}`)
})

test('a message that waited longer than an hour is not delivered', async () => {
  const clock = createFakeClock(Date.now())
  await using cloud = await startWithClient({ clock })
  cloud.hub.sendToDevice('edge-1', 'old')
  clock.stepWall(3_601_000)
  cloud.hub.sendToDevice('edge-1', 'new')
  await subscribe(cloud.client, [C2D])
  assert.equal((await nextPublish(cloud.client)).text, 'new')
})

test('a direct method reaches the device, and its answer the caller', async () => {
  await using cloud = await startWithClient()
  await subscribe(cloud.client, [METHODS])
  const call = { name: 'getStatus', payload: { verbose: true }, responseTimeoutSeconds: 30 }
  const answer = cloud.hub.invokeMethod('edge-1', call)
  const request = await nextPublish(cloud.client)
  const [, name, rid] = /^\$iothub\/methods\/POST\/([^/]+)\/\?\$rid=(.+)$/.exec(request.topic) ?? []
  assert.deepEqual([name, request.qos, JSON.parse(request.text)], ['getStatus', 0, { verbose: true }])
  cloud.client.send(publication('$iothub/methods/res/200/?$rid=none-such', '{}'))
  cloud.client.send(publication(`$iothub/methods/res/202/?$rid=${rid ?? ''}`, '{"ok":1}'))
  assert.deepEqual(await answer, { status: 202, payload: { ok: 1 } })
})

test('the answer of another device to a method call is not taken', async () => {
  await using cloud = await startWithClient()
  const stranger = await cloud.authority.makeDevice('edge-2')
  cloud.hub.assign('edge-2', { type: 'certificateAuthority' }, undefined)
  await using other = await connectDevice(cloud, { deviceId: 'edge-2', credential: stranger })
  await subscribe(cloud.client, [METHODS])
  const answer = cloud.hub.invokeMethod('edge-1', { name: 'x', payload: {}, responseTimeoutSeconds: 30 })
  const rid = /rid=(.*)$/.exec((await nextPublish(cloud.client)).topic)?.[1] ?? ''
  other.send(publication(`$iothub/methods/res/500/?$rid=${rid}`, '{"from":"edge-2"}', 1))
  assert.equal((await other.next()).cmd, 'puback')
  cloud.client.send(publication(`$iothub/methods/res/200/?$rid=${rid}`, '{"from":"edge-1"}'))
  assert.deepEqual(await answer, { status: 200, payload: { from: 'edge-1' } })
})

test('a message that a clean session left without PUBACK waits for the next one', async () => {
  await using cloud = await startWithClient()
  const { credential } = cloud
  await subscribe(cloud.client, [C2D])
  cloud.hub.sendToDevice('edge-1', 'again')
  await nextPublish(cloud.client)
  cloud.client.drop()
  await cloud.record.waitFor(({ kind }) => kind === 'disconnected')
  await using client = await connectDevice(cloud, { deviceId: 'edge-1', credential })
  assert.equal(client.connack.sessionPresent, false)
  await subscribe(client, [C2D])
  const message = await nextPublish(client)
  assert.deepEqual([message.text, message.dup], ['again', false])
})

test('a method call fails by its reason: offline, not subscribed, too late, too large, cut', async () => {
  const clock = createFakeClock(Date.now())
  await using cloud = await startWithClient({ clock })
  const call = { name: 'x', payload: undefined, responseTimeoutSeconds: 10 }
  await assert.rejects(cloud.hub.invokeMethod('edge-9', call), hasCode(404001))
  await assert.rejects(cloud.hub.invokeMethod('edge-1', call), hasCode(404103))
  await subscribe(cloud.client, [METHODS])
  const large = { ...call, payload: 'x'.repeat(128 * 1024) }
  await assert.rejects(cloud.hub.invokeMethod('edge-1', large), hasCode(413001))
  const late = cloud.hub.invokeMethod('edge-1', call)
  assert.equal((await nextPublish(cloud.client)).text, '')
  await Promise.all([clock.advance(10_000), assert.rejects(late, hasCode(504101))])
  const lost = cloud.hub.invokeMethod('edge-1', call)
  await nextPublish(cloud.client)
  cloud.client.drop()
  await assert.rejects(lost, hasCode(404104))
  await assert.rejects(cloud.hub.invokeMethod('edge-1', call), hasCode(404103))
})

test('a method answer that breaks the rules closes the connection', async () => {
  for (const [topic, body] of [
    ['$iothub/methods/res/abc/?$rid=1', '{}'],
    ['$iothub/methods/res/200/', '{}'],
    ['$iothub/methods/res/200/?$rid=1', '{"broken'],
    ['$iothub/methods/res/200/?$rid=1', JSON.stringify('x'.repeat(128 * 1024))],
  ] as const) {
    await using cloud = await startWithClient()
    cloud.client.send(publication(topic, body, 1))
    assert.equal(await cloud.client.closed, 0)
  }
})
