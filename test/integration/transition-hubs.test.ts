/** DPS has the last word on where a device lives and what it is called there. */
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { test } from 'node:test'
import { eventsOf } from './agent-kit.ts'
import {
  bootUnit,
  install,
  keyFile,
  makeUnit,
  MINUTE,
  newKey,
  pass,
  reported,
  SECOND,
  startBed,
  steady,
  wish,
} from './transition-kit.ts'
import type { Bed, Unit } from './transition-kit.ts'
import { assertOneAtATime, registrationsOf } from './transition-record.ts'

const HOME = 'hub-1.localhost'
const ABROAD = 'hub-2.localhost'

/** SAS leads to the first hub, X.509 to the second one. */
async function startTwoHubs(x509Group: Readonly<Record<string, unknown>> = {}): Promise<Bed> {
  const bed = await startBed({ hubHosts: [HOME, ABROAD] }, { iotHubs: [HOME], allocationPolicy: 'static' })
  bed.cloud.enrollFleet('fleet-x509', { iotHubs: [ABROAD], allocationPolicy: 'static', ...x509Group })
  return bed
}

/** Hub and lane of each session at a hub. */
const homes = ({ bed, id }: Pick<Unit, 'bed' | 'id'>) =>
  eventsOf(bed.cloud, 'connected', id)
    .filter(({ host }) => host !== bed.cloud.dps.host)
    .map(({ host, auth }) => `${host} ${auth}`)

test('a move that leads to another hub is proved there, and the way back leads to the first one', async () => {
  await using bed = await startTwoHubs()
  await using unit = await bootUnit(bed, 'hubs-01')
  wish(unit, { mode: 'x509' })
  await install(unit)
  // The twin went along; its versions begin anew.
  const there = await reported(unit, ({ mode, state }) => mode === 'x509' && state === 'active')
  assert.equal(there.lastAttempt?.result, 'active')
  assert.deepEqual([bed.cloud.hubs[0]?.has(unit.id), bed.cloud.hubs[1]?.has(unit.id)], [false, true])
  await steady(unit)
  const { device } = await unit.agent().status()
  assert.equal(device.assignedHub, bed.cloud.hubAddress(bed.cloud.hubs[1]))

  wish(unit, { mode: 'sas' })
  const back = await reported(unit, ({ mode, state }) => mode === 'sas' && state === 'active')
  assert.equal(back.lastAttempt?.result, 'active')
  assert.deepEqual(homes(unit), [`${HOME} sas`, `${ABROAD} x509`, `${HOME} sas`])
  assert.deepEqual(registrationsOf(unit), ['fleet-sas', 'fleet-x509', 'fleet-sas'])
  assertOneAtATime(unit)
})

test('a device that DPS has moved is found where it is after a restart, and nobody registers for it', async () => {
  await using bed = await startTwoHubs()
  await using unit = await bootUnit(bed, 'hubs-02')
  wish(unit, { mode: 'x509' })
  await install(unit)
  await reported(unit, ({ mode, state }) => mode === 'x509' && state === 'active')
  await unit.agent().stop()
  const since = bed.cloud.record.seq()
  unit.boot()
  await steady(unit)
  assert.equal(homes(unit).at(-1), `${ABROAD} x509`)
  assert.deepEqual(registrationsOf(unit, since), [])
})

test('a twin that was reset on the way wishes nothing: the device stays on X.509, and versions that begin anew count', async () => {
  const reprovisionPolicy = { updateHubAssignment: true, migrateDeviceData: false }
  await using bed = await startTwoHubs({ reprovisionPolicy })
  await using unit = await bootUnit(bed, 'hubs-03')
  const before = wish(unit, { mode: 'x509' })
  await install(unit)
  const there = await reported(unit, ({ mode, state }) => mode === 'x509' && state === 'active')
  assert.equal(there.requested, undefined)
  await pass(unit, 2 * MINUTE)
  await steady(unit)
  assert.deepEqual(registrationsOf(unit), ['fleet-sas', 'fleet-x509'])
  // The same number as on the first hub, and another wish.
  assert.equal(wish(unit, { mode: 'sas' }), before)
  await reported(unit, ({ mode, state }) => mode === 'sas' && state === 'active')
  assert.deepEqual(homes(unit), [`${HOME} sas`, `${ABROAD} x509`, `${HOME} sas`])
  assertOneAtATime(unit)
})

test('a candidate that the second hub refuses leads back to the first one', async () => {
  await using bed = await startTwoHubs()
  await using unit = await bootUnit(bed, 'hubs-04')
  bed.cloud.faults.set('forgetAfterAssignment', 'always')
  const version = wish(unit, { mode: 'x509' })
  await install(unit)
  await unit.agent().journal.heard('HUB_REFUSED_CREDENTIAL')
  await pass(unit, 90 * SECOND)
  await unit.agent().journal.heard(({ event }) => event === 'failed')
  bed.cloud.faults.set('forgetAfterAssignment', 'off')
  await pass(unit, 2 * MINUTE)
  const back = await reported(unit, ({ mode, state }) => mode === 'sas' && state === 'active')
  assert.deepEqual([back.lastAttempt?.result, back.lastAttempt?.version], ['refused', version])
  assert.equal(homes(unit).at(-1), `${HOME} sas`)
  assertOneAtATime(unit)
})

test('a device whose individual enrollment gives it another device ID keeps that on both lanes', async () => {
  await using bed = await startBed()
  const { cloud } = bed
  await using unit = await makeUnit(bed, 'hubs-05', { toml: '[auth.sas]\nenrollment = "individual"\n' })
  const symmetricKey = { primaryKey: newKey(), secondaryKey: newKey() }
  const asset = { ...unit, id: 'Asset_7' }
  const deviceId = asset.id
  cloud.dps.enrollments.put('individual', unit.id, { deviceId, attestation: { type: 'symmetricKey', symmetricKey } })
  await writeFile(keyFile(bed, unit.id), symmetricKey.primaryKey)
  unit.boot()
  await steady(asset)
  wish(asset, { mode: 'x509' })
  // DPS has one enrollment of a registration ID: the operator exchanges what it attests with.
  await install(unit, async (csr) => {
    const chain = await cloud.authority.signDevice(csr)
    const x509 = { clientCertificates: { primary: { certificate: chain.slice(0, chain.indexOf('-----BEGIN', 1)) } } }
    cloud.dps.enrollments.put('individual', unit.id, { deviceId, attestation: { type: 'x509', x509 } }, '*')
    return chain
  })
  const { lastAttempt } = await reported(asset, ({ mode, state }) => mode === 'x509' && state === 'active')
  assert.equal(lastAttempt?.result, 'active')
  assert.deepEqual(homes(asset), [`${cloud.hub.host} sas`, `${cloud.hub.host} x509`])
  assert.deepEqual(
    cloud.hub.identities().map((identity) => identity.deviceId),
    ['Asset_7'],
  )
  assertOneAtATime(asset)
})
