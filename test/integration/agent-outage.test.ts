/** A hub that goes away and comes back: what becomes of the samples, and of the connection. */
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, afterEach, before, test } from 'node:test'
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
async function ready(registrationId: string, bufferSamples = 1000): Promise<[Device, FakeClock]> {
  const pair = await cloud.authority.makeDevice(registrationId)
  const toml = `telemetry.bufferSamples = ${bufferSamples}\n`
  const environment = { TELEMETRY_INTERVAL: String(INTERVAL_MS / 1000) }
  return [await makeDevice(cloud, { registrationId, pair, toml, environment }), createFakeClock(Date.now())]
}

/** Time goes by, a sample at a time; each is in the buffer, or given up, before the next one is taken. */
async function takeSamples(agent: BootedAgent, clock: FakeClock, count: number): Promise<void> {
  const taken = (level: Awaited<ReturnType<BootedAgent['status']>>['telemetry']) =>
    level.buffered + level.acknowledged + Object.values(level.dropped).reduce((sum, each) => sum + each, 0)
  for (let sample = 0; sample < count; sample += 1) {
    const before = taken((await agent.status()).telemetry)
    await clock.advance(INTERVAL_MS)
    await agent.until(({ telemetry }) => taken(telemetry) === before + 1)
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
  const agent = device.boot({ clock })
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
  assert.ok(messages.every(({ createdAtMs }, place) => createdAtMs === (messages[0]?.createdAtMs ?? 0) + place * INTERVAL_MS))
})

test('a full buffer gives up the oldest, counts it, and says so to the status and to the twin', async () => {
  const [device, clock] = await ready('away-03', 4)
  await using _device = device
  const agent = device.boot({ clock })
  await settled(cloud, agent, 'away-03')
  cloud.faults.set('closeAfterHandshake', 'hub')
  cutOff(cloud, 'away-03')
  await agent.until(({ connection }) => connection.state === 'disconnected')
  await takeSamples(agent, clock, 10)
  const { telemetry, warnings } = await agent.status()
  assert.deepEqual([telemetry.buffered, telemetry.dropped['full']], [4, 6])
  assert.ok(warnings.some(({ code }) => code === 'TELEMETRY_DROPPED'))

  const since = cloud.record.seq()
  calm(cloud)
  await reconnect(agent, clock)
  const messages = await arrived(agent, 'away-03', 5)
  const firstMs = messages[0]?.createdAtMs ?? 0
  assert.deepEqual(
    messages.map(({ createdAtMs }) => (createdAtMs - firstMs) / INTERVAL_MS),
    [0, 7, 8, 9, 10],
  )
  await seen(cloud, 'reported', 'away-03', { since })
  const reported = cloud.hub.twin('away-03')?.reported as {
    outbox: { dropped: number }
    warnings: readonly { code: string }[]
  }
  assert.equal(reported.outbox.dropped, 6)
  assert.ok(reported.warnings.some(({ code }) => code === 'TELEMETRY_DROPPED'))
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
  await using other = await makeDevice(cloud, { registrationId: 'away-06', pair, environment: { TELEMETRY_INTERVAL: '3600' } })
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
  // Being pushed off says nothing about the credential.
  assert.equal(eventsOf(cloud, 'registered', 'away-06').length, 2)
})
