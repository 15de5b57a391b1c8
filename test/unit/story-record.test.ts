/** The judge of the transition story: it must notice what it is there for. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isComplete, judgeDelivery, mostSessions, stampOf } from '../../scripts/story/judge-record.ts'
import type { RecordedEvent } from '../cloud/record.ts'

const HOST = 'hub-1.localhost'
const ID = 'press-07'
const BEGAN_MS = Date.parse('2026-11-01T00:00:00.000Z')

/** A message of a sample that was taken so many seconds after the beginning. */
function message(atSeconds: number, id = `sample-${atSeconds}`): RecordedEvent {
  const timestamp = new Date(BEGAN_MS + atSeconds * 1000).toISOString()
  const body = Buffer.from(JSON.stringify({ deviceId: ID, timestamp }))
  const system = { 'message-id': id, 'iothub-connection-auth-method': '{"scope":"device","type":"sas"}' }
  const telemetry = { deviceId: ID, body, properties: {}, system, enqueuedAt: BEGAN_MS }
  return { kind: 'telemetry', host: HOST, message: telemetry, seq: 1, at: BEGAN_MS }
}

function connected(clientId = ID, host = HOST): RecordedEvent {
  return { kind: 'connected', host, clientId, auth: 'sas', thumbprint: '', seq: 1, at: BEGAN_MS }
}

function disconnected(clientId = ID, reason = 'the client said DISCONNECT'): RecordedEvent {
  return { kind: 'disconnected', host: HOST, clientId, reason, seq: 1, at: BEGAN_MS }
}

test('samples a second apart are complete, also when one of them came twice', () => {
  const delivery = judgeDelivery([message(0), message(1), message(2), message(1), message(3.2)], [])
  assert.deepEqual(delivery, { samples: 4, longestGapMs: 1200, inOrder: true })
  assert.equal(isComplete(delivery), true)
})

test('a sample that is missing is noticed', () => {
  assert.equal(isComplete(judgeDelivery([message(0), message(1), message(3)], [])), false)
})

test('a sample that came for the first time after a younger one is noticed', () => {
  const delivery = judgeDelivery([message(0), message(2), message(1), message(3)], [])
  assert.equal(delivery.inOrder, false)
  assert.equal(isComplete(delivery), false)
})

test('a gap is none while there was no power, and only there', () => {
  const events = [message(0), message(1), message(9), message(10)]
  assert.equal(isComplete(judgeDelivery(events, [BEGAN_MS + 5_000])), true)
  assert.equal(isComplete(judgeDelivery(events, [BEGAN_MS + 10_000])), false)
})

test('no sample at all is not complete', () => {
  assert.equal(isComplete(judgeDelivery([], [])), false)
  assert.equal(isComplete(judgeDelivery([message(0)], [])), false)
})

test('two sessions of one device at a time are noticed; of another device or host they are none', () => {
  assert.equal(mostSessions([connected(), disconnected(), connected(), disconnected()], HOST, ID), 1)
  assert.equal(mostSessions([connected(), connected(), disconnected()], HOST, ID), 2)
  const others = [connected(), connected('press-08'), connected(ID, 'dps.localhost'), disconnected('press-08')]
  assert.equal(mostSessions(others, HOST, ID), 1)
})

test('a session that a newer one has ended counts beside it', () => {
  const takenOver = disconnected(ID, '400027: a newer connection of the same client took over')
  assert.equal(mostSessions([connected(), takenOver, connected(), disconnected()], HOST, ID), 2)
})

test('the stamp of the hub is what counts, and a message without one has none', () => {
  const event = message(0)
  assert.ok(event.kind === 'telemetry')
  assert.equal(stampOf(event.message), 'sas')
  assert.equal(stampOf({ ...event.message, system: {} }), 'none')
})
