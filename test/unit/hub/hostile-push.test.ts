/** What no hub sends: pushes that the stand-in, which keeps the limits of a twin, cannot be made to send either. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { TLSSocket } from 'node:tls'
import mqttPacket from 'mqtt-packet'
import type { TwinDocument } from '../../../agent/hub/session.ts'
import { openSession } from '../../../agent/hub/session.ts'
import { systemClock } from '../../../agent/system/clock.ts'
import { listenTls, makePki } from '../wire/tls-server.ts'
import type { DevicePair, Pair, Pki } from '../wire/tls-server.ts'

let pki: Pki
let server: Pair
let credential: DevicePair

before(async () => {
  pki = await makePki()
  server = await pki.server('hub.localhost')
  credential = await pki.device('edge-1')
})
after(() => pki[Symbol.asyncDispose]())

/** A hub whose twin has version 4 when it is read first; it pushes this then, and has version 6 afterwards. */
const hubThatPushes = (push: string) => (socket: TLSSocket) => {
  const parser = mqttPacket.parser()
  const say = (topic: string, payload: string) =>
    socket.write(mqttPacket.generate({ cmd: 'publish', topic, payload, qos: 0, dup: false, retain: false }))
  let desired: TwinDocument = { $version: 4 }
  socket.on('data', (bytes) => parser.parse(bytes))
  parser.on('packet', (packet) => {
    if (packet.cmd === 'connect') {
      socket.write(mqttPacket.generate({ cmd: 'connack', returnCode: 0, sessionPresent: false }))
    }
    if (packet.cmd === 'subscribe') {
      const granted = packet.subscriptions.map(() => 0)
      socket.write(mqttPacket.generate({ cmd: 'suback', messageId: packet.messageId ?? 0, granted }))
    }
    if (packet.cmd !== 'publish') return
    const rid = new URL(`x:${packet.topic}`).searchParams.get('$rid') ?? ''
    say(`$iothub/twin/res/200/?$rid=${rid}`, JSON.stringify({ desired, reported: { $version: 1 } }))
    if (desired.$version === 4) say('$iothub/twin/PATCH/properties/desired/?$version=5', push)
    desired = { $version: 6, whole: true }
  })
}

for (const [what, push] of Object.entries({
  'objects in objects, thousands of levels deep': `{"$version":5,"x":${'{"a":'.repeat(20_000)}1${'}'.repeat(20_000)}}`,
  'lists in lists, thousands of levels deep': `{"$version":5,"x":${'['.repeat(20_000)}${']'.repeat(20_000)}}`,
  'an impossible version': `{"$version":${Number.MAX_SAFE_INTEGER}}`,
  'no JSON': '\u0000{',
})) {
  test(`a push of ${what} makes the device read its twin again`, async (t) => {
    const listening = await listenTls(server, {}, hubThatPushes(push))
    t.after(() => listening[Symbol.asyncDispose]())
    const seen = Promise.withResolvers<TwinDocument>()
    await using session = await openSession({
      host: `hub.localhost:${listening.port}`,
      deviceId: 'edge-1',
      credential,
      ca: pki.servers.certificatePem,
      keepAliveSeconds: 30,
      clock: systemClock,
      productInfo: 'test',
      random: () => 0,
      onDesired: seen.resolve,
    })
    assert.equal((await session.readTwin()).desired.$version, 4)
    assert.deepEqual(await seen.promise, { $version: 6, whole: true })
  })
}
