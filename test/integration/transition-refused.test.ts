/** Candidates that the cloud refuses: the old credential is registered again, and a refused version is not tried twice. */
import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import { makeRoot } from '../kit/openssl.ts'
import type { Authority } from '../kit/openssl.ts'
import { calm, eventsOf, seen } from './agent-kit.ts'
import {
  bootUnit,
  ended,
  install,
  keyFile,
  MINUTE,
  pass,
  reported,
  SECOND,
  startBed,
  steady,
  toX509,
  wish,
} from './transition-kit.ts'
import type { Bed, Unit } from './transition-kit.ts'
import { assertOneAtATime, registrationsOf, sessionsOf } from './transition-record.ts'

let bed: Bed
let stranger: Authority

before(async () => {
  bed = await startBed()
  stranger = await makeRoot(bed.folder, 'Somebody Else')
})
after(() => bed[Symbol.asyncDispose]())
afterEach(() => calm(bed.cloud))

/** Lets everything pass for which a refusal by DPS is no verdict. */
const longSettled = (unit: Unit) => pass(unit, 36 * MINUTE)

test('a certificate of an authority that DPS does not know is refused, and SAS is registered again and goes on', async () => {
  await using unit = await bootUnit(bed, 'refused-01')
  await longSettled(unit)
  const since = bed.cloud.record.seq()
  const version = wish(unit, { mode: 'x509' })
  await install(unit, (csr) => stranger.sign(csr))
  const { mode, lastAttempt, history, waiting } = await ended(unit, version)
  assert.equal(mode, 'sas')
  assert.deepEqual([lastAttempt?.result, lastAttempt?.code], ['refused', 'DPS_UNAUTHORIZED'])
  assert.deepEqual([history.length, waiting], [1, undefined])
  await steady(unit)
  assert.deepEqual(registrationsOf(unit, since), ['fleet-sas'], 'the way back is a registration of its own')
  assert.deepEqual(sessionsOf(unit, since), ['sas'])
  assert.equal(bed.cloud.hub.identity('refused-01')?.authentication.type, 'sas')
  assertOneAtATime(unit)
})

test('a refused version is not tried twice, neither by waiting nor by a restart; a new version is tried, and auth.renew asks for another certificate', async () => {
  await using unit = await bootUnit(bed, 'refused-02')
  await longSettled(unit)
  const version = wish(unit, { mode: 'x509' })
  await install(unit, (csr) => stranger.sign(csr))
  await ended(unit, version)
  const since = bed.cloud.record.seq()
  await pass(unit, 5 * 60 * MINUTE)
  await unit.agent().stop()
  unit.boot()
  await steady(unit)
  await pass(unit, 20 * MINUTE)
  assert.deepEqual(eventsOf(bed.cloud, 'refused', unit.id, since), [])
  assert.deepEqual(registrationsOf(unit, since), [])
  const { lastAttempt } = await reported(unit, () => true)
  assert.deepEqual([lastAttempt?.result, lastAttempt?.version], ['refused', version])

  const next = wish(unit, { mode: null })
  await reported(unit, ({ requested }) => requested === undefined)
  const again = wish(unit, { mode: 'x509' })
  assert.equal(again, next + 1)
  // What lies in the vault is tried under the new version, and refused again; auth.renew asks for another one.
  assert.equal((await ended(unit, again)).lastAttempt?.result, 'refused')
  const renewed = wish(unit, { mode: 'x509', renew: 'by the right authority' })
  await install(unit)
  const moved = await ended(unit, renewed)
  assert.deepEqual([moved.mode, moved.lastAttempt?.result], ['x509', 'active'])
})

test('a new certificate that DPS refuses leads back to the old one, which stays the active one', async () => {
  await using unit = await bootUnit(bed, 'refused-03')
  await toX509(unit)
  await longSettled(unit)
  const { certificate } = await reported(unit, ({ state }) => state === 'active')
  const since = bed.cloud.record.seq()
  const version = wish(unit, { mode: 'x509', renew: 'again' })
  await install(unit, (csr) => stranger.sign(csr))
  const back = await ended(unit, version)
  assert.deepEqual([back.mode, back.lastAttempt?.result], ['x509', 'refused'])
  assert.equal(back.certificate?.thumbprintSha256, certificate?.thumbprintSha256)
  assert.equal(await unit.device.read('credentials/active'), 'gen-0001\n')
  assert.deepEqual(registrationsOf(unit, since), ['fleet-x509'])
  // The same text once more asks for no other certificate.
  wish(unit, { mode: 'x509', renew: 'again', hint: null })
  await pass(unit, MINUTE)
  assert.equal(await unit.device.has('requests/refused-03.csr'), false)
  assertOneAtATime(unit)
})

test('a candidate that DPS takes and the hub refuses is registered once more, then rolled back and settled', async () => {
  await using unit = await bootUnit(bed, 'refused-04')
  const version = wish(unit, { mode: 'x509' })
  // An operator has made the hub forget the certificate each time; only SAS is written.
  bed.cloud.faults.set('forgetAfterAssignment', 'always')
  await install(unit)
  await seen(bed.cloud, 'refused', unit.id)
  await pass(unit, 2 * MINUTE)
  const { mode, lastAttempt } = await ended(unit, version)
  assert.deepEqual([mode, lastAttempt?.result, lastAttempt?.code], ['sas', 'refused', 'HUB_REFUSED_CREDENTIAL'])
  assert.deepEqual(registrationsOf(unit), ['fleet-sas', 'fleet-x509', 'fleet-x509', 'fleet-sas'])
  calm(bed.cloud)
  await unit.agent().stop()
  const since = bed.cloud.record.seq()
  unit.boot()
  await steady(unit)
  await pass(unit, 20 * MINUTE)
  assert.deepEqual([sessionsOf(unit, since), registrationsOf(unit, since)], [['sas'], []])
  assertOneAtATime(unit)
})

test('a SAS key that the cloud refuses is rolled back, and the device stays on X.509', async () => {
  await using unit = await bootUnit(bed, 'refused-05', { holds: ['sas', 'x509'], toml: '[auth]\nmode = "x509"\n' })
  await bed.sas.writeKey(keyFile(bed, unit.id), 'another-device')
  await longSettled(unit)
  const since = bed.cloud.record.seq()
  const version = wish(unit, { mode: 'sas' })
  const { mode, lastAttempt } = await ended(unit, version)
  assert.deepEqual([mode, lastAttempt?.result, lastAttempt?.code], ['x509', 'refused', 'DPS_UNAUTHORIZED'])
  assert.deepEqual(registrationsOf(unit, since), ['fleet-x509'])
  assert.deepEqual(sessionsOf(unit, since), ['x509'])
  assertOneAtATime(unit)
})

test('an enrollment that is disabled refuses the candidate, and the device is not stranded by it', async () => {
  await using unit = await bootUnit(bed, 'refused-06')
  await longSettled(unit)
  bed.cloud.disableGroup('fleet-x509')
  const version = wish(unit, { mode: 'x509' })
  await install(unit)
  const { mode, lastAttempt } = await ended(unit, version)
  bed.cloud.enableGroup('fleet-x509')
  assert.deepEqual([mode, lastAttempt?.result], ['sas', 'refused'])
  await pass(unit, 30 * SECOND)
  await steady(unit)
})
