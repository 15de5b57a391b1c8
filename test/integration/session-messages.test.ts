/** What a message carries, over a real connection. */
import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import * as fc from 'fast-check'
import type { OutgoingMessage, Session } from '../../agent/hub/session.ts'
import { failureOf, startBench } from './session-device.ts'
import type { Bench, Device } from './session-device.ts'

let bench: Bench
let device: Device

before(async () => {
  bench = await startBench()
  device = await bench.device('edge-1')
  await device.register()
})
after(() => bench[Symbol.asyncDispose]())
afterEach(() => bench.deserted())

const message = (more: Partial<OutgoingMessage> = {}): OutgoingMessage => ({
  body: '{"temperature":21.5}',
  messageId: 'm-1',
  contentType: 'application/json',
  contentEncoding: 'utf-8',
  ...more,
})

/** Sends the message, and returns it as the hub shows it to the cloud. */
async function delivered(session: Session, outgoing: OutgoingMessage) {
  const { record } = bench.cloud
  const arrival = record.waitFor(({ kind }) => kind === 'telemetry', { since: record.seq() })
  await session.send(outgoing)
  const event = await arrival
  assert.ok(event.kind === 'telemetry')
  return event.message
}

test('names and values of properties arrive as they are, whatever is in them', async () => {
  await using session = await device.open()
  const properties = {
    'a&b=c': '&&==',
    'percent%20': '100 % / %2F',
    'slash/plus+hash#': '/+#?',
    'größe 𝄞': '日本語 \u202e"quotes" \\ $\'',
    empty: '',
    line: 'a\nb\u0000c',
    Authorization: 'none',
    $body: 'x',
  }
  const got = await delivered(session, message({ messageId: 'a/b&c=%ü', properties }))
  assert.deepEqual({ ...got.properties }, properties)
  assert.equal(got.system['message-id'], 'a/b&c=%ü')
})

test('any name and any value of a property arrives as it is', async () => {
  await using session = await device.open()
  const name = fc
    .string({ unit: 'binary', minLength: 1, maxLength: 40 })
    .filter((word) => !/^(\$\.|iothub-|dt-subject$)/i.test(word))
  const bag = fc.dictionary(name, fc.string({ unit: 'binary', maxLength: 40 }), { maxKeys: 8 })
  await fc.assert(
    fc.asyncProperty(bag, async (properties) => {
      const got = await delivered(session, message({ properties }))
      assert.deepEqual(new Map(Object.entries(got.properties)), new Map(Object.entries(properties)))
    }),
    { numRuns: 60 },
  )
})

test('the component of a message arrives as its subject, beside properties of any type of content', async () => {
  await using session = await device.open()
  const got = await delivered(
    session,
    message({ component: 'pump1', contentType: 'text/csv; header=present', contentEncoding: 'gzip' }),
  )
  assert.equal(got.system['dt-subject'], 'pump1')
  assert.equal(got.system['content-type'], 'text/csv; header=present')
  assert.equal(got.system['content-encoding'], 'gzip')
  assert.deepEqual({ ...got.properties }, {})
})

test('a message without an encoding arrives without one', async () => {
  await using session = await device.open()
  const got = await delivered(session, { body: 'x', messageId: 'm', contentType: 'image/png' })
  assert.ok(!('content-encoding' in got.system))
})

test('bytes arrive as they are: none, all values, and as many as the hub takes', async () => {
  await using session = await device.open()
  const every = Uint8Array.from({ length: 256 }, (_, at) => at)
  const most = new Uint8Array(255 * 1024).fill(0xe9)
  for (const body of [new Uint8Array(), every, every.subarray(100, 200), most]) {
    const got = await delivered(session, message({ body }))
    assert.deepEqual(got.body, Buffer.from(body))
  }
})

test('the longest properties that are let through arrive, and longer ones harm nobody', async () => {
  await using session = await device.open()
  const properties = { a: '%'.repeat(21_600) }
  assert.deepEqual({ ...(await delivered(session, message({ properties }))).properties }, properties)
  const failure = await failureOf(session.send(message({ properties: { a: '%'.repeat(21_700) } })))
  assert.equal(failure.code, 'MESSAGE_REFUSED')
  await session.send(message({ messageId: 'after' }))
})
test('no body is made into JSON on its way, neither before it is sent nor when it is acknowledged', async (t) => {
  await using session = await device.open()
  const expanded = t.mock.method(Buffer.prototype, 'toJSON')
  const written = t.mock.method(JSON, 'stringify')
  await session.send(message({ body: new Uint8Array(1000).fill(0x41) }))
  await session.send(message({ body: 'A'.repeat(1000) }))
  assert.equal(expanded.mock.callCount(), 0)
  assert.deepEqual(
    written.mock.calls.filter(({ result }) => result?.includes('AAAA')),
    [],
  )
})
