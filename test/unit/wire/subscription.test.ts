import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { after, before, test } from 'node:test'
import type { TestContext } from 'node:test'
import type { TLSSocket } from 'node:tls'
import type { MqttClient } from 'mqtt'
import mqttPacket from 'mqtt-packet'
import type { Failure } from '../../../agent/failure.ts'
import { openSession } from '../../../agent/hub/session.ts'
import { register } from '../../../agent/provision/dps.ts'
import { systemClock } from '../../../agent/system/clock.ts'
import { GuardedBase } from '../../../agent/wire/guarded-base.ts'
import { listenTls, makePki } from './tls-server.ts'
import type { DevicePair, Pair, Pki } from './tls-server.ts'

let pki: Pki
let server: Pair
let credential: DevicePair

before(async () => {
  pki = await makePki()
  server = await pki.server('broker.localhost')
  credential = await pki.device('edge-1')
})
after(() => pki[Symbol.asyncDispose]())

/** Accepts every CONNECT and answers every SUBSCRIBE with this code for each topic; undefined never answers. */
const brokerThatGrants = (code: number | undefined) => (socket: TLSSocket) => {
  const parser = mqttPacket.parser()
  socket.on('data', (bytes) => parser.parse(bytes))
  parser.on('packet', (packet) => {
    if (packet.cmd === 'connect') {
      socket.write(mqttPacket.generate({ cmd: 'connack', returnCode: 0, sessionPresent: false }))
    }
    if (packet.cmd === 'subscribe' && code !== undefined) {
      const granted = packet.subscriptions.map(() => code)
      socket.write(mqttPacket.generate({ cmd: 'suback', messageId: packet.messageId ?? 0, granted }))
    }
  })
}

async function against(context: TestContext, code: number | undefined) {
  const listening = await listenTls(server, {}, brokerThatGrants(code))
  context.after(() => listening[Symbol.asyncDispose]())
  const host = `broker.localhost:${listening.port}`
  return { host, credential, ca: pki.servers.certificatePem, clock: systemClock }
}

const codeOf = (work: Promise<unknown>) =>
  work.then(
    () => 'done',
    (error: Failure) => error.code,
  )

const registration = { idScope: '0ne00000001', registrationId: 'edge-1', deadlineMs: 500 }

test('a hub that refuses the topics of the twin is HUB_REFUSED_TOPIC, and the session lives on', async (t) => {
  const options = await against(t, 0x80)
  await using session = await openSession({ ...options, deviceId: 'edge-1', keepAliveSeconds: 30, productInfo: 'test' })
  assert.equal(await codeOf(session.readTwin()), 'HUB_REFUSED_TOPIC')
  assert.equal(await codeOf(session.readTwin()), 'HUB_REFUSED_TOPIC')
})

test('a DPS that refuses the topic of its answers is DPS_REFUSED_TOPIC', async (t) => {
  assert.equal(await codeOf(register({ ...(await against(t, 0x80)), ...registration })), 'DPS_REFUSED_TOPIC')
})

test('a DPS that never answers the subscription is DPS_NO_ANSWER within the deadline', async (t) => {
  assert.equal(await codeOf(register({ ...(await against(t, undefined)), ...registration })), 'DPS_NO_ANSWER')
})

test('the base connects once: what the SDK still has pending after the end does not come back', async () => {
  let connections = 0
  const base = new GuardedBase({
    connect() {
      connections += 1
      return new EventEmitter() as MqttClient
    },
    receive: (delivery) => delivery,
    send: (_topic, payload) => payload,
    refuse: (topic) => new Error(topic),
  })
  const config = { uri: 'mqtts://x', clientId: 'x', username: 'x', x509: { cert: 'x', key: 'x' } }
  base.connect(config, () => undefined)
  const refused = await new Promise((resolve) => base.connect(config, resolve))
  assert.ok(refused instanceof Error)
  assert.equal(connections, 1)
})
