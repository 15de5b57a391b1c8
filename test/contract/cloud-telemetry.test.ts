import assert from 'node:assert/strict'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'

import { jsonOf, shownOf, textOf } from '../cloud/body.ts'
import { createRecord } from '../cloud/record.ts'
import { createTally } from '../cloud/tally.ts'
import { acknowledged, publish, startHub } from './cloud-telemetry-kit.ts'

test('a body is bytes, and text or JSON only when asked for', async () => {
  await using hub = await startHub()
  await using client = await hub.connect()
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, value) => value))
  publish(client, 1, { body: bytes, bag: '$.ct=application%2Foctet-stream' })
  publish(client, 2, { body: '{"plný":1}' })
  publish(client, 3, { body: gzipSync('{"packed":true}'), bag: '$.ct=application%2Fjson&$.ce=gzip' })
  for (const id of [1, 2, 3]) await acknowledged(client, id)
  const [raw, text, packed] = hub.taken()
  assert.ok(raw && text && packed)
  assert.ok(raw.body.equals(bytes))
  assert.throws(() => textOf(raw), TypeError)
  assert.deepEqual(shownOf(raw), { bodyBase64: bytes.toString('base64') })
  assert.equal(textOf(text), '{"plný":1}')
  assert.throws(() => jsonOf({ ...text, body: Buffer.from('{') }), SyntaxError)
  assert.deepEqual(jsonOf(packed), { packed: true })
  assert.notEqual(packed.body.toString(), '{"packed":true}', 'the hub itself unpacks nothing')
})

test('the system properties of a message are told from its application properties', async () => {
  await using hub = await startHub()
  await using client = await hub.connect()
  const bag = [
    '%24.mid=7f%2F1',
    '%24.ct=application%2Fjson',
    '%24.ce=utf-8',
    '%24.sub=thermostat1',
    'iothub-creation-time-utc=2026-11-23T21%3A58%3A57.123Z',
    'iotAgentBatch=20',
    'm%C3%ADsto=Plze%C5%88%3D1%26',
  ].join('&')
  publish(client, 1, { bag })
  await acknowledged(client, 1)
  const [message] = hub.taken()
  assert.deepEqual(message?.properties, { iotAgentBatch: '20', místo: 'Plzeň=1&' })
  const { system } = message
  assert.equal(system['message-id'], '7f/1')
  assert.equal(system['content-type'], 'application/json')
  assert.equal(system['content-encoding'], 'utf-8')
  assert.equal(system['dt-subject'], 'thermostat1')
  assert.equal(system['iothub-creation-time-utc'], '2026-11-23T21:58:57.123Z')
})

test('a message that the hub never takes closes the connection every time, and no other does', async () => {
  await using hub = await startHub()
  hub.faults.set('poisonMessages', 'close')
  for (const again of [1, 2, 3]) {
    const since = hub.record.seq()
    await using client = await hub.connect()
    publish(client, 1, { bag: 'poisonous=1' })
    await acknowledged(client, 1)
    publish(client, 2, { bag: 'a=1&poison=1' })
    assert.equal(await client.closed, 0, 'there is no PUBACK')
    await hub.closedFor(/never takes/, since)
    assert.equal(hub.record.count('telemetry'), again)
  }
  hub.faults.reset()
  await using client = await hub.connect()
  publish(client, 1, { bag: 'poison=1' })
  await acknowledged(client, 1)
})

test('over MQTT a property may have any name, unless the hub is told to be as strict as over HTTPS', async () => {
  await using hub = await startHub()
  await using client = await hub.connect()
  publish(client, 1, { bag: 'a%20b=%C5%A1' })
  await acknowledged(client, 1)
  hub.faults.set('propertyNames', 'token')
  publish(client, 2, { bag: "a!%23$%25%26'*%2B-.^_`|~Z9=v&flag&$.mid=a%20b" })
  await acknowledged(client, 2)
  publish(client, 3, { bag: 'a%20b=v' })
  assert.equal(await client.closed, 0)
  await using again = await hub.connect()
  publish(again, 4, { bag: 'ab=%C5%A1' })
  assert.equal(await again.closed, 0)
})

test('diverted messages are handed on in their order, counted and not kept', () => {
  const record = createRecord(() => 0)
  const message = { deviceId: 'd', body: Buffer.alloc(0), properties: {}, system: {}, enqueuedAt: 0 }
  const heard: number[] = []
  const tally = createTally(1_000_000)
  record.listen(({ seq }) => heard.push(seq))
  const stop = record.divert((_, seq) => tally.add(seq - 1))
  for (let count = 0; count < 1_000_000; count += 1) record.add({ kind: 'telemetry', host: 'h', message })
  assert.deepEqual([tally.distinct, tally.arrivals, tally.late], [1_000_000, 1_000_000, 0])
  assert.equal(record.count('telemetry'), 1_000_000)
  record.add({ kind: 'refused', host: 'h', clientId: 'd', reason: 'as ever' })
  stop()
  record.add({ kind: 'telemetry', host: 'h', message })
  assert.deepEqual(heard, [1_000_001, 1_000_002])
  assert.deepEqual(
    record.events().map(({ seq }) => seq),
    [1_000_001, 1_000_002],
  )
  record.addReceived(Buffer.from('some bytes'))
  record.forget()
  assert.deepEqual([record.events(), record.received().length], [[], 0])
  assert.deepEqual([record.seq(), record.count('telemetry'), record.receivedBytes()], [1_000_002, 1_000_001, 10])
})

test('a tally tells what is missing, what came twice, and what came late', () => {
  const tally = createTally(20)
  for (const number of [0, 1, 2, 2, 5, 4, 5, 19]) tally.add(number)
  assert.deepEqual([tally.arrivals, tally.distinct, tally.late], [8, 6, 1])
  assert.deepEqual(tally.missing(0, 8), [3, 6, 7])
  assert.deepEqual(tally.missing(0, 20, 2), [3, 6])
  assert.deepEqual(tally.missing(19, 20), [])
  for (const wrong of [20, -1, 0.5]) assert.throws(() => tally.add(wrong), RangeError)
})
