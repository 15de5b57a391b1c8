import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, afterEach, before, test } from 'node:test'
import { readSasSecret } from '../../agent/credential/sas-secret.ts'
import type { OutgoingMessage } from '../../agent/hub/session.ts'
import { createFakeClock } from '../kit/clock.ts'
import { makeTemporaryFolder } from '../kit/openssl.ts'
import { enrollByKey, newKey, putDirectIdentity, sas } from './sas-device.ts'
import type { Keys } from './sas-device.ts'
import { failureOf, startBench } from './session-device.ts'
import type { BareDevice, Bench } from './session-device.ts'

const HOUR = 3_600_000

let bench: Bench
let keys: Keys
let device: BareDevice

before(async () => {
  bench = await startBench()
  keys = enrollByKey(bench, 'individual', 'edge-1')
  device = bench.deviceWith('edge-1', sas(keys.primaryKey))
  await device.register()
})
after(() => bench[Symbol.asyncDispose]())
afterEach(async () => {
  bench.calm()
  await bench.deserted()
})

const message: OutgoingMessage = {
  body: '{}',
  messageId: 'm-1',
  contentType: 'application/json',
  contentEncoding: 'utf-8',
}

test('a session by token says so, shows no certificate, and its messages bear the stamp of SAS', async () => {
  const since = bench.cloud.record.seq()
  await using session = await device.open()
  assert.deepEqual(session.presented, { lane: 'sas' })
  await session.send(message)
  const [connected] = bench.cloud.record.events(since)
  assert.ok(connected?.kind === 'connected')
  assert.deepEqual([connected.auth, connected.thumbprint], ['sas', ''])
  const arrived = await bench.cloud.record.waitFor((event) => event.kind === 'telemetry', { since })
  assert.ok(arrived.kind === 'telemetry')
  const method = arrived.message.system['iothub-connection-auth-method'] ?? ''
  assert.deepEqual(JSON.parse(method), { scope: 'device', type: 'sas', issuer: 'iothub' })
})

test('twin and reports work on a session by token', async () => {
  await using session = await device.open()
  const before = await session.readTwin()
  await session.report({ lane: 'sas' })
  const twin = await session.readTwin()
  assert.equal(twin.reported.lane, 'sas')
  assert.equal(twin.reported.$version, before.reported.$version + 1)
})

test('the secondary key opens a session too', async () => {
  await using session = await bench.deviceWith('edge-1', sas(keys.secondaryKey)).open()
  await session.send(message)
})

test('a token of a wrong key is HUB_REFUSED_CREDENTIAL, and the failure says until when it was good', async () => {
  const failure = await failureOf(bench.deviceWith('edge-1', sas(newKey())).open())
  assert.equal(failure.code, 'HUB_REFUSED_CREDENTIAL')
  const leftMs = Date.parse(String(failure.context.tokenEndsAt)) - Date.now()
  assert.ok(leftMs > HOUR - 60_000 && leftMs <= HOUR + 1_000, failure.message)
})

test('a token that a slow clock made expire is HUB_REFUSED_CREDENTIAL, and its end is named', async () => {
  const clock = createFakeClock(Math.floor(Date.now() / 1000) * 1000 - 2 * HOUR)
  const failure = await failureOf(device.open({ clock }))
  assert.equal(failure.code, 'HUB_REFUSED_CREDENTIAL')
  assert.equal(failure.context.tokenEndsAt, new Date(clock.now() + HOUR).toISOString())
  const refused = bench.cloud.record.events().findLast((event) => event.kind === 'refused')
  assert.match(refused?.kind === 'refused' ? refused.reason : '', /expired/)
})

test('a hub that has device SAS switched off refuses the token; one without local policies does not', async () => {
  bench.cloud.faults.set('disableLocalAuth', 'true')
  await (await device.open())[Symbol.asyncDispose]()
  bench.cloud.faults.set('disableDeviceSAS', 'true')
  assert.equal((await failureOf(device.open())).code, 'HUB_REFUSED_CREDENTIAL')
})

test('a token is refused once the identity is one by certificate, and a certificate once it is one by key', async () => {
  bench.cloud.enrollFleet()
  const own = enrollByKey(bench, 'individual', 'both-1')
  const byKey = bench.deviceWith('both-1', sas(own.primaryKey))
  const byCertificate = await bench.device('both-1')
  await byKey.register()
  assert.equal((await failureOf(byCertificate.open())).code, 'HUB_REFUSED_CREDENTIAL')
  await byCertificate.register()
  assert.equal((await failureOf(byKey.open())).code, 'HUB_REFUSED_CREDENTIAL')
})

test('a connection string leads to its hub without DPS, and nothing of its key is sent', async () => {
  await using folder = await makeTemporaryFolder()
  const { primaryKey } = putDirectIdentity(bench, 'Old:1')
  const path = join(folder.path, 'connection-string')
  const text = `HostName=${bench.cloud.hubAddress()};DeviceId=Old:1;SharedAccessKey=${primaryKey}\n`
  await writeFile(path, text, { mode: 0o600 })
  const secret = await readSasSecret({ connectionStringFile: path, enrollment: 'group' }, {})
  assert.ok(secret?.kind === 'direct')
  const registrations = bench.cloud.record.count('registered')
  const { hub: host, deviceId, key } = secret
  await using session = await bench.deviceWith(deviceId, { lane: 'sas', key }).open({ host })
  assert.equal((await session.readTwin()).desired.$version, 1)
  await session.send(message)
  assert.equal(bench.cloud.record.count('registered'), registrations)
  assert.ok(!bench.cloud.received().includes(primaryKey))
  assert.ok(!bench.cloud.received().includes(Buffer.from(primaryKey, 'base64')))
})
