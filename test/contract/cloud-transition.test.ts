/** What the cloud does to a device that goes from one credential to another: judged on the wire, by a client of the test. */
import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { lookup } from '../../agent/system/loopback.ts'
import type { Cloud, CloudOptions } from '../cloud/cloud.ts'
import { startCloud } from '../cloud/cloud.ts'
import { faultTable } from '../cloud/faults.ts'
import type { SasFleet } from '../cloud/fleets.ts'
import { ServiceError } from '../cloud/model.ts'
import { signSas } from '../cloud/sas.ts'
import { createFakeClock } from '../kit/clock.ts'
import type { FakeClock } from '../kit/clock.ts'
import { dial, expectPacket, greet, nextPublish, publication, subscribe } from './cloud-client.ts'
import type { Greeting } from './cloud-client.ts'

const ID = 'edge-0042'
const MINUTE_MS = 60_000

/** One way to attest: to DPS, and to the hub. */
interface Lane {
  readonly dps: Pick<Greeting, 'credential' | 'password'>
  readonly hub: Pick<Greeting, 'credential' | 'password'>
}

interface Bench extends AsyncDisposable {
  readonly cloud: Cloud
  readonly clock: FakeClock
  readonly fleet: SasFleet
  readonly x509: Lane
  /** Tokens by the clock of the cloud, with this key; that of the device when left out. */
  readonly sas: (key?: string) => Lane
}

async function startBench(options: Omit<CloudOptions, 'clock'> = {}): Promise<Bench> {
  const clock = createFakeClock(Date.now())
  const cloud = await startCloud({ ...options, clock, hubHosts: ['hub-1.localhost'] })
  // The clock stands still while a test polls.
  cloud.faults.set('pollsPerTenSeconds', 0)
  cloud.enrollFleet()
  const fleet = cloud.enrollSasFleet()
  const credential = await cloud.authority.makeDevice(ID)
  const token = (resource: string, key: string, more: { skn?: string } = {}) =>
    signSas({ resource, key, expiresAtSeconds: Math.floor(clock.now() / 1000) + 3600, ...more })
  return {
    ...{ cloud, clock, fleet, x509: { dps: { credential }, hub: { credential } } },
    sas: (key = fleet.deriveKey(ID)) => ({
      dps: { password: token(`${cloud.idScope}/registrations/${ID}`, key, { skn: 'registration' }) },
      hub: { password: token(`${cloud.hub.host}/devices/${ID}`, key) },
    }),
    [Symbol.asyncDispose]: () => cloud.close(),
  }
}

interface Body {
  readonly operationId?: string
  readonly status?: string
  readonly errorCode?: number
}

/** What DPS says last to one registration: `assigned`, an error code, or `cut` when the connection ended first. */
async function register(cloud: Cloud, { dps }: Lane): Promise<string> {
  const { host } = cloud.dps
  await using client = await dial(cloud, { host, ...dps })
  const username = `${cloud.idScope}/registrations/${ID}/api-version=2019-03-31`
  const { returnCode } = await greet(client, { host, deviceId: ID, username, ...dps })
  assert.equal(returnCode, 0)
  await subscribe(client, ['$dps/registrations/res/#'])
  const ask = async (topic: string): Promise<Body> => {
    client.send(publication(topic, '{}', 1))
    expectPacket(await client.next(), 'puback')
    return JSON.parse((await nextPublish(client)).text) as Body
  }
  let body = await ask('$dps/registrations/PUT/iotdps-register/?$rid=1')
  try {
    for (let rid = 2; body.status === 'assigning'; rid += 1)
      body = await ask(`$dps/registrations/GET/iotdps-get-operationstatus/?$rid=${rid}&operationId=${body.operationId}`)
  } catch (cause) {
    if (cause instanceof Error && cause.message === 'the connection ended') return 'cut'
    throw cause
  }
  return body.status ?? String(body.errorCode)
}

/** The return code of CONNACK. */
async function connect(cloud: Cloud, { hub }: Lane): Promise<number> {
  const { host } = cloud.hub
  await using client = await dial(cloud, { host, ...hub })
  return (await greet(client, { host, deviceId: ID, ...hub })).returnCode ?? -1
}

test('each registration ends the other credential at the hub', async () => {
  await using bench = await startBench()
  const { cloud, x509, sas } = bench
  assert.equal(await register(cloud, sas()), 'assigned')
  assert.deepEqual([await connect(cloud, sas()), await connect(cloud, x509)], [0, 5])
  assert.equal(await register(cloud, x509), 'assigned')
  assert.deepEqual([await connect(cloud, sas()), await connect(cloud, x509)], [5, 0])
})

test('credentialCacheMinutes: another valid credential gets 401002 until the cache is over, by the clock of the cloud', async () => {
  await using bench = await startBench()
  const { cloud, clock, x509, sas } = bench
  cloud.faults.set('credentialCacheMinutes', 30)
  assert.equal(await register(cloud, sas()), 'assigned')
  assert.equal(await register(cloud, x509), '401002')
  assert.equal(await connect(cloud, sas()), 0, 'a refused registration changes nothing')
  await clock.advance(30 * MINUTE_MS - 1)
  assert.equal(await register(cloud, x509), '401002')
  await clock.advance(1)
  assert.equal(await register(cloud, x509), 'assigned')
  assert.equal(await register(cloud, sas()), '401002', 'the cache now has the certificate')
})

test('credentialCacheMinutes: the same credential is taken at any time, and the cache begins anew with it', async () => {
  await using bench = await startBench()
  const { cloud, clock, x509, sas } = bench
  cloud.faults.set('credentialCacheMinutes', 30)
  assert.equal(await register(cloud, sas()), 'assigned')
  await clock.advance(20 * MINUTE_MS)
  assert.equal(await register(cloud, sas()), 'assigned')
  await clock.advance(20 * MINUTE_MS)
  assert.equal(await register(cloud, x509), '401002')
  await clock.advance(10 * MINUTE_MS)
  assert.equal(await register(cloud, x509), 'assigned')
})

test('credentialCacheMinutes: another certificate of the same device is another credential', async () => {
  await using bench = await startBench()
  const { cloud, x509 } = bench
  cloud.faults.set('credentialCacheMinutes', 30)
  assert.equal(await register(cloud, x509), 'assigned')
  const credential = await cloud.authority.makeDevice(ID)
  const newer: Lane = { dps: { credential }, hub: { credential } }
  assert.equal(await register(cloud, newer), '401002')
  cloud.faults.reset()
  assert.equal(await register(cloud, newer), 'assigned')
})

test('forgetAfterAssignment=once: DPS says assigned, the hub keeps the old credential, and the next registration mends it', async () => {
  await using bench = await startBench()
  const { cloud, x509, sas } = bench
  assert.equal(await register(cloud, sas()), 'assigned')
  cloud.faults.set('forgetAfterAssignment', 'once')
  assert.equal(await register(cloud, x509), 'assigned')
  assert.deepEqual([await connect(cloud, sas()), await connect(cloud, x509)], [0, 5])
  assert.equal(cloud.faults.get('forgetAfterAssignment'), 'off')
  assert.equal(await register(cloud, x509), 'assigned')
  assert.deepEqual([await connect(cloud, sas()), await connect(cloud, x509)], [5, 0])
})

test('forgetAfterAssignment=always: a new device is assigned to a hub that does not know it, again and again', async () => {
  await using bench = await startBench()
  const { cloud, x509 } = bench
  cloud.faults.set('forgetAfterAssignment', 'always')
  for (const _ of [1, 2]) {
    assert.equal(await register(cloud, x509), 'assigned')
    assert.equal(cloud.hub.has(ID), false)
    assert.equal(await connect(cloud, x509), 5)
  }
})

test('answerLost=once: the connection is cut before the 200, and yet the identity is rewritten', async () => {
  await using bench = await startBench()
  const { cloud, x509, sas } = bench
  assert.equal(await register(cloud, sas()), 'assigned')
  cloud.faults.set('answerLost', 'once')
  assert.equal(await register(cloud, x509), 'cut')
  assert.deepEqual([await connect(cloud, sas()), await connect(cloud, x509)], [5, 0])
  assert.equal(await register(cloud, x509), 'assigned')
})

test('answerLost=always: every assignment is made and no answer arrives; a refusal still does', async () => {
  await using bench = await startBench()
  const { cloud, x509, sas } = bench
  cloud.faults.set('answerLost', 'always')
  for (const _ of [1, 2]) assert.equal(await register(cloud, x509), 'cut')
  assert.equal(await connect(cloud, x509), 0)
  assert.equal(cloud.record.count('registered'), 2)
  cloud.disableGroup('fleet-sas')
  assert.equal(await register(cloud, sas()), '401002')
  cloud.faults.set('dpsOutcome', 'failed')
  assert.equal(await register(cloud, x509), 'failed')
})

test('a key derived from another group, and the group key itself, are refused', async () => {
  await using bench = await startBench()
  const { cloud, fleet, sas } = bench
  const other = sas(fleet.deriveKey('edge-0043'))
  assert.equal(await register(cloud, other), '401002')
  assert.equal(await register(cloud, sas(fleet.groupKey)), '401002')
  assert.equal(await register(cloud, sas()), 'assigned')
})

test('a group that is disabled, enabled, replaced or deleted in one call attests accordingly, and keeps its other settings', async () => {
  await using bench = await startBench()
  const { cloud, fleet, x509, sas } = bench
  const before = sas()
  const policy = { updateHubAssignment: false, migrateDeviceData: false }
  cloud.enrollFleet('fleet-x509', { reprovisionPolicy: policy, iotHubHostName: cloud.hub.host })
  for (const [groupId, lane] of [
    ['fleet-x509', x509],
    ['fleet-sas', before],
  ] as const) {
    cloud.disableGroup(groupId)
    assert.equal(await register(cloud, lane), '401002')
    cloud.enableGroup(groupId)
    assert.equal(await register(cloud, lane), 'assigned')
  }
  const kept = cloud.dps.enrollments.get('group', 'fleet-x509')
  assert.deepEqual([kept?.reprovisionPolicy, kept?.iotHubs], [policy, [cloud.hub.host]])
  const replaced = cloud.enrollSasFleet()
  assert.notEqual(replaced.groupKey, fleet.groupKey)
  assert.equal(await register(cloud, before), '401002')
  assert.equal(await register(cloud, sas(replaced.deriveKey(ID))), 'assigned')
  cloud.deleteGroup('fleet-x509')
  assert.equal(await register(cloud, x509), '401002')
  const changes = [
    () => cloud.disableGroup('fleet-x509'),
    () => cloud.enableGroup('fleet-x509'),
    () => cloud.deleteGroup('fleet-x509'),
  ]
  for (const change of changes)
    assert.throws(change, (error) => error instanceof ServiceError && error.code === 404_201)
})

test('the key of a device is written as one line that only its owner may read, also over a file that others may', async () => {
  await using bench = await startBench()
  const folder = await mkdtemp(join(tmpdir(), 'fleet-'))
  const path = join(folder, 'sas.key')
  await writeFile(path, 'old', { mode: 0o644 })
  assert.equal(await bench.fleet.writeKey(path, ID), path)
  assert.equal((await stat(path)).mode & 0o777, 0o600)
  assert.equal(await readFile(path, 'utf8'), `${bench.fleet.deriveKey(ID)}\n`)
  await rm(folder, { recursive: true })
})

test('HEAD on the HTTPS port of DPS and of a hub answers with the date of the cloud, without a credential', async () => {
  await using bench = await startBench()
  const { cloud, clock } = bench
  clock.stepWall(-400 * 24 * 60 * MINUTE_MS)
  for (const { host } of [cloud.dps, cloud.hub]) {
    const date = await headDate(cloud, host)
    assert.equal(date, new Date(clock.now()).toUTCString())
  }
})

async function headDate(cloud: Cloud, host: string): Promise<string | undefined> {
  const ca = await readFile(cloud.caFile)
  return new Promise((resolve, reject) => {
    const outgoing = request({ host, port: cloud.httpsPort, method: 'HEAD', path: '/', ca, lookup, agent: false })
    outgoing.on('response', (response) => {
      response.resume()
      resolve(response.headers.date)
    })
    outgoing.on('error', reject)
    outgoing.end()
  })
}

test('the faults of transitions are off unless somebody sets them', () => {
  const defaults = [faultTable.credentialCacheMinutes, faultTable.forgetAfterAssignment, faultTable.answerLost]
  assert.deepEqual(
    defaults.map((row) => row.default),
    [0, 'off', 'off'],
  )
})
