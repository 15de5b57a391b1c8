/** A hub that goes away and comes back: what becomes of the samples, and of the connection. */
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, afterEach, before, test } from 'node:test'
import type { Status } from '../../agent/control/status.ts'
import type { Cloud } from '../cloud/cloud.ts'
import { layCable } from '../kit/cable.ts'
import type { Cable } from '../kit/cable.ts'
import { createFakeClock } from '../kit/clock.ts'
import type { FakeClock } from '../kit/clock.ts'
import { makeDevice } from '../kit/device.ts'
import type { BootedAgent, Device } from '../kit/device.ts'
import { atHub, calm, cutOff, eventsOf, reconnect, seen, settled, startFleetCloud } from './agent-kit.ts'

let cloud: Cloud

before(async () => {
  cloud = await startFleetCloud()
})
after(() => cloud.close())
afterEach(() => calm(cloud))

const INTERVAL_MS = 10_000

/** A device with a certificate of the fleet, a sample every 10 s, and a clock that stands still. */
async function ready(registrationId: string): Promise<[Device, FakeClock]> {
  const pair = await cloud.authority.makeDevice(registrationId)
  const environment = { TELEMETRY_INTERVAL: String(INTERVAL_MS / 1000) }
  return [await makeDevice(cloud, { registrationId, pair, environment }), createFakeClock(Date.now())]
}

/** Samples taken so far, whatever became of them. */
function taken({ telemetry }: Status): number {
  const dropped = Object.values(telemetry.dropped).reduce((sum, each) => sum + each, 0)
  return telemetry.buffered + telemetry.acknowledged + dropped
}

/** Time goes by, a sample at a time; each is in the buffer, or given up, before the next one is taken. */
async function takeSamples(agent: BootedAgent, clock: FakeClock, count: number): Promise<void> {
  for (let sample = 0; sample < count; sample += 1) {
    const before = taken(await agent.status())
    await clock.advance(INTERVAL_MS)
    await agent.until((status) => taken(status) === before + 1)
  }
}

interface Arrival {
  readonly id: string
  readonly createdAtMs: number
}

/** What came of one device, in the order in which it came. */
function arrivals(id: string): readonly Arrival[] {
  return eventsOf(cloud, 'telemetry', id).map(({ message }) => ({
    id: message.system['message-id'] ?? '',
    createdAtMs: Date.parse(message.system['iothub-creation-time-utc'] ?? ''),
  }))
}

/** Waits for so many messages, and for the agent to know that they came. */
async function arrived(agent: BootedAgent, id: string, count: number): Promise<readonly Arrival[]> {
  await cloud.record.waitFor(() => arrivals(id).length >= count, { withinMs: 20_000 })
  await agent.until(({ telemetry }) => telemetry.buffered === 0)
  return arrivals(id)
}

test('samples wait while the hub is away; none is lost, their order is kept, and no ID comes twice', async () => {
  const [device, clock] = await ready('away-01')
  await using _device = device
  const agent = device.boot({ clock, random: () => 0 })
  await settled(cloud, agent, 'away-01')
  cloud.faults.set('closeAfterHandshake', 'hub')
  cutOff(cloud, 'away-01')
  await agent.until(({ connection }) => connection.state === 'disconnected')
  await takeSamples(agent, clock, 12)
  assert.equal((await agent.status()).telemetry.buffered, 12)
  assert.equal(arrivals('away-01').length, 1)

  calm(cloud)
  await reconnect(agent, clock)
  const messages = await arrived(agent, 'away-01', 13)
  const firstMs = messages[0]?.createdAtMs ?? 0
  assert.deepEqual(
    messages.map(({ createdAtMs }) => createdAtMs - firstMs),
    Array.from({ length: 13 }, (_, place) => place * INTERVAL_MS),
  )
  assert.equal(new Set(messages.map(({ id }) => id)).size, 13)
  assert.equal((await agent.status()).telemetry.acknowledged, 13)
})

test('a device that starts while its cloud is away sends what it measured since then', async () => {
  const [device, clock] = await ready('away-02')
  await using _device = device
  cloud.faults.set('closeAfterHandshake', 'dps')
  const agent = device.boot({ clock })
  await agent.until(({ telemetry }) => telemetry.buffered === 1)
  await takeSamples(agent, clock, 3)
  calm(cloud)
  await reconnect(agent, clock)
  const messages = await arrived(agent, 'away-02', 4)
  const firstMs = messages[0]?.createdAtMs ?? 0
  assert.deepEqual(
    messages.slice(0, 4).map(({ createdAtMs }) => createdAtMs - firstMs),
    [0, 1, 2, 3].map((place) => place * INTERVAL_MS),
  )
})

interface Reported {
  readonly outbox: { readonly depth: number }
}

/** The reported part of a twin, as soon as it fits. */
async function reportedBy(id: string, fits: (reported: Reported) => boolean): Promise<Reported> {
  const look = () => cloud.hub.twin(id)?.reported as unknown as Reported
  await cloud.record.waitFor(() => fits(look()), { withinMs: 20_000 })
  return look()
}

test('the twin does not go on showing a backlog that was sent long ago', async () => {
  const [device, clock] = await ready('away-07')
  await using _device = device
  const agent = device.boot({ clock, random: () => 0 })
  await settled(cloud, agent, 'away-07')
  cloud.faults.set('closeAfterHandshake', 'hub')
  cutOff(cloud, 'away-07')
  await agent.until(({ connection }) => connection.state === 'disconnected')
  await takeSamples(agent, clock, 30)
  calm(cloud)
  await reconnect(agent, clock)
  await arrived(agent, 'away-07', 31)
  const since = cloud.record.seq()
  await takeSamples(agent, clock, 6)
  await reportedBy('away-07', ({ outbox }) => outbox.depth <= 1)
  // Nor does it spend the hub's budget of twin updates on how many messages are just under way.
  assert.ok(eventsOf(cloud, 'reported', 'away-07', since).length <= 1)
  const quiet = cloud.record.seq()
  cloud.faults.set('pubackDelayMs', 60_000)
  await takeSamples(agent, clock, 6)
  assert.equal((await agent.status()).telemetry.buffered, 6)
  assert.deepEqual(eventsOf(cloud, 'reported', 'away-07', quiet), [])
})

test('that the hub is away for long is a warning in the log, without anybody asking', async () => {
  const [device, clock] = await ready('away-08')
  await using _device = device
  const agent = device.boot({ clock, random: () => 0 })
  await settled(cloud, agent, 'away-08')
  cloud.faults.set('closeAfterHandshake', 'hub')
  const reader = agent.journal.follow()
  cutOff(cloud, 'away-08')
  const warned = reader.next((line) => line['msg'] === 'warning' && line['code'] === 'HUB_DISCONNECTED')
  const other = agent.journal.follow()
  for (let gone = 0; gone < 4 * 60_000;) {
    const line = await other.next((said) => said['event'] === 'not connected')
    await clock.advance(Number(line['nextAttemptInMs']))
    gone += Number(line['nextAttemptInMs'])
  }
  assert.match(String((await warned)['text']), /not connected since/)
  calm(cloud)
  await reconnect(agent, clock)
  await clock.advance(60_000)
  await reader.next((line) => line['msg'] === 'warning is over' && line['code'] === 'HUB_DISCONNECTED')
})

/** A device whose hub is at the other end of a cable. */
async function cabled(id: string): Promise<{ device: Device; clock: FakeClock; agent: BootedAgent; cable: Cable }> {
  const [device, clock] = await ready(id)
  const cable = await layCable(cloud.port)
  const direct = device.boot({ clock })
  await settled(cloud, direct, id)
  await direct.stop()
  const path = join(device.stateDir, 'assignment.json')
  const assignment = JSON.parse(await device.read('assignment.json')) as { assignedHub: string }
  await writeFile(path, JSON.stringify({ ...assignment, assignedHub: `${cloud.hub.host}:${cable.port}` }))
  const agent = device.boot({ clock, random: () => 0 })
  await agent.until(({ telemetry }) => telemetry.acknowledged === 1)
  return { device, clock, agent, cable }
}

test('a message whose acknowledgement was lost comes again under the same ID, and in its place', async () => {
  const { device, clock, agent, cable } = await cabled('away-04')
  await using _device = device
  await using _cable = cable
  const before = arrivals('away-04').length
  cable.become('swallowing')
  await takeSamples(agent, clock, 2)
  await cloud.record.waitFor(() => arrivals('away-04').length === before + 2)
  assert.equal((await agent.status()).telemetry.buffered, 2)
  cable.become('pulled')
  await agent.until(({ connection }) => connection.state === 'disconnected')
  cable.become('good')
  await reconnect(agent, clock)
  await takeSamples(agent, clock, 1)
  const messages = (await arrived(agent, 'away-04', before + 5)).slice(before)
  const [a, b] = messages
  assert.deepEqual(
    messages.slice(0, 4).map(({ id }) => id),
    [a?.id, b?.id, a?.id, b?.id],
  )
  assert.equal(new Set(messages.map(({ id }) => id)).size, 3)
})

test('a pulled cable is a fault of the network, and never of the credential', async () => {
  const { device, clock, agent, cable } = await cabled('away-05')
  await using _device = device
  await using _cable = cable
  const since = cloud.record.seq()
  const reader = agent.journal.follow()
  cable.become('pulled')
  for (let round = 0; round < 6; round += 1) {
    const line = await reader.next((said) => said['event'] === 'not connected')
    assert.match(String(line['code']), /^(NETWORK_|HUB_CLOSED|TLS_FAILED)/)
    assert.equal(line['next'], 'connect')
    await clock.advance(Number(line['nextAttemptInMs']))
  }
  cable.become('good')
  await reconnect(agent, clock)
  assert.deepEqual(eventsOf(cloud, 'registered', 'away-05', since), [])
})

test('two devices with one identity push each other off, but at the pace of a backoff', async () => {
  const [one, clock] = await ready('away-06')
  await using _one = one
  const pair = { chainFile: one.variables['CERT_PATH'] ?? '', keyFile: one.variables['KEY_PATH'] ?? '' }
  await using other = await makeDevice(cloud, {
    registrationId: 'away-06',
    pair,
    environment: { TELEMETRY_INTERVAL: '3600' },
  })
  const agents = [one.boot({ clock, random: () => 0.5 })]
  await seen(cloud, 'connected', 'away-06', { fits: atHub(cloud) })
  agents.push(other.boot({ clock, random: () => 0.5 }))
  const readers = agents.map((agent) => agent.journal.follow())
  const startMs = clock.monotonicMs()
  for (let turn = 0; clock.monotonicMs() - startMs < 3_600_000; turn += 1) {
    const line = await readers[turn % 2]?.next((said) => said['event'] === 'not connected')
    assert.equal(line?.['code'], 'HUB_CLOSED')
    await clock.advance(Number(line?.['nextAttemptInMs']))
  }
  const connects = eventsOf(cloud, 'connected', 'away-06').filter(atHub(cloud)).length
  assert.ok(connects > 10 && connects < 150, `${connects} connections in an hour`)
  // Being pushed off says nothing about the credential, but sessions that never last may be of a device that has moved:
  // after ten of them DPS is asked where to go, and then ever more seldom.
  const registrations = eventsOf(cloud, 'registered', 'away-06').length
  assert.ok(registrations >= 2 && registrations <= 6, `${registrations} registrations in an hour`)
})
