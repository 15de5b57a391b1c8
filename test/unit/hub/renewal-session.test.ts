import assert from 'node:assert/strict'
import { createSecretKey, randomBytes } from 'node:crypto'
import { test } from 'node:test'
import type { TLSSocket } from 'node:tls'
import mqttPacket from 'mqtt-packet'
import type { Packet } from 'mqtt-packet'
import { asFailure, Failure } from '../../../agent/failure.ts'
import { openSession } from '../../../agent/hub/session.ts'
import { createFakeClock } from '../../kit/clock.ts'
import { listenTls, makePki } from '../wire/tls-server.ts'

const RENEWAL_MS = 45 * 60_000

/** A hub that answers a twin read when it is told to, and acknowledges nothing. */
function createSlowHub() {
  const packets: Packet[] = []
  const asked = Promise.withResolvers<void>()
  const answer = Promise.withResolvers<void>()
  const visit = (socket: TLSSocket) => {
    const parser = mqttPacket.parser()
    const say = (packet: Packet) => socket.write(mqttPacket.generate(packet))
    socket.on('data', (bytes) => parser.parse(bytes))
    parser.on('packet', (packet) => {
      packets.push(packet)
      if (packet.cmd === 'connect') say({ cmd: 'connack', returnCode: 0, sessionPresent: false })
      if (packet.cmd === 'subscribe') {
        say({ cmd: 'suback', messageId: packet.messageId ?? 0, granted: packet.subscriptions.map(() => 0) })
      }
      if (packet.cmd !== 'publish' || !packet.topic.startsWith('$iothub/twin/GET/')) return
      asked.resolve()
      const rid = new URL(`x:${packet.topic}`).searchParams.get('$rid') ?? ''
      const payload = JSON.stringify({ desired: { $version: 7 }, reported: { $version: 1 } })
      const topic = `$iothub/twin/res/200/?$rid=${rid}`
      answer.promise
        .then(() => say({ cmd: 'publish', topic, payload, qos: 0, dup: false, retain: false }))
        .catch((error: unknown) => socket.destroy(asFailure(error)))
    })
  }
  return { packets, asked: asked.promise, answer: answer.resolve, visit }
}

test('a twin read in flight at the renewal is answered; what is asked for later fails with the end and is never sent', async () => {
  await using pki = await makePki()
  const hub = createSlowHub()
  await using listening = await listenTls(await pki.server('hub.localhost'), {}, hub.visit)
  const clock = createFakeClock()
  await using session = await openSession({
    host: `hub.localhost:${listening.port}`,
    deviceId: 'edge-1',
    credential: { lane: 'sas', key: createSecretKey(randomBytes(32)) },
    ca: pki.servers.certificatePem,
    keepAliveSeconds: 30,
    clock,
    random: () => 0,
    productInfo: 'test',
  })
  await clock.advance(RENEWAL_MS - 1)
  const reading = session.readTwin()
  await hub.asked
  await clock.advance(1)
  const outcomes = [
    session.send({ messageId: 'late', body: '{}', contentType: 'application/json', contentEncoding: 'utf-8' }),
    session.report({ late: true }),
    session.readTwin(),
  ].map((work) => work.then(() => 'done', asFailure))
  hub.answer()
  assert.equal((await reading).desired.$version, 7)
  const end = await session.ended
  assert.equal(end.code, 'SESSION_RENEWED')
  for (const outcome of await Promise.all(outcomes)) assert.equal(outcome instanceof Failure && outcome, end)
  assert.equal(hub.packets.filter(({ cmd }) => cmd === 'publish').length, 1)
  assert.equal(hub.packets.at(-1)?.cmd, 'disconnect')
})

test('a session that is closed before its renewal ends as closed, and leaves no timer', async () => {
  await using pki = await makePki()
  await using listening = await listenTls(await pki.server('hub.localhost'), {}, createSlowHub().visit)
  const clock = createFakeClock()
  const session = await openSession({
    host: `hub.localhost:${listening.port}`,
    deviceId: 'edge-1',
    credential: { lane: 'sas', key: createSecretKey(randomBytes(32)) },
    ca: pki.servers.certificatePem,
    keepAliveSeconds: 30,
    clock,
    productInfo: 'test',
  })
  assert.equal(clock.pending().length, 1)
  await session[Symbol.asyncDispose]()
  assert.equal((await session.ended).code, 'SESSION_CLOSED')
  await clock.advance(0)
  assert.deepEqual(clock.pending(), [])
})
