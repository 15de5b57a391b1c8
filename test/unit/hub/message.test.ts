import assert from 'node:assert/strict'
import { test } from 'node:test'
import { toSdkMessage } from '../../../agent/hub/message.ts'
import type { OutgoingMessage } from '../../../agent/hub/message.ts'
import { Failure } from '../../../agent/failure.ts'

const LIMIT = 256 * 1024

const message = (more: Partial<OutgoingMessage> = {}): OutgoingMessage => ({
  body: '{}',
  messageId: 'm-1',
  contentType: 'application/json',
  contentEncoding: 'utf-8',
  ...more,
})

function refusalOf(outgoing: OutgoingMessage): Failure {
  try {
    toSdkMessage(outgoing)
  } catch (error) {
    assert.ok(error instanceof Failure)
    assert.equal(error.code, 'MESSAGE_REFUSED')
    assert.equal(error.context.messageId, outgoing.messageId)
    return error
  }
  return assert.fail('it was not refused')
}

test('bytes stay the bytes that they are, without a copy, also when they are a part of more', () => {
  const whole = Uint8Array.from([9, 0, 255, 9])
  const sdk = toSdkMessage(message({ body: whole.subarray(1, 3) })).data as unknown
  assert.ok(Buffer.isBuffer(sdk))
  assert.deepEqual([...sdk], [0, 255])
  assert.equal(sdk.buffer, whole.buffer)
})

test('what the SDK makes of a message for a debug line is its ID, whatever its body is', () => {
  for (const body of [new Uint8Array(200_000), 'x'.repeat(200_000)]) {
    assert.equal(JSON.stringify(toSdkMessage(message({ body }))), '{"messageId":"m-1"}')
  }
})

test('a message may have 256 KiB with everything that is said about it, and not a byte more', () => {
  // Names and values of the ID (10 + 3), the type (12 + 16), the encoding (16 + 5) and one property (1 + 2).
  const room = LIMIT - 13 - 28 - 21 - 3
  for (const body of ['x'.repeat(room), new Uint8Array(room), 'ü'.repeat(Math.floor(room / 2))]) {
    toSdkMessage(message({ body, properties: { a: 'ü' } }))
  }
  for (const body of ['x'.repeat(room + 1), new Uint8Array(room + 1), 'ü'.repeat(Math.ceil((room + 1) / 2))]) {
    assert.ok(Number(refusalOf(message({ body, properties: { a: 'ü' } })).context.bytes) > LIMIT)
  }
})

test('component and creation time count towards the size', () => {
  const room = LIMIT - 13 - 28 - 21
  const body = 'x'.repeat(room - 10 - 4)
  toSdkMessage(message({ body, component: 'pump' }))
  refusalOf(message({ body, component: 'pumps' }))
  refusalOf(message({ body, component: 'pump', creationTimeMs: 0 }))
})

test('properties that are too long for a topic once they are encoded are refused: the connection would not survive them', () => {
  toSdkMessage(message({ properties: { a: '%'.repeat(21_000) } }))
  const failure = refusalOf(message({ properties: { a: '%'.repeat(22_000) } }))
  assert.ok(Number(failure.context.bytes) > 65_000)
})

test('names that would tell the hub something instead of a receiver are refused', () => {
  for (const name of ['', '$.mid', '$.sub', 'dt-subject', 'iothub-to', 'iothub-creation-time-utc', 'IoTHub-x']) {
    assert.match(refusalOf(message({ properties: { [name]: 'x' } })).message, /cannot be the name of a property/)
  }
})

test('names that are headers of HTTP are properties like any other', () => {
  const { properties } = toSdkMessage(message({ properties: { Authorization: 'a', $body: 'b' } }))
  assert.equal(properties.getValue('Authorization'), 'a')
  assert.equal(properties.getValue('$body'), 'b')
})

test('half a character is refused wherever it stands, since nothing can encode it', () => {
  const half = '\ud83d'
  const wrong: Partial<OutgoingMessage>[] = [
    { properties: { a: half } },
    { properties: { [half]: 'a' } },
    { messageId: half },
    { component: half },
    { contentType: half },
    { contentEncoding: half },
  ]
  for (const more of wrong) refusalOf(message(more))
})

test('a creation time that is no time is refused', () => {
  for (const creationTimeMs of [NaN, Infinity, 8.64e15 + 1]) refusalOf(message({ creationTimeMs }))
})
