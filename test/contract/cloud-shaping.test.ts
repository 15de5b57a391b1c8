/** How a hub says that it is too much: azure-protocols.md 4.2 and 4.5. */
import assert from 'node:assert/strict'
import { test } from 'node:test'

import { createFakeClock } from '../kit/clock.ts'
import { publication } from './cloud-client.ts'
import { acknowledged, publish, startHub } from './cloud-telemetry-kit.ts'

/** 23:59:00 UTC of tomorrow: certificates are good from now on. */
const LATE_EVENING = Math.floor(Date.now() / 86_400_000 + 2) * 86_400_000 - 60_000

async function startSlow() {
  const clock = createFakeClock(Date.now())
  const hub = await startHub({ clock })
  return Object.assign(hub, { clock })
}

test('beyond its rate the hub holds PUBACKs back, one queue for all of its devices', async () => {
  await using hub = await startSlow()
  await using client = await hub.connect()
  await using other = await hub.connectOther()
  hub.faults.set('d2cPerSecond', 2)
  publish(client, 1)
  await acknowledged(client, 1)
  publish(client, 2)
  await hub.clock.waiting(500)
  other.send(publication('devices/edge-2/messages/events/', 'x', 1, 3))
  await hub.clock.waiting(1000)
  assert.equal(hub.record.count('telemetry'), 1)
  await hub.clock.advance(500)
  await acknowledged(client, 2)
  assert.equal(hub.record.count('telemetry'), 2)
  await hub.clock.advance(500)
  await acknowledged(other, 3)
  await hub.clock.advance(500)
  publish(client, 4)
  await acknowledged(client, 4)
})

test('a queue that is too long closes the connection of whoever adds to it', async () => {
  await using hub = await startSlow()
  await using client = await hub.connect()
  hub.faults.set('d2cPerSecond', 1)
  hub.faults.set('d2cQueueSeconds', 2)
  for (const id of [1, 2, 3]) publish(client, id)
  await acknowledged(client, 1)
  await hub.clock.waiting(2000)
  publish(client, 4)
  assert.equal(await client.closed, 0)
  await hub.closedFor(/^429001: more than 2000 ms/)
  assert.equal(hub.record.count('telemetry'), 1)
})

test('acknowledgements keep the order of the messages when the hub gets faster', async () => {
  await using hub = await startSlow()
  await using client = await hub.connect()
  hub.faults.set('pubackDelayMs', 700)
  publish(client, 1, { body: 'first' })
  await hub.clock.waiting(700)
  hub.faults.set('pubackDelayMs', 0)
  publish(client, 2, { body: 'second' })
  client.send({ cmd: 'pingreq' })
  assert.equal((await client.next()).cmd, 'pingresp')
  await hub.clock.advance(700)
  await acknowledged(client, 1)
  await acknowledged(client, 2)
  assert.deepEqual(
    hub.taken().map(({ body }) => body.toString()),
    ['first', 'second'],
  )
})

test('a device that the hub does not read for longer than its keep-alive is not silent', async () => {
  await using hub = await startSlow()
  await using client = await hub.connect({ keepalive: 10 })
  hub.faults.set('d2cPerSecond', 1 / 20)
  hub.faults.set('d2cQueueSeconds', 10_000)
  for (let id = 1; id <= 102; id += 1) publish(client, id)
  client.send({ cmd: 'pingreq' })
  await acknowledged(client, 1)
  await hub.clock.waiting(100 * 20_000)
  await hub.clock.advance(20_000)
  await acknowledged(client, 2)
  await hub.clock.advance(20_000)
  await acknowledged(client, 3)
  assert.equal((await client.next()).cmd, 'pingresp')
  await hub.clock.advance(5_000)
  client.send({ cmd: 'pingreq' })
  assert.equal((await client.next()).cmd, 'pingresp')
})

test('a hub that has had its messages of the day takes connections but no message, until midnight UTC', async () => {
  const clock = createFakeClock(LATE_EVENING)
  await using hub = await startHub({ clock })
  hub.faults.set('dailyMessages', 4)
  await using client = await hub.connect()
  publish(client, 1)
  publish(client, 2, { body: 'x'.repeat(4096) })
  publish(client, 3, { body: 'x'.repeat(4097) })
  for (const id of [1, 2, 3]) await acknowledged(client, id)
  for (const _ of [1, 2]) {
    const since = hub.record.seq()
    await using again = await hub.connect()
    assert.equal(again.connack.returnCode, 0)
    publish(again, 4)
    assert.equal(await again.closed, 0, 'the close is all that a client of 3.1.1 sees')
    await hub.closedFor(/^403002/, since)
  }
  clock.stepWall(60_000)
  await using tomorrow = await hub.connect()
  publish(tomorrow, 5)
  await acknowledged(tomorrow, 5)
})
