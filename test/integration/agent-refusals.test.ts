/** Everything that says no to a device: named in the status and in the log, and tried again at the right time. */
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { after, afterEach, before, test } from 'node:test'
import type { FailureCode } from '../../agent/failure.ts'
import { failureTable } from '../../agent/failure-table.ts'
import { makeCloudAuthority } from '../cloud/authority.ts'
import type { Cloud } from '../cloud/cloud.ts'
import { createFakeClock } from '../kit/clock.ts'
import type { FakeClock } from '../kit/clock.ts'
import { eventually, makeDevice } from '../kit/device.ts'
import type { BootedAgent, Device } from '../kit/device.ts'
import type { LogLine } from '../kit/journal.ts'
import { makeRoot, makeTemporaryFolder } from '../kit/openssl.ts'
import type { Variables } from '../kit/program.ts'
import { atHub, block, calm, cutOff, eventsOf, seen, settled, startFleetCloud, unblock } from './agent-kit.ts'

let cloud: Cloud

before(async () => {
  cloud = await startFleetCloud()
})
after(() => cloud.close())
afterEach(() => {
  calm(cloud)
  cloud.enrollFleet()
})

const MINUTE_MS = 60_000

/** A device with a certificate of the fleet, on a clock that stands still. */
async function ready(registrationId: string, environment: Variables = {}): Promise<[Device, FakeClock]> {
  const pair = await cloud.authority.makeDevice(registrationId)
  const slow = { TELEMETRY_INTERVAL: '3600', ...environment }
  return [await makeDevice(cloud, { registrationId, pair, environment: slow }), createFakeClock(Date.now())]
}

/** What the agent says of its failed attempts, one after the other, each of which the status must say as well. */
function attemptsOf(agent: BootedAgent, clock?: FakeClock) {
  const reader = agent.journal.follow()
  const failed = () => reader.next((line) => line['event'] === 'not connected')
  return {
    /** The next failed attempt. */
    async failed(code: FailureCode): Promise<LogLine> {
      const line = await failed()
      assert.equal(line['code'], code, line.msg)
      assert.equal(line['advice'], typed(failureTable[code].advice, line))
      const { connection } = await agent.status()
      assert.ok(connection.state === 'disconnected')
      assert.equal(connection.doing, 'waiting')
      assert.equal(connection.failure?.code, code)
      assert.equal(connection.failure.advice, typed(failureTable[code].advice, line))
      return line
    },
    /** The next failed attempt, whatever it is; the pause that follows has gone by. */
    async passed(): Promise<LogLine> {
      const line = await failed()
      await clock?.advance(Number(line['nextAttemptInMs']))
      return line
    },
  }
}

test('a certificate that no enrollment covers is DPS_UNAUTHORIZED, and asked for again in minutes, not seconds', async () => {
  await using foreign = await makeCloudAuthority({ shape: 'quick', hosts: ['x.localhost'] })
  const pair = await foreign.makeDevice('no-01')
  await using device = await makeDevice(cloud, { registrationId: 'no-01', pair })
  const agent = device.boot()
  const line = await attemptsOf(agent).failed('DPS_UNAUTHORIZED')
  assert.ok(Number(line['nextAttemptInMs']) >= MINUTE_MS)
  assert.equal(line['level'], 'error')
})

test('a certificate of another device is refused', async () => {
  const pair = await cloud.authority.makeDevice('no-other')
  await using device = await makeDevice(cloud, { registrationId: 'no-02', pair })
  await attemptsOf(device.boot()).failed('DPS_UNAUTHORIZED')
  assert.equal(cloud.hub.identity('no-02'), undefined)
})

test('a disabled enrollment keeps a device out until it is enabled', async () => {
  cloud.enrollFleet('fleet-x509', { provisioningStatus: 'disabled' })
  const [device, clock] = await ready('no-03')
  await using _device = device
  const agent = device.boot({ clock })
  const attempts = attemptsOf(agent, clock)
  const first = await attempts.failed('DPS_UNAUTHORIZED')
  cloud.faults.set('disabledEnrollment', 'status')
  await clock.advance(Number(first['nextAttemptInMs']))
  const second = await attempts.failed('DPS_DISABLED')
  cloud.enrollFleet()
  await clock.advance(Number(second['nextAttemptInMs']))
  await seen(cloud, 'telemetry', 'no-03')
})

test('a wrong ID scope is refused by name', async () => {
  const [device, clock] = await ready('no-04', { DPS_ID_SCOPE: '0neFFFFFFFF' })
  await using _device = device
  const agent = device.boot({ clock })
  const line = await attemptsOf(agent).failed('DPS_NOT_FOUND')
  assert.match(line.msg, /ID scope/)
  assert.equal(cloud.hub.identity('no-04'), undefined)
})

test('a DPS that says nothing is given three minutes', async () => {
  cloud.faults.set('connectSilence', 'dps')
  const [device, clock] = await ready('no-05')
  await using _device = device
  const agent = device.boot({ clock })
  const attempts = attemptsOf(agent)
  await eventually(async () => (clock.pending().includes(180_000) ? true : undefined))
  await clock.advance(179_000)
  assert.deepEqual(
    agent.journal.lines().filter((line) => line['event'] === 'not connected'),
    [],
  )
  await clock.advance(1_000)
  const line = await attempts.failed('DPS_NO_ANSWER')
  calm(cloud)
  await clock.advance(Number(line['nextAttemptInMs']))
  await seen(cloud, 'telemetry', 'no-05')
})

test('a throttling DPS is asked again no sooner than it wishes', async () => {
  cloud.faults.set('dpsAnswer', '429')
  cloud.faults.set('retryAfterSeconds', 700)
  const [device, clock] = await ready('no-06')
  await using _device = device
  const agent = device.boot({ clock })
  const line = await attemptsOf(agent).failed('DPS_THROTTLED')
  assert.ok(Number(line['nextAttemptInMs']) >= 700_000)
  const { connection } = await agent.status()
  assert.equal(
    connection.state === 'disconnected' && connection.retryAtMs,
    clock.now() + Number(line['nextAttemptInMs']),
  )
  calm(cloud)
  const since = cloud.record.seq()
  await clock.advance(Number(line['nextAttemptInMs']) - 1)
  assert.deepEqual(eventsOf(cloud, 'connected', 'no-06', since), [])
  await clock.advance(1)
  await seen(cloud, 'telemetry', 'no-06')
})

test('a device whose identity is gone goes back to DPS once, and is itself again', async () => {
  const [device, clock] = await ready('no-07')
  await using _device = device
  const agent = device.boot({ clock })
  await settled(cloud, agent, 'no-07')
  await clock.advance(2 * MINUTE_MS)
  const since = cloud.record.seq()
  const attempts = attemptsOf(agent, clock)
  cloud.hub.removeIdentity('no-07')
  await attempts.passed()
  const line = await attempts.failed('HUB_REFUSED_CREDENTIAL')
  await seen(cloud, 'refused', 'no-07', { since, fits: ({ reason }) => reason.startsWith('return code 5') })
  assert.equal(line['next'], 'register')
  assert.ok(Number(line['nextAttemptInMs']) < MINUTE_MS, 'the first refusal is usually news that only DPS has')
  await clock.advance(Number(line['nextAttemptInMs']))
  await seen(cloud, 'connected', 'no-07', { since, fits: atHub(cloud) })
  assert.equal(eventsOf(cloud, 'registered', 'no-07', since).length, 1)
  assert.equal((await agent.until(({ connection }) => connection.state === 'connected')).device.deviceId, 'no-07')
})

test('a device that is blocked in the hub does not storm, and comes back when it is let in', async () => {
  const [device, clock] = await ready('no-08')
  await using _device = device
  const agent = device.boot({ clock, random: () => 0.5 })
  await settled(cloud, agent, 'no-08')
  const since = cloud.record.seq()
  const startMs = clock.monotonicMs()
  const attempts = attemptsOf(agent, clock)
  block(cloud, 'no-08')
  while (clock.monotonicMs() - startMs < 6 * 60 * MINUTE_MS) await attempts.passed()
  // Half an hour at most between two rounds of hub and DPS, so that six hours are a dozen rounds and a few to begin with.
  const tries = eventsOf(cloud, 'registered', 'no-08', since).length
  assert.ok(tries >= 6 && tries <= 40, `${tries} registrations in six hours`)
  const line = await attempts.failed('HUB_REFUSED_CREDENTIAL')
  // A registration does not lift the block: only whoever set it does.
  assert.equal(cloud.hub.identity('no-08')?.status, 'disabled')
  unblock(cloud, 'no-08')
  await clock.advance(Number(line['nextAttemptInMs']))
  await agent.until(({ connection }) => connection.state === 'connected')
})

test('a server that cannot be trusted is never held against the certificate of the device', async () => {
  await using folder = await makeTemporaryFolder()
  const { certificatePath } = await makeRoot(folder.path, 'Some Other Root')
  const [device, clock] = await ready('no-09', { IOT_AGENT_CA_FILE: certificatePath })
  await using _device = device
  const agent = device.boot({ clock, random: () => 0 })
  const attempts = attemptsOf(agent, clock)
  const received = cloud.record.receivedBytes()
  for (let round = 0; round < 3; round += 1) {
    const line = await attempts.failed('TLS_SERVER_UNTRUSTED')
    assert.equal(line['level'], 'warn')
    await clock.advance(Number(line['nextAttemptInMs']))
  }
  // Not one byte of MQTT went to a server that nobody vouches for.
  assert.equal(cloud.record.receivedBytes(), received)
  assert.deepEqual(eventsOf(cloud, 'refused', 'no-09'), [])
})

test('an untrusted server in the place of the hub sends nobody to DPS', async () => {
  await using folder = await makeTemporaryFolder()
  const { certificatePem } = await makeRoot(folder.path, 'Some Other Root')
  const [device, clock] = await ready('no-10', { IOT_AGENT_CA_FILE: join(folder.path, 'trusted.pem') })
  await using _device = device
  await writeFile(join(folder.path, 'trusted.pem'), cloud.authority.serverRoot.certificatePem)
  const first = device.boot({ clock })
  await seen(cloud, 'telemetry', 'no-10')
  await first.stop()
  await writeFile(join(folder.path, 'trusted.pem'), certificatePem)
  const agent = device.boot({ clock, random: () => 0 })
  const attempts = attemptsOf(agent)
  for (let round = 0; round < 3; round += 1) {
    const line = await attempts.failed('TLS_SERVER_UNTRUSTED')
    assert.equal(line['next'], 'connect')
    await clock.advance(Number(line['nextAttemptInMs']))
  }
})

test('a name that nobody knows is NETWORK_DNS', async () => {
  const [device, clock] = await ready('no-11', { DPS_HOST: 'nobody.invalid' })
  await using _device = device
  await attemptsOf(device.boot({ clock })).failed('NETWORK_DNS')
})

test('a closed port is NETWORK_REFUSED', async () => {
  const [device, clock] = await ready('no-12', { DPS_HOST: `dps.localhost:${await closedPort()}` })
  await using _device = device
  await attemptsOf(device.boot({ clock })).failed('NETWORK_REFUSED')
})

test('a hub that never answers CONNECT is given 30 s, and is not mistaken for one that refuses', async () => {
  const [device, clock] = await ready('no-13')
  await using _device = device
  const agent = device.boot({ clock, random: () => 0 })
  await settled(cloud, agent, 'no-13')
  const attempts = attemptsOf(agent)
  cloud.faults.set('connectSilence', 'hub')
  cutOff(cloud, 'no-13')
  const ended = await attempts.failed('HUB_CLOSED')
  await clock.advance(Number(ended['nextAttemptInMs']))
  await clock.waiting(30_000)
  await clock.advance(30_000)
  const line = await attempts.failed('HUB_NO_ANSWER')
  assert.equal(line['next'], 'connect')
  calm(cloud)
  await clock.advance(Number(line['nextAttemptInMs']))
  await agent.until(({ connection }) => connection.state === 'connected')
})

test('a hub that answers "server unavailable" is tried again, and DPS is left alone', async () => {
  const [device, clock] = await ready('no-14')
  await using _device = device
  const agent = device.boot({ clock, random: () => 0 })
  await settled(cloud, agent, 'no-14')
  const since = cloud.record.seq()
  const attempts = attemptsOf(agent, clock)
  cloud.faults.set('connectRefusal', 3)
  cutOff(cloud, 'no-14')
  await attempts.passed()
  const line = await attempts.failed('HUB_BUSY')
  calm(cloud)
  await clock.advance(Number(line['nextAttemptInMs']))
  await agent.until(({ connection }) => connection.state === 'connected')
  assert.deepEqual(eventsOf(cloud, 'registered', 'no-14', since), [])
})

async function closedPort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** The advice of the table as it can be typed on this device. */
function typed(advice: string, { host, port }: LogLine): string {
  const named = typeof host === 'string' ? advice.replaceAll('HOST', host) : advice
  return typeof port === 'number' ? named.replaceAll('8883', String(port)) : named
}
