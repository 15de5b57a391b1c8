/** The service side, judged by `azure-iothub` and `azure-iot-provisioning-service`: also how each names a refusal. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, test } from 'node:test'

import iotHub from 'azure-iothub'
import provisioningService from 'azure-iot-provisioning-service'

import { openAzure, type AttestationMechanism, type IndividualEnrollment } from './azure.ts'
import { nodeClients } from './node-client.ts'

const azure = await openAzure()
after(() => azure[Symbol.asyncDispose]())
const { registry, enrollments } = azure

/** As the samples of the package write it. */
const everything = { query: '*' }

/** A key of a policy that the service never made. */
const strangeKey = `SharedAccessKey=${randomBytes(32).toString('base64')}`

test('the registry creates an identity with keys of its own making, and gives it back', async () => {
  const deviceId = azure.newId()
  const { responseBody: created } = await registry.create({ deviceId, status: 'enabled' })
  const { responseBody: read } = await registry.get(deviceId)
  assert.equal(read.deviceId, deviceId)
  assert.equal(read.status, 'enabled')
  assert.equal(read.generationId, created.generationId)
  const { type, symmetricKey } = await azure.authentication(deviceId)
  assert.equal(type, 'sas')
  assert.equal(Buffer.from(symmetricKey.primaryKey ?? '', 'base64').length >= 32, true)
  assert.notEqual(symmetricKey.primaryKey, symmetricKey.secondaryKey)
  assert.ok((await registry.list()).responseBody.some((device) => device.deviceId === deviceId))
})

test('the registry updates and deletes an identity, and its twin goes with it', async () => {
  const { deviceId } = await azure.newDevice()
  const before = await azure.authentication(deviceId)
  await azure.setStatus(deviceId, 'disabled')
  const { responseBody: disabled } = await registry.get(deviceId)
  assert.equal(disabled.status, 'disabled')
  assert.deepEqual((await azure.authentication(deviceId)).symmetricKey, before.symmetricKey)
  await registry.delete(deviceId)
  await assert.rejects(registry.get(deviceId), { name: 'DeviceNotFoundError' })
  await assert.rejects(registry.getTwin(deviceId), { name: 'DeviceNotFoundError' })
  await assert.rejects(registry.delete(deviceId), { name: 'DeviceNotFoundError' })
})

test('the registry refuses a second identity of one name, and takes the same name in other letters', async () => {
  const { deviceId } = await azure.newDevice()
  await assert.rejects(registry.create({ deviceId }), { name: 'DeviceAlreadyExistsError' })
  await registry.create({ deviceId: deviceId.toUpperCase() })
})

test('the registry creates and removes many identities at once', async () => {
  const devices = [azure.newId(), azure.newId(), azure.newId()].map((deviceId) => ({ deviceId }))
  const { responseBody } = await registry.addDevices(devices)
  assert.equal(responseBody.isSuccessful, true)
  for (const { deviceId } of devices) assert.equal((await registry.get(deviceId)).responseBody.deviceId, deviceId)
  await registry.removeDevices(devices, true)
  for (const { deviceId } of devices) await assert.rejects(registry.get(deviceId), { name: 'DeviceNotFoundError' })
})

test('a twin is merged, its version goes up, and an outdated ETag conflicts', async () => {
  const { deviceId } = await azure.newDevice()
  const { responseBody: first } = await registry.getTwin(deviceId)
  const patch = { tags: { site: 'a', wave: { number: 1 } }, properties: { desired: { auth: { mode: 'x509' } } } }
  const { responseBody: second } = await registry.updateTwin(deviceId, patch, first.etag)
  assert.equal(second.properties.desired.$version, first.properties.desired.$version + 1)
  assert.notEqual(second.etag, first.etag)
  await assert.rejects(registry.updateTwin(deviceId, { tags: { site: 'b' } }, first.etag), { name: 'InvalidEtagError' })

  const next = { tags: { wave: { number: null, letter: 'b' } } }
  const { responseBody: third } = await registry.updateTwin(deviceId, next, second.etag)
  assert.deepEqual(third.tags, { site: 'a', wave: { letter: 'b' } })
  assert.equal(third.properties.desired.$version, second.properties.desired.$version)
  assert.equal(third.properties.desired.auth.mode, 'x509')
  await assert.rejects(registry.updateTwin(azure.newId(), next, '*'), { name: 'DeviceNotFoundError' })
})

test('a twin refuses what breaks its limits', async () => {
  const { deviceId } = await azure.newDevice()
  const update = (desired: object) => registry.updateTwin(deviceId, { properties: { desired } }, '*')
  await assert.rejects(update({ large: 'x'.repeat(4097) }), { name: 'ArgumentError' })
  await assert.rejects(update({ 'a.b': 1 }), { name: 'ArgumentError' })
  await assert.rejects(update({ many: Array.from({ length: 9 }, () => 'x'.repeat(4000)) }), { name: 'ArgumentError' })
})

test('a query finds devices by tag and by what they report, page by page', async () => {
  const site = azure.newId()
  const devices = await Promise.all([azure.newDevice(), azure.newDevice(), azure.newDevice()])
  for (const { deviceId } of devices) await registry.updateTwin(deviceId, { tags: { site } }, '*')
  const query = registry.createQuery(`SELECT * FROM devices WHERE tags.site = '${site}'`, 2)
  const pages: string[][] = []
  while (query.hasMoreResults) pages.push((await query.nextAsTwin()).result.map((twin) => twin.deviceId))
  assert.deepEqual(
    pages.map((page) => page.length),
    [2, 1],
  )
  assert.deepEqual(pages.flat().toSorted(), devices.map(({ deviceId }) => deviceId).toSorted())

  const [first] = devices
  const [client] = nodeClients
  assert.ok(first !== undefined && client !== undefined)
  await using device = await client.open({ connectionString: first.connectionString })
  await device.report({ auth: { mode: 'sas' } })
  const condition = `tags.site = '${site}' AND properties.reported.auth.mode = 'sas'`
  const found = await registry.createQuery(`SELECT deviceId FROM devices WHERE ${condition}`).next()
  assert.deepEqual(found.result, [{ deviceId: first.deviceId }])
  await assert.rejects(registry.createQuery('SELECT FROM WHERE').next(), { name: 'ArgumentError' })
})

test('a method call to a device that is away fails with 404103, to one that nobody registered with 404001', async () => {
  const { deviceId } = await azure.newDevice()
  const call = { methodName: 'restart', payload: {}, responseTimeoutInSeconds: 5 }
  await assert.rejects(azure.methods.invokeDeviceMethod(deviceId, call), { responseBody: /404103/ })
  await assert.rejects(azure.methods.invokeDeviceMethod(azure.newId(), call), { name: 'DeviceNotFoundError' })
})

test('a wrong key, an unknown policy and a policy without the right are refused as UnauthorizedError', async () => {
  const { deviceId } = await azure.newDevice()
  const withKey = azure.hubString.replace(/SharedAccessKey=.*/, strangeKey)
  await assert.rejects(iotHub.Registry.fromConnectionString(withKey).get(deviceId), { name: 'UnauthorizedError' })
  const withName = azure.hubString.replace('iothubowner', 'nobody')
  await assert.rejects(iotHub.Registry.fromConnectionString(withName).get(deviceId), { name: 'UnauthorizedError' })
  const reader = iotHub.Registry.fromConnectionString(azure.hubStringOf('registryRead'))
  assert.equal((await reader.get(deviceId)).responseBody.deviceId, deviceId)
  await assert.rejects(reader.create({ deviceId: azure.newId() }), { name: 'UnauthorizedError' })

  const service = provisioningService.ProvisioningServiceClient
  const dps = service.fromConnectionString(azure.dpsString.replace(/SharedAccessKey=.*/, strangeKey))
  await assert.rejects(dps.getIndividualEnrollment(deviceId), { name: 'UnauthorizedError' })
})

const keyed = (): AttestationMechanism => ({
  type: 'symmetricKey',
  symmetricKey: { primaryKey: randomBytes(32).toString('base64'), secondaryKey: randomBytes(32).toString('base64') },
})

const enrollment = (registrationId: string) => ({ registrationId, attestation: keyed() }) as IndividualEnrollment

/** With a callback: the promise that the package gives without one never settles. */
function createInBulk(ids: readonly string[]) {
  return new Promise<BulkResult>((resolve, reject) => {
    const operation = { mode: 'create' as const, enrollments: ids.map(enrollment) }
    enrollments.runBulkEnrollmentOperation(operation, (error, result) => {
      if (error || result === undefined) reject(error ?? new Error('no result'))
      else resolve(result)
    })
  })
}

interface BulkResult {
  readonly isSuccessful: boolean
  readonly errors: readonly { readonly registrationId: string }[]
}

test('an individual enrollment is made, read, changed by its ETag and deleted', async () => {
  const registrationId = azure.newId()
  const attestation = keyed()
  await azure.enroll(registrationId, attestation)
  const { responseBody: first } = await enrollments.getIndividualEnrollment(registrationId)
  assert.equal(first.registrationId, registrationId)
  assert.equal(first.provisioningStatus, 'enabled')
  const { responseBody: mechanism } = await enrollments.getIndividualEnrollmentAttestationMechanism(registrationId)
  assert.deepEqual(mechanism.symmetricKey, attestation.symmetricKey)

  const { responseBody: second } = await enrollments.createOrUpdateIndividualEnrollment({
    ...first,
    provisioningStatus: 'disabled',
  })
  assert.equal(second.provisioningStatus, 'disabled')
  assert.notEqual(second.etag, first.etag)
  const outdated = { ...first, deviceId: 'other' }
  await assert.rejects(enrollments.createOrUpdateIndividualEnrollment(outdated), { name: 'InvalidEtagError' })
  await assert.rejects(enrollments.deleteIndividualEnrollment(registrationId, first.etag), { name: 'InvalidEtagError' })
  await enrollments.deleteIndividualEnrollment(second)
  await assert.rejects(enrollments.getIndividualEnrollment(registrationId), { responseBody: /"errorCode":404\d{3}/ })
})

test('many enrollments are made at once, and one that cannot be is named', async () => {
  const [first, second] = [azure.newId(), azure.newId()]
  assert.equal((await createInBulk([first])).isSuccessful, true)
  const { isSuccessful, errors } = await createInBulk([first, second])
  assert.equal(isSuccessful, false)
  assert.deepEqual(
    errors.map(({ registrationId }) => registrationId),
    [first],
  )
  assert.equal((await enrollments.getIndividualEnrollment(second)).responseBody.registrationId, second)
})

test('an enrollment group is made, read, found by a query and deleted', async () => {
  const { enrollmentGroupId, authority } = await azure.enrollGroup({ initialTwin: { tags: { wave: 'pilot' } } })
  const { responseBody: group } = await enrollments.getEnrollmentGroup(enrollmentGroupId)
  assert.equal(group.enrollmentGroupId, enrollmentGroupId)
  assert.equal(group.attestation.type, 'x509')
  const info = group.attestation.x509?.signingCertificates?.primary.info
  assert.match(info?.subjectName ?? '', new RegExp(enrollmentGroupId))
  assert.ok(!authority.certificatePem.includes('PRIVATE'))

  const found: string[] = []
  const query = enrollments.createEnrollmentGroupQuery(everything, 1)
  while (query.hasMoreResults) {
    const page = (await query.next()).responseBody as unknown as { readonly enrollmentGroupId: string }[]
    assert.ok(page.length <= 1)
    found.push(...page.map((each) => each.enrollmentGroupId))
  }
  assert.ok(found.includes(enrollmentGroupId))
  await enrollments.deleteEnrollmentGroup(enrollmentGroupId)
  await assert.rejects(enrollments.getEnrollmentGroup(enrollmentGroupId), { responseBody: /"errorCode":404\d{3}/ })
})

test('what a device registered is read and deleted, and its identity stays', async () => {
  const { enrollmentGroupId, authority } = await azure.enrollGroup()
  const registrationId = azure.newId()
  const [client] = nodeClients
  assert.ok(client !== undefined)
  await client.register({ registrationId, proof: await authority.makeDevice(registrationId) })
  const { responseBody: state } = await enrollments.getDeviceRegistrationState(registrationId)
  assert.equal(state.status, 'assigned')
  assert.equal(state.assignedHub, azure.hubHost)

  const query = enrollments.createEnrollmentGroupDeviceRegistrationStateQuery(everything, enrollmentGroupId)
  const listed = (await query.next()).responseBody as unknown as { readonly registrationId: string }[]
  assert.deepEqual(
    listed.map((each) => each.registrationId),
    [registrationId],
  )
  await enrollments.deleteDeviceRegistrationState(registrationId)
  await assert.rejects(enrollments.getDeviceRegistrationState(registrationId), { responseBody: /"errorCode":404\d{3}/ })
  assert.equal((await registry.get(registrationId)).responseBody.deviceId, registrationId)
})
