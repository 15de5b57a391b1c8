/** Where a device lands: allocation, reprovisioning, initial twins, and what becomes of the hub identity. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { AllocationRequest } from '../cloud/dps/allocation.ts'
import { deriveDeviceKey, signSas } from '../cloud/sas.ts'
import type { Bench } from './cloud-dps-kit.ts'
import {
  bodyOf,
  createBench,
  createDevice,
  HUB1,
  HUB2,
  ID_SCOPE,
  lastRefusal,
  NOW_MS,
  stateOf,
} from './cloud-dps-kit.ts'

const GROUP_KEY = Buffer.alloc(32, 1).toString('base64')
const SECOND_KEY = Buffer.alloc(32, 2).toString('base64')
const keys = { type: 'symmetricKey', symmetricKey: { primaryKey: GROUP_KEY, secondaryKey: SECOND_KEY } }

/** Registers a device of the symmetric group with a key derived from `groupKey`. */
function provision(bench: Bench, { registrationId = 'edge-0042', groupKey = GROUP_KEY, body = '{}' } = {}) {
  const password = signSas({
    ...{ resource: `${ID_SCOPE}/registrations/${registrationId}`, key: deriveDeviceKey(groupKey, registrationId) },
    ...{ expiresAtSeconds: NOW_MS / 1000 + 3600, skn: 'registration' },
  })
  return createDevice(bench.dps, { registrationId, password }).provision(body)
}

function putGroup(bench: Bench, more: Record<string, unknown> = {}, ifMatch?: string) {
  return bench.dps.enrollments.put('group', 'edge-keys', { attestation: keys, ...more }, ifMatch)
}

/** The group sends new registrations to `host` from now on. */
function moveTo(bench: Bench, host: string, more: Record<string, unknown> = {}) {
  return putGroup(bench, { iotHubHostName: host, ...more }, '*')
}

test('either group key gives a device key, and the identity becomes sas with both derived keys', async () => {
  for (const groupKey of [GROUP_KEY, SECOND_KEY]) {
    const bench = createBench()
    putGroup(bench, { iotHubHostName: HUB1 })
    const state = stateOf(await provision(bench, { groupKey }))
    assert.deepEqual(state.symmetricKey, { enrollmentGroupId: 'edge-keys' })
    assert.deepEqual(bench.hubs[0].devices.get('edge-0042')?.credential, {
      type: 'sas',
      primaryKey: deriveDeviceKey(GROUP_KEY, 'edge-0042'),
      secondaryKey: deriveDeviceKey(SECOND_KEY, 'edge-0042'),
    })
  }
})

test('the group key itself is no device key', async () => {
  const bench = createBench()
  putGroup(bench)
  const resource = `${ID_SCOPE}/registrations/edge-0042`
  const password = signSas({ resource, key: GROUP_KEY, expiresAtSeconds: NOW_MS / 1000 + 60, skn: 'registration' })
  assert.equal((await createDevice(bench.dps, { password }).register()).status, 401)
})

test('the identity is written anew at every registration', async () => {
  const bench = createBench()
  putGroup(bench, { iotHubHostName: HUB1 })
  await provision(bench)
  const wrong = { type: 'selfSigned', primaryThumbprint: 'A', secondaryThumbprint: 'B' } as const
  bench.hubs[0].assign('edge-0042', wrong, undefined)
  await provision(bench)
  assert.equal(bench.hubs[0].devices.get('edge-0042')?.credential.type, 'sas')
})

test('hashed allocation keeps a device on its hub and uses every hub', async () => {
  const bench = createBench()
  putGroup(bench)
  const ids = Array.from({ length: 20 }, (_, index) => `edge-${index}`)
  const hubOf = async (registrationId: string) => stateOf(await provision(bench, { registrationId })).assignedHub
  const first = await Promise.all(ids.map(hubOf))
  assert.deepEqual(await Promise.all(ids.map(hubOf)), first)
  assert.deepEqual(new Set(first), new Set([HUB1, HUB2]))
})

test('hashed allocation stays within the hubs of the enrollment', async () => {
  const bench = createBench()
  putGroup(bench, { iotHubs: [HUB2] })
  const states = await Promise.all(
    Array.from({ length: 10 }, async (_, index) =>
      stateOf(await provision(bench, { registrationId: `edge-${index}` })),
    ),
  )
  assert.deepEqual(new Set(states.map((state) => state.assignedHub)), new Set([HUB2]))
})

test('a second registration that stays on its hub says so and leaves the twin alone', async () => {
  const bench = createBench()
  putGroup(bench, { iotHubHostName: HUB1, initialTwin: { tags: { site: 'a' } } })
  assert.equal(stateOf(await provision(bench)).substatus, 'initialAssignment')
  moveTo(bench, HUB1, { initialTwin: { tags: { site: 'b' } } })
  assert.equal(stateOf(await provision(bench)).substatus, 'reprovisionedToInitialAssignment')
  assert.deepEqual(bench.hubs[0].devices.get('edge-0042')?.twin, { tags: { site: 'a' } })
})

test('migrate, the default, moves twin and identity to the other hub', async () => {
  const bench = createBench()
  putGroup(bench, { iotHubHostName: HUB1, initialTwin: { tags: { site: 'a' }, properties: { desired: { n: 1 } } } })
  await provision(bench)
  moveTo(bench, HUB2, { initialTwin: { tags: { site: 'other' } } })
  const state = stateOf(await provision(bench))
  assert.equal(state.substatus, 'deviceDataMigrated')
  assert.equal(state.assignedHub, HUB2)
  assert.equal(bench.hubs[0].devices.has('edge-0042'), false)
  const twin = bench.hubs[1].devices.get('edge-0042')?.twin
  assert.deepEqual(twin, { tags: { site: 'a' }, properties: { desired: { n: 1 } } })
})

test('reset moves the identity and begins the twin from the enrollment', async () => {
  const bench = createBench()
  putGroup(bench, { iotHubHostName: HUB1, initialTwin: { tags: { site: 'a' } } })
  await provision(bench)
  const reprovisionPolicy = { updateHubAssignment: true, migrateDeviceData: false }
  moveTo(bench, HUB2, { reprovisionPolicy, initialTwin: { tags: { site: 'b' } } })
  assert.equal(stateOf(await provision(bench)).substatus, 'deviceDataReset')
  assert.equal(bench.hubs[0].devices.has('edge-0042'), false)
  assert.deepEqual(bench.hubs[1].devices.get('edge-0042')?.twin, { tags: { site: 'b' } })
})

test('never keeps the hub and rewrites the identity all the same', async () => {
  const bench = createBench()
  putGroup(bench, { iotHubHostName: HUB1 })
  await provision(bench)
  bench.hubs[0].assign('edge-0042', { type: 'certificateAuthority' }, undefined)
  moveTo(bench, HUB2, { reprovisionPolicy: { updateHubAssignment: false, migrateDeviceData: false } })
  assert.equal(stateOf(await provision(bench)).assignedHub, HUB1)
  assert.equal(bench.hubs[1].devices.size, 0)
  assert.equal(bench.hubs[0].devices.get('edge-0042')?.credential.type, 'sas')
})

test('a deleted registration record begins anew and leaves the hub identity where it is', async () => {
  const bench = createBench()
  putGroup(bench, { iotHubHostName: HUB1 })
  await provision(bench)
  bench.dps.records.remove('edge-0042')
  assert.ok(bench.hubs[0].devices.has('edge-0042'))
  assert.equal(stateOf(await provision(bench)).substatus, 'initialAssignment')
})

test('a known device may come through another enrollment and its record moves, unless crossGroup=refuse', async () => {
  const bench = createBench()
  putGroup(bench, { iotHubHostName: HUB1 })
  await provision(bench)
  const other = Buffer.alloc(32, 9).toString('base64')
  const attestation = { type: 'symmetricKey', symmetricKey: { primaryKey: other, secondaryKey: other } }
  bench.dps.enrollments.put('group', 'second', { attestation, iotHubHostName: HUB1 })
  bench.faults.set('pollsPerTenSeconds', 0)
  bench.faults.set('crossGroup', 'refuse')
  const refused = await provision(bench, { groupKey: other })
  assert.equal(refused.status, 401)
  assert.match(lastRefusal(bench.events), /registered through the group edge-keys/)
  assert.equal((await provision(bench)).status, 200)
  bench.faults.set('crossGroup', 'allow')
  assert.equal((await provision(bench, { groupKey: other })).status, 200)
  assert.equal(bench.dps.records.get('edge-0042')?.enrollment.id, 'second')
})

test('an individual enrollment with keys wins over the group', async () => {
  const bench = createBench()
  putGroup(bench, { iotHubHostName: HUB1 })
  bench.dps.enrollments.put('individual', 'edge-0042', { attestation: { type: 'symmetricKey' } })
  assert.equal((await provision(bench)).status, 401)
  assert.equal((await provision(bench, { registrationId: 'edge-0043' })).status, 200)
})

test('custom allocation sees enrollment, device and payload, and gives hub, twin and payload', async () => {
  const seen: AllocationRequest[] = []
  const bench = createBench((request) => {
    seen.push(request)
    return { iotHubHostName: HUB2, initialTwin: { tags: { from: 'webhook' } }, payload: { site: 'a' } }
  })
  putGroup(bench, { allocationPolicy: 'custom', initialTwin: { tags: { from: 'group' } } })
  const state = stateOf(await provision(bench, { body: '{"payload":{"model":"m1"}}' }))
  assert.equal(state.assignedHub, HUB2)
  assert.deepEqual(state.payload, { site: 'a' })
  assert.deepEqual(bench.hubs[1].devices.get('edge-0042')?.twin, { tags: { from: 'webhook' } })
  assert.deepEqual(seen[0]?.deviceRuntimeContext.payload, { model: 'm1' })
  assert.equal(seen[0]?.deviceRuntimeContext.registrationId, 'edge-0042')
  assert.equal(seen[0]?.enrollmentGroup?.['enrollmentGroupId'], 'edge-keys')
  assert.deepEqual(seen[0]?.linkedHubs, [HUB1, HUB2])
  assert.ok(!JSON.stringify(seen).includes(GROUP_KEY))
})

test('a custom allocation that refuses, or names a foreign hub, ends the registration with 400', async () => {
  const refusing = createBench(() => Promise.reject(new Error('status code 403')))
  putGroup(refusing, { allocationPolicy: 'custom' })
  const refused = await provision(refusing)
  assert.equal(refused.status, 400)
  assert.match(bodyOf(refused).message ?? '', /403/)
  const foreign = createBench(() => ({ iotHubHostName: 'elsewhere.azure-devices.net' }))
  putGroup(foreign, { allocationPolicy: 'custom' })
  assert.equal((await provision(foreign)).status, 400)
  const absent = createBench()
  putGroup(absent, { allocationPolicy: 'custom' })
  assert.equal((await provision(absent)).status, 400)
})

test('while a custom allocation takes its time every poll is answered 202', async () => {
  const allocation = Promise.withResolvers<{ iotHubHostName: string }>()
  const bench = createBench(() => allocation.promise)
  bench.faults.set('pollsBeforeAssigned', 0)
  putGroup(bench, { allocationPolicy: 'custom' })
  const password = signSas({
    ...{ resource: `${ID_SCOPE}/registrations/edge-0042`, key: deriveDeviceKey(GROUP_KEY, 'edge-0042') },
    ...{ expiresAtSeconds: NOW_MS / 1000 + 3600, skn: 'registration' },
  })
  const device = createDevice(bench.dps, { password })
  const registering = device.register()
  const { operationId = '' } = JSON.parse(device.sent[0]?.text ?? '{}') as { operationId?: string }
  assert.equal((await device.poll(operationId)).status, 202)
  allocation.resolve({ iotHubHostName: HUB1 })
  await registering
  assert.equal((await device.poll(operationId)).status, 200)
})

test('what is no enrollment is refused with the reason', () => {
  const bench = createBench()
  const put =
    (body: unknown, id = 'edge-0042') =>
    () =>
      bench.dps.enrollments.put('individual', id, body)
  for (const [body, reason] of [
    [{}, /attestation/],
    [{ attestation: { type: 'tpm' } }, /type/],
    [{ attestation: { type: 'x509' } }, /clientCertificates/],
    [
      { attestation: { type: 'x509', x509: { clientCertificates: { primary: { certificate: 'x' } } } } },
      /cannot be read/,
    ],
    [{ attestation: { type: 'x509', x509: { caReferences: { primary: 'root' } } } }, /clientCertificates/],
    [{ attestation: { type: 'symmetricKey', symmetricKey: { primaryKey: 'c2hvcnQ=' } } }, /16 to 64 bytes/],
    [{ attestation: keys, iotHubs: ['elsewhere.azure-devices.net'] }, /not linked/],
    [{ attestation: keys, provisioningStatus: 'maybe' }, /provisioningStatus/],
    [[], /Invalid/],
    [null, /Invalid/],
  ] as const)
    assert.throws(put(body), { code: 400004, message: reason }, JSON.stringify(body))
  assert.throws(put({ attestation: keys }, 'edge 42'), { code: 400004 })
})

test('etags guard enrollments: create once, update with the etag or a star, delete', () => {
  const { dps } = createBench()
  const body = { attestation: keys }
  const created = dps.enrollments.put('group', 'g', body)
  assert.throws(() => dps.enrollments.put('group', 'g', body), { status: 409 })
  const updated = dps.enrollments.put('group', 'G', { ...body, provisioningStatus: 'disabled' }, created.etag)
  assert.equal(updated.createdDateTimeUtc, created.createdDateTimeUtc)
  assert.throws(() => dps.enrollments.put('group', 'g', body, created.etag), { status: 412 })
  assert.throws(() => dps.enrollments.remove('group', 'g', created.etag), { status: 412 })
  dps.enrollments.remove('group', 'g', `"${updated.etag}"`)
  assert.throws(() => dps.enrollments.remove('group', 'g'), { status: 404 })
  assert.throws(() => dps.enrollments.put('group', 'g', body, '*'), { status: 404 })
})
