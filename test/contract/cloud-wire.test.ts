import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { test } from 'node:test'
import { connect as connectTls } from 'node:tls'
import { readFile } from 'node:fs/promises'

import { lookup } from '../../agent/system/loopback.ts'
import { startCloud, type Cloud } from '../cloud/cloud.ts'
import { createFakeClock } from '../kit/clock.ts'
import {
  connectDevice,
  dial,
  dialWebSocket,
  expectPacket,
  greet,
  nextPublish,
  publication,
  speak,
  subscribe,
} from './cloud-client.ts'

const TWIN_FILTER = '$iothub/twin/res/#'
const C2D_FILTER = 'devices/edge-1/messages/devicebound/#'

/** A cloud with one device of CA type. */
async function startWithDevice(options: Parameters<typeof startCloud>[0] = {}) {
  const cloud = await startCloud(options)
  const credential = await cloud.authority.makeDevice('edge-1')
  cloud.hub.assign('edge-1', { type: 'certificateAuthority' }, undefined)
  return Object.assign(cloud, { credential })
}

const refusedFor = (cloud: Cloud, fragment: string) =>
  cloud.record.waitFor((event) => event.kind === 'refused' && event.reason.includes(fragment))

const disconnectedFor = (cloud: Cloud, fragment: string) =>
  cloud.record.waitFor((event) => event.kind === 'disconnected' && event.reason.includes(fragment))

test('SNI chooses between DPS and the hubs', async () => {
  await using cloud = await startWithDevice()
  cloud.hubs[1]?.assign('edge-1', { type: 'certificateAuthority' }, undefined)
  const { credential } = cloud
  for (const host of ['hub-1.localhost', 'hub-2.localhost']) {
    await using client = await connectDevice(cloud, { host, deviceId: 'edge-1', credential })
    assert.equal(client.connack.returnCode, 0)
  }
  await using client = await dial(cloud, { host: 'dps.localhost', credential })
  const username = `${cloud.idScope}/registrations/edge-1/api-version=2019-03-31`
  assert.equal((await greet(client, { host: 'dps.localhost', deviceId: 'edge-1', username })).returnCode, 0)
  const hosts = cloud.record.events().flatMap((event) => (event.kind === 'connected' ? [event.host] : []))
  assert.deepEqual(hosts, ['hub-1.localhost', 'hub-2.localhost', 'dps.localhost'])
})

test('a name that no endpoint has is refused in the handshake and recorded', async () => {
  await using cloud = await startCloud()
  await assert.rejects(dial(cloud, { host: 'hub-9.localhost' }))
  await refusedFor(cloud, 'no endpoint is named hub-9.localhost')
})

test('a client without SNI is turned away and recorded', async () => {
  await using cloud = await startCloud()
  const ca = await readFile(cloud.caFile)
  const socket = connectTls({ host: '127.0.0.1', port: cloud.port, ca, checkServerIdentity: () => undefined })
  await new Promise((resolve) => {
    socket.on('close', resolve).on('error', () => undefined)
    socket.resume()
  })
  await refusedFor(cloud, 'TLS without SNI')
})

test('an alias leads to its endpoint', async () => {
  await using cloud = await startCloud({ aliases: { localhost: 'hub-1.localhost' } })
  const credential = await cloud.authority.makeDevice('edge-1')
  cloud.hub.assign('edge-1', { type: 'certificateAuthority' }, undefined)
  await using client = await dial(cloud, { host: 'localhost', credential })
  assert.equal((await greet(client, { host: 'hub-1.localhost', deviceId: 'edge-1' })).returnCode, 0)
})

for (const [maxTlsVersion, offered, outcome] of [
  [undefined, 'TLSv1.3', 'TLSv1.2'],
  ['TLSv1.3', 'TLSv1.3', 'TLSv1.3'],
  [undefined, 'TLSv1.1', undefined],
] as const)
  test(`a client of at most ${offered} gets ${outcome ?? 'nothing'} where the server ends at ${maxTlsVersion ?? 'its default'}`, async () => {
    await using cloud = await startCloud(maxTlsVersion === undefined ? {} : { maxTlsVersion })
    const socket = connectTls({
      ...{ host: 'hub-1.localhost', servername: 'hub-1.localhost', lookup, port: cloud.port },
      ...{ ca: await readFile(cloud.caFile), minVersion: 'TLSv1.1', maxVersion: offered },
      ciphers: 'DEFAULT@SECLEVEL=0',
    })
    const version = await new Promise((resolve) => {
      socket.on('secureConnect', () => resolve(socket.getProtocol() ?? undefined))
      socket.on('error', () => resolve(undefined))
    })
    socket.destroy()
    assert.equal(version, outcome)
  })

for (const maxTlsVersion of ['TLSv1.2', 'TLSv1.3'] as const)
  test(`the chain arrives as presented, also when the client offers to resume (${maxTlsVersion})`, async () => {
    await using cloud = await startWithDevice({ maxTlsVersion })
    const { credential, authority } = cloud
    const chainPem = credential.leafPem + authority.serverRoot.certificatePem + authority.intermediate.certificatePem
    const presented: string[][] = []
    const authorize = cloud.hub.authorize.bind(cloud.hub)
    cloud.hub.authorize = (hello) => {
      presented.push(hello.chain.map((certificate) => certificate.subject))
      return authorize(hello)
    }
    let session: Buffer | undefined
    for (let turn = 0; turn < 2; turn += 1) {
      const socket = connectTls({
        ...{ host: cloud.hub.host, servername: cloud.hub.host, lookup, port: cloud.port },
        ...{ ca: await readFile(cloud.caFile), cert: chainPem, key: credential.keyPem },
        ...(session === undefined ? {} : { session }),
      })
      socket.on('session', (fresh: Buffer) => (session = fresh))
      await new Promise((resolve) => socket.once('secureConnect', resolve))
      await using client = speak(socket)
      assert.equal((await greet(client, { host: cloud.hub.host, deviceId: 'edge-1' })).returnCode, 0)
    }
    const subjects = [
      credential.leafPem,
      authority.serverRoot.certificatePem,
      authority.intermediate.certificatePem,
    ].map((pem) => new X509Certificate(pem).subject)
    assert.deepEqual(presented, [subjects, subjects])
  })

test('a protocol level other than 4 is answered with return code 1', async () => {
  await using cloud = await startCloud()
  for (const [name, level] of [
    ['MQIsdp', 3],
    ['MQTT', 5],
    ['MQTT', 0x84],
  ] as const) {
    await using client = await dial(cloud, { host: cloud.hub.host })
    const variable = Buffer.concat([
      Buffer.from([0, name.length]),
      Buffer.from(name),
      Buffer.from([level, 2, 0, 0, 0, 0]),
    ])
    client.sendBytes(Buffer.concat([Buffer.from([0x10, variable.length]), variable]))
    assert.equal(expectPacket(await client.next(), 'connack').returnCode, 1)
    assert.equal(await client.closed, 0)
  }
})

test('whatever comes before CONNECT closes the connection without an answer', async () => {
  await using cloud = await startCloud()
  await using client = await dial(cloud, { host: cloud.hub.host })
  client.send({ cmd: 'pingreq' })
  assert.equal(await client.closed, 0)
  await refusedFor(cloud, 'the first packet is pingreq')
})

test('a second CONNECT closes the connection', async () => {
  await using cloud = await startWithDevice()
  await using client = await connectDevice(cloud, { deviceId: 'edge-1', credential: cloud.credential })
  client.send({ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 4, clientId: 'edge-1', clean: true, keepalive: 0 })
  assert.equal(await client.closed, 0)
  await disconnectedFor(cloud, 'a second CONNECT')
})

test('a client that is silent for 1.5 times its keep-alive is cut, one that pings is not', async () => {
  const clock = createFakeClock(Date.now())
  await using cloud = await startWithDevice({ clock })
  await using client = await connectDevice(cloud, { deviceId: 'edge-1', credential: cloud.credential, keepalive: 60 })
  await clock.advance(89_000)
  client.send({ cmd: 'pingreq' })
  assert.equal((await client.next()).cmd, 'pingresp')
  await clock.advance(89_000)
  assert.equal(cloud.hub.isConnected('edge-1'), true)
  await clock.advance(2_000)
  assert.equal(await client.closed, 0)
  await disconnectedFor(cloud, 'keep-alive')
})

test('without a keep-alive the server allows 1767 s of silence', async () => {
  const clock = createFakeClock(Date.now())
  await using cloud = await startWithDevice({ clock })
  await using client = await connectDevice(cloud, { deviceId: 'edge-1', credential: cloud.credential, keepalive: 0 })
  await clock.advance(1_766_000)
  assert.equal(cloud.hub.isConnected('edge-1'), true)
  await clock.advance(2_000)
  assert.equal(await client.closed, 0)
})

test('a publish of QoS 2 closes the connection, a subscription of QoS 2 is granted 1', async () => {
  await using cloud = await startWithDevice()
  await using client = await connectDevice(cloud, { deviceId: 'edge-1', credential: cloud.credential })
  assert.deepEqual(await subscribe(client, [TWIN_FILTER], 2), [1])
  client.send(publication('devices/edge-1/messages/events/', '{}', 2))
  assert.equal(await client.closed, 0)
  await disconnectedFor(cloud, 'QoS 2')
  assert.equal(cloud.record.count('telemetry'), 0)
})

test('a filter that does not exist is refused with 0x80, or closes, as the fault says', async () => {
  await using cloud = await startWithDevice()
  await using client = await connectDevice(cloud, { deviceId: 'edge-1', credential: cloud.credential })
  const strange = ['#', '+/+', '$iothub/#', 'devices/edge-2/messages/devicebound/#', 'devices/+/messages/devicebound/#']
  assert.deepEqual(await subscribe(client, [...strange, TWIN_FILTER]), [128, 128, 128, 128, 128, 1])
  cloud.faults.set('unknownTopicFilter', 'close')
  client.send({ cmd: 'subscribe', messageId: 9, subscriptions: [{ topic: '#', qos: 0 }] })
  assert.equal(await client.closed, 0)
  await disconnectedFor(cloud, 'no such topic filter: #')
})

test('a second connection of the same client ends the first, which the record calls 400027', async () => {
  await using cloud = await startWithDevice()
  const { credential } = cloud
  await using first = await connectDevice(cloud, { deviceId: 'edge-1', credential })
  await using second = await connectDevice(cloud, { deviceId: 'edge-1', credential })
  assert.equal(await first.closed, 0)
  await disconnectedFor(cloud, '400027')
  second.send({ cmd: 'pingreq' })
  assert.equal((await second.next()).cmd, 'pingresp')
  assert.equal(cloud.hub.isConnected('edge-1'), true)
})

test('a session with clean=0 is there again with its subscriptions, one with clean=1 is not', async () => {
  await using cloud = await startWithDevice()
  const hello = { deviceId: 'edge-1', credential: cloud.credential, clean: false }
  {
    await using client = await connectDevice(cloud, hello)
    assert.equal(client.connack.sessionPresent, false)
    await subscribe(client, [C2D_FILTER])
  }
  await cloud.record.waitFor((event) => event.kind === 'disconnected')
  cloud.hub.sendToDevice('edge-1', 'while you were out')
  {
    await using client = await connectDevice(cloud, hello)
    assert.equal(client.connack.sessionPresent, true)
    assert.equal((await nextPublish(client)).text, 'while you were out')
  }
  await using client = await connectDevice(cloud, { ...hello, clean: true })
  assert.equal(client.connack.sessionPresent, false)
  client.send({ cmd: 'pingreq' })
  assert.equal((await client.next()).cmd, 'pingresp', 'nothing is delivered without a subscription')
})

test('with the fault dropSessions a kept session is forgotten, and its unacknowledged messages wait again', async () => {
  await using cloud = await startWithDevice()
  const hello = { deviceId: 'edge-1', credential: cloud.credential, clean: false }
  {
    await using client = await connectDevice(cloud, hello)
    await subscribe(client, [C2D_FILTER])
    cloud.hub.sendToDevice('edge-1', 'keep me')
    await nextPublish(client)
  }
  await cloud.record.waitFor((event) => event.kind === 'disconnected')
  cloud.faults.set('dropSessions', 'true')
  await using client = await connectDevice(cloud, hello)
  assert.equal(client.connack.sessionPresent, false)
  await subscribe(client, [C2D_FILTER])
  const again = await nextPublish(client)
  assert.deepEqual([again.text, again.dup], ['keep me', false])
})

test('DPS never keeps a session', async () => {
  await using cloud = await startCloud()
  const host = 'dps.localhost'
  const username = `${cloud.idScope}/registrations/edge-1/api-version=2019-03-31`
  for (let turn = 0; turn < 2; turn += 1) {
    await using client = await dial(cloud, { host })
    const connack = await greet(client, { host, deviceId: 'edge-1', username, clean: false })
    assert.deepEqual([connack.returnCode, connack.sessionPresent], [0, false])
    await subscribe(client, ['$dps/registrations/res/#'])
  }
})

test('a message without PUBACK comes again with DUP and the same identifier', async () => {
  await using cloud = await startWithDevice()
  const hello = { deviceId: 'edge-1', credential: cloud.credential, clean: false }
  let firstId: number | undefined
  {
    await using client = await connectDevice(cloud, hello)
    await subscribe(client, [C2D_FILTER])
    cloud.hub.sendToDevice('edge-1', 'twice')
    const first = await nextPublish(client)
    assert.deepEqual([first.qos, first.dup], [1, false])
    firstId = first.id
  }
  await cloud.record.waitFor((event) => event.kind === 'disconnected')
  await using client = await connectDevice(cloud, hello)
  const again = await nextPublish(client)
  assert.deepEqual([again.text, again.dup, again.id], ['twice', true, firstId])
  client.send({ cmd: 'puback', messageId: again.id ?? 0 })
  client.send({ cmd: 'pingreq' })
  assert.equal((await client.next()).cmd, 'pingresp')
  assert.equal(cloud.hub.queued('edge-1'), 0)
})

test('PUBACK comes before the answer to what was published', async () => {
  await using cloud = await startWithDevice()
  await using client = await connectDevice(cloud, { deviceId: 'edge-1', credential: cloud.credential })
  await subscribe(client, [TWIN_FILTER])
  client.send(publication('$iothub/twin/GET/?$rid=4', '', 1, 9))
  assert.equal(expectPacket(await client.next(), 'puback').messageId, 9)
  assert.match((await nextPublish(client)).topic, /res\/200\/\?\$rid=4$/)
})

test('the will is sent when the connection breaks, not after DISCONNECT', async () => {
  await using cloud = await startWithDevice()
  const will = { topic: 'devices/edge-1/messages/events/', payload: 'gone', qos: 1 } as const
  const hello = { deviceId: 'edge-1', credential: cloud.credential, will }
  {
    await using client = await connectDevice(cloud, hello)
    client.send({ cmd: 'disconnect' })
    assert.equal(await client.closed, 0)
  }
  assert.equal(cloud.record.count('telemetry'), 0)
  const client = await connectDevice(cloud, hello)
  client.drop()
  const event = await cloud.record.waitFor(({ kind }) => kind === 'telemetry')
  assert.ok(event.kind === 'telemetry')
  assert.equal(event.message.body.toString(), 'gone')
  assert.equal(event.message.properties['iothub-MessageType'], 'Will')
})

test('MQTT goes over WebSocket as well, with the client certificate', async () => {
  await using cloud = await startWithDevice()
  const { credential, hub } = cloud
  await using client = await dialWebSocket(cloud, {
    host: hub.host,
    credential,
    path: '/$iothub/websocket?iothub-no-client-cert=true',
  })
  assert.equal((await greet(client, { host: hub.host, deviceId: 'edge-1' })).returnCode, 0)
  client.send(publication('devices/edge-1/messages/events/', '{"over":"ws"}', 1, 3))
  assert.equal((await client.next()).cmd, 'puback')
  const event = await cloud.record.waitFor(({ kind }) => kind === 'connected')
  assert.ok(event.kind === 'connected')
  assert.equal(event.auth, 'x509')
  assert.ok(cloud.received().includes('{"over":"ws"}'))
})

test('WebSocket on another path or without the sub-protocol mqtt is refused', async () => {
  await using cloud = await startCloud()
  await assert.rejects(dialWebSocket(cloud, { host: cloud.hub.host, path: '/mqtt' }), /400/)
  await refusedFor(cloud, 'WebSocket on /mqtt')
  await assert.rejects(dialWebSocket(cloud, { host: cloud.hub.host, protocol: 'amqp' }), /400/)
  await refusedFor(cloud, 'without the sub-protocol mqtt')
})

test('a text frame ends a WebSocket connection', async () => {
  await using cloud = await startWithDevice()
  const { credential, hub } = cloud
  await using client = await dialWebSocket(cloud, { host: hub.host, credential })
  assert.equal((await greet(client, { host: hub.host, deviceId: 'edge-1' })).returnCode, 0)
  client.socket.send('\u00c0\u0000', { binary: false })
  assert.equal(await client.closed, 0)
  await disconnectedFor(cloud, 'binary frames')
})

test('a packet beyond the limit closes the connection by its header alone', async () => {
  await using cloud = await startWithDevice()
  await using client = await connectDevice(cloud, { deviceId: 'edge-1', credential: cloud.credential })
  client.sendBytes(Buffer.from([0x30, 0xff, 0xff, 0xff, 0x7f]))
  assert.equal(await client.closed, 0)
  await disconnectedFor(cloud, 'the limit is')
})

test('the bytes that a client sent can be searched', async () => {
  await using cloud = await startWithDevice()
  await using client = await connectDevice(cloud, { deviceId: 'edge-1', credential: cloud.credential })
  client.send(publication('devices/edge-1/messages/events/', 'needle-4711', 1))
  await client.next()
  assert.equal(cloud.received().includes('needle-4711'), true)
  assert.equal(cloud.received().includes('needle-4712'), false)
})

test('the faults of the connection: refused, never answered, closed, limited', async () => {
  const clock = createFakeClock(Date.now())
  await using cloud = await startWithDevice({ clock })
  const hello = { deviceId: 'edge-1', credential: cloud.credential }
  const dialled = () => dial(cloud, { host: cloud.hub.host, credential: cloud.credential })
  const greeting = { host: cloud.hub.host, deviceId: 'edge-1' }

  cloud.faults.set('connectRefusal', 4)
  {
    await using client = await connectDevice(cloud, hello)
    assert.equal(client.connack.returnCode, 4)
    assert.equal(await client.closed, 0)
  }
  cloud.faults.reset()
  cloud.faults.set('closeAfterHandshake', 'hub')
  {
    await using client = await dialled()
    await assert.rejects(greet(client, greeting), /ended/)
  }
  cloud.faults.set('closeAfterHandshake', 'dps')
  {
    await using client = await connectDevice(cloud, hello)
    assert.equal(client.connack.returnCode, 0)
  }
  cloud.faults.reset()
  cloud.faults.set('connectsPerSecond', 1)
  {
    await using first = await connectDevice(cloud, hello)
    await using second = await connectDevice(cloud, hello)
    assert.deepEqual([first.connack.returnCode, second.connack.returnCode], [0, 3])
    await clock.advance(1_000)
    await using third = await connectDevice(cloud, hello)
    assert.equal(third.connack.returnCode, 0)
  }
  cloud.faults.reset()
  cloud.faults.set('connectSilence', 'hub')
  await using client = await dialled()
  const answer = greet(client, greeting)
  const other = await dialWebSocket(cloud, { host: 'dps.localhost' })
  const username = `${cloud.idScope}/registrations/edge-1/api-version=2019-03-31`
  assert.equal((await greet(other, { host: 'dps.localhost', deviceId: 'edge-1', username })).returnCode, 0)
  other.drop()
  client.drop()
  await assert.rejects(answer, /ended/)
})
