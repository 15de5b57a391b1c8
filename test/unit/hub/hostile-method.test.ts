/** Calls that no hub makes, and hubs that do not listen: the stand-in cannot be made to do either. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, before, test } from 'node:test'
import type { TestContext } from 'node:test'
import type { TLSSocket } from 'node:tls'
import mqttPacket from 'mqtt-packet'
import type { IPublishPacket } from 'mqtt-packet'
import { openSession } from '../../../agent/hub/session.ts'
import type { AnswerMethod, Session } from '../../../agent/hub/session.ts'
import type { Failure } from '../../../agent/failure.ts'
import { systemClock } from '../../../agent/system/clock.ts'
import { listenTls, makePki } from '../wire/tls-server.ts'
import type { Pair, Pki } from '../wire/tls-server.ts'

let pki: Pki
let server: Pair
let certificate: Pair

before(async () => {
  pki = await makePki()
  server = await pki.server('hub.localhost')
  certificate = await pki.device('edge-1')
})
after(() => pki[Symbol.asyncDispose]())

interface RawHub {
  readonly session: Session
  readonly socket: TLSSocket
  readonly troubles: readonly Failure[]
  call(topic: string, payload: string | Buffer): void
  /** The next answer of the device: status, request and body. */
  answer(): Promise<readonly [status: string, rid: string, body: Readonly<Record<string, unknown>>]>
  /** Answers that have come and were not asked for. */
  readonly waiting: () => number
}

/** A session with a hub that can say anything; `granted` is what it says to a subscription. */
async function openRaw(t: TestContext, granted = 0): Promise<RawHub> {
  const answers: IPublishPacket[] = []
  const sockets: TLSSocket[] = []
  let heard = Promise.withResolvers<void>()
  const listening = await listenTls(server, {}, (socket) => {
    sockets.push(socket)
    const parser = mqttPacket.parser()
    socket.on('data', (bytes) => parser.parse(bytes))
    parser.on('packet', (packet) => {
      if (packet.cmd === 'connect')
        socket.write(mqttPacket.generate({ cmd: 'connack', returnCode: 0, sessionPresent: false }))
      if (packet.cmd === 'subscribe') {
        const grants = packet.subscriptions.map(() => granted)
        socket.write(mqttPacket.generate({ cmd: 'suback', messageId: packet.messageId ?? 0, granted: grants }))
      }
      if (packet.cmd !== 'publish') return
      answers.push(packet)
      heard.resolve()
      heard = Promise.withResolvers()
    })
  })
  t.after(() => listening[Symbol.asyncDispose]())
  const troubles: Failure[] = []
  const session = await openSession({
    host: `hub.localhost:${listening.port}`,
    deviceId: 'edge-1',
    credential: { lane: 'x509', ...certificate },
    ca: pki.servers.certificatePem,
    keepAliveSeconds: 30,
    clock: systemClock,
    productInfo: 'test',
    random: () => 0,
    onTrouble: (failure) => troubles.push(failure),
  })
  t.after(() => session[Symbol.asyncDispose]())
  const [socket] = sockets
  assert.ok(socket)
  return {
    session,
    socket,
    troubles,
    waiting: () => answers.length,
    call(topic, payload) {
      socket.write(mqttPacket.generate({ cmd: 'publish', topic, payload, qos: 0, dup: false, retain: false }))
    },
    async answer() {
      while (answers.length === 0) await heard.promise
      const packet = answers.shift()
      assert.ok(packet)
      const [, status = '', rid = ''] = /^\$iothub\/methods\/res\/(\d+)\/\?\$rid=(.+)$/.exec(packet.topic) ?? []
      return [status, rid, JSON.parse(packet.payload.toString()) as Record<string, unknown>]
    },
  }
}

const echo: AnswerMethod = ({ name }) => Promise.resolve({ status: 200, body: { name } })

const never: AnswerMethod = () => new Promise(() => undefined)

const topicOf = (name: string, rid: number | string) => `$iothub/methods/POST/${name}/?$rid=${rid}`

for (const [what, topic, payload, code] of [
  ['no JSON', topicOf('ping', 1), '\u0000{', 'METHOD_INVALID'],
  ['bytes that are no text', topicOf('ping', 1), Buffer.from([0xff, 0xfe, 0x22]), 'METHOD_INVALID'],
  [
    'objects thousands of levels deep',
    topicOf('ping', 1),
    '{"a":'.repeat(20_000) + '1' + '}'.repeat(20_000),
    'METHOD_INVALID',
  ],
  ['lists thousands of levels deep', topicOf('ping', 1), '['.repeat(20_000) + ']'.repeat(20_000), 'METHOD_INVALID'],
  ['one byte more than 128 KB', topicOf('ping', 1), `"${'x'.repeat(128 * 1024 - 1)}"`, 'METHOD_INVALID'],
  ['a name that is no percent-encoding', topicOf('%E0%A4', 1), '{}', 'METHOD_INVALID'],
  ['a name without end', topicOf('x'.repeat(60_000), 1), '{}', 'METHOD_INVALID'],
] as const) {
  test(`a call with ${what} is answered 400, and the next one as if nothing had been`, async (t) => {
    const hub = await openRaw(t)
    await hub.session.serveMethods(echo)
    hub.call(topic, payload)
    const [status, rid, body] = await hub.answer()
    assert.deepEqual([status, rid, body.code], ['400', '1', code])
    assert.deepEqual(Object.keys(body), ['code', 'message', 'advice'])
    hub.call(topicOf('ping', 2), '{}')
    assert.deepEqual(await hub.answer(), ['200', '2', { name: 'ping' }])
  })
}

test('exactly 128 KB are taken', async (t) => {
  const hub = await openRaw(t)
  await hub.session.serveMethods(({ payload }) =>
    Promise.resolve({ status: 200, body: { length: JSON.stringify(payload).length } }),
  )
  hub.call(topicOf('ping', 1), `"${'x'.repeat(128 * 1024 - 2)}"`)
  assert.deepEqual(await hub.answer(), ['200', '1', { length: 128 * 1024 }])
})

test('calls that cannot be answered are passed over', async (t) => {
  const hub = await openRaw(t)
  await hub.session.serveMethods(echo)
  for (const rid of ['#', 'a+b', 'a\u0001']) hub.call(topicOf('ping', rid), '{}')
  hub.call('$iothub/methods/POST/ping', '{}')
  hub.call('$iothub/methods/POST/', '{}')
  hub.call('$iothub/methods/res/200/?$rid=1', '{}')
  hub.call(topicOf('ping', 'last'), '{}')
  assert.deepEqual(await hub.answer(), ['200', 'last', { name: 'ping' }])
})

test('a call that comes before anybody has said what to answer waits for that', async (t) => {
  const hub = await openRaw(t)
  hub.call(topicOf('early', 1), '')
  await hub.session.serveMethods(echo)
  assert.deepEqual(await hub.answer(), ['200', '1', { name: 'early' }])
})

test('a subscription that the hub refuses is HUB_REFUSED_TOPIC', async (t) => {
  const hub = await openRaw(t, 0x80)
  await assert.rejects(hub.session.serveMethods(echo), { code: 'HUB_REFUSED_TOPIC' })
})

test('of many calls at once four are worked on, and the others are turned away at once', async (t) => {
  const hub = await openRaw(t)
  let begun = 0
  const gate = Promise.withResolvers<void>()
  await hub.session.serveMethods(async () => {
    begun += 1
    await gate.promise
    return { status: 200, body: {} }
  })
  for (let rid = 1; rid <= 6; rid += 1) hub.call(topicOf('slow', rid), '{}')
  for (const expected of ['5', '6']) {
    const [status, rid, body] = await hub.answer()
    assert.deepEqual([status, rid, body.code], ['429', expected, 'METHOD_TOO_OFTEN'])
  }
  assert.equal(begun, 4)
  gate.resolve()
  for (const expected of ['1', '2', '3', '4']) assert.deepEqual((await hub.answer()).slice(0, 2), ['200', expected])
  hub.call(topicOf('slow', 7), '{}')
  assert.deepEqual((await hub.answer()).slice(0, 2), ['200', '7'])
})

test('a hub that floods and reads nothing makes the device keep nothing, and it answers again afterwards', async (t) => {
  const hub = await openRaw(t)
  let begun = 0
  const gate = Promise.withResolvers<void>()
  await hub.session.serveMethods(async () => {
    begun += 1
    await gate.promise
    return { status: 200, body: {} }
  })
  hub.socket.pause()
  const flood = Buffer.concat(
    Array.from({ length: 1_000 }, (_, at) =>
      mqttPacket.generate({
        cmd: 'publish',
        topic: topicOf('slow', `${at}-${'x'.repeat(80)}`),
        payload: '{}',
        qos: 0,
        dup: false,
        retain: false,
      }),
    ),
  )
  for (let round = 0; round < 100; round += 1) if (!hub.socket.write(flood)) await once(hub.socket, 'drain')
  hub.socket.resume()
  gate.resolve()
  let turnedAway = 0
  for (let answered = 0; answered < 4;) {
    const [status] = await hub.answer()
    if (status === '200') answered += 1
    else turnedAway += 1
  }
  assert.ok(begun <= 8, `${begun} were begun`)
  // As many as the buffers of the kernel take, a few thousand; the others never were.
  assert.ok(turnedAway > 0 && turnedAway < 50_000, `${turnedAway} were turned away`)
  hub.call(topicOf('slow', 'last'), '{}')
  for (let [, rid] = await hub.answer(); rid !== 'last';) [, rid] = await hub.answer()
})

test('answers that fail, are no JSON or too large are 500 without the reason, which the agent is told', async (t) => {
  const hub = await openRaw(t)
  const circular: Record<string, unknown> = {}
  circular['self'] = circular
  const answers: Readonly<Record<string, AnswerMethod>> = {
    rejects: () => Promise.reject(new TypeError('secret words')),
    throws() {
      throw new TypeError('secret words')
    },
    circular: () => Promise.resolve({ status: 200, body: circular }),
    large: () => Promise.resolve({ status: 200, body: 'x'.repeat(128 * 1024 - 1) }),
    nothing: () => Promise.resolve({ status: 200, body: undefined }),
  }
  await hub.session.serveMethods((call) => (answers[call.name] ?? never)(call))
  for (const [at, name] of Object.keys(answers).entries()) {
    hub.call(topicOf(name, name), '{}')
    const [status, rid, body] = await hub.answer()
    assert.deepEqual([status, rid, body.code], ['500', name, 'UNEXPECTED'])
    assert.doesNotMatch(JSON.stringify(body), /secret/)
    assert.equal(hub.troubles.length, at + 1)
  }
})
