/** Enrollments, groups and registrations, called by the unmodified package azure-iot-provisioning-service. */
import type { EnrollmentGroup, IndividualEnrollment } from 'azure-iot-provisioning-service/dist/interfaces.js'
import assert from 'node:assert/strict'
import { after, before, beforeEach, test } from 'node:test'
import { deriveDeviceKey, signSas } from '../cloud/sas.ts'
import { createDevice } from './cloud-dps-kit.ts'
import type { ServiceBench } from './cloud-service-kit.ts'
import { signFor, startServiceBench } from './cloud-service-kit.ts'

const VERSION = 'api-version=2021-10-01'
const KEY = Buffer.alloc(32, 4).toString('base64')
const symmetricKey = { primaryKey: KEY, secondaryKey: KEY }

let bench: ServiceBench
let host: string

before(async () => {
  bench = await startServiceBench()
  host = bench.cloud.dps.host
})

after(() => bench[Symbol.asyncDispose]())

beforeEach(() => {
  const { enrollments, records } = bench.cloud.dps
  for (const kind of ['individual', 'group'] as const)
    for (const { id } of enrollments.all(kind)) enrollments.remove(kind, id)
  for (const { state } of records.all()) records.remove(state.registrationId)
})

function group(more: Partial<EnrollmentGroup> = {}): EnrollmentGroup {
  const attestation = { type: 'symmetricKey', symmetricKey } as const
  return { enrollmentGroupId: 'edge-keys', attestation, provisioningStatus: 'enabled', ...more }
}

/** The package declares everything as required that the service fills in. */
function individual(more: object = {}): IndividualEnrollment {
  const attestation = { type: 'symmetricKey', symmetricKey }
  return { registrationId: 'edge-0042', attestation, ...more } as IndividualEnrollment
}

/** Lets a device of the group edge-keys register at the DPS of the stand-in. */
async function registerDevice(registrationId: string): Promise<void> {
  const { dps, idScope } = bench.cloud
  const password = signSas({
    ...{ resource: `${idScope}/registrations/${registrationId}`, key: deriveDeviceKey(KEY, registrationId) },
    ...{ skn: 'registration', expiresAtSeconds: Math.floor(Date.now() / 1000) + 3600 },
  })
  await createDevice(dps, { registrationId, password }).provision()
}

/** Name of the package's error class, status, and DPS's own code. */
async function refusal(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
    return 'accepted'
  } catch (error) {
    const { name, response } = error as {
      name: string
      response?: { statusCode: number; headers: Record<string, string> }
    }
    return `${name} ${response?.statusCode ?? ''} ${response?.headers['x-ms-error-code'] ?? ''}`.trim()
  }
}

test('a group of certificates is created, read without them, updated by its etag and deleted', async () => {
  const { provisioning, cloud } = bench
  const certificate = cloud.authority.intermediate.certificatePem
  const attestation = { type: 'x509', x509: { signingCertificates: { primary: { certificate } } } } as const
  const { responseBody: created } = await provisioning.createOrUpdateEnrollmentGroup(group({ attestation }))
  assert.equal(created.enrollmentGroupId, 'edge-keys')
  assert.equal(created.provisioningStatus, 'enabled')
  assert.deepEqual(created.reprovisionPolicy, { updateHubAssignment: true, migrateDeviceData: true })
  const shown = created.attestation.x509?.signingCertificates?.primary
  assert.equal(shown?.certificate, undefined)
  assert.match(shown?.info?.subjectName ?? '', /CN=/)

  const { responseBody: updated } = await provisioning.createOrUpdateEnrollmentGroup({
    ...created,
    provisioningStatus: 'disabled',
  })
  assert.equal(updated.provisioningStatus, 'disabled')
  assert.notEqual(updated.etag, created.etag)
  const kept = cloud.dps.enrollments.get('group', 'edge-keys')
  assert.equal(
    kept?.attestation.type === 'x509' && kept.attestation.certificates[0]?.certificate.toString(),
    certificate,
  )

  assert.equal(await refusal(provisioning.createOrUpdateEnrollmentGroup(created)), 'InvalidEtagError 412 412001')
  assert.equal(await refusal(provisioning.deleteEnrollmentGroup(created)), 'InvalidEtagError 412 412001')
  assert.equal(await refusal(provisioning.deleteEnrollmentGroup(updated)), 'accepted')
  assert.equal(await refusal(provisioning.getEnrollmentGroup('edge-keys')), 'Error 404 404201')
})

test('keys are hidden in an enrollment and shown by its attestation mechanism', async () => {
  const { provisioning } = bench
  await provisioning.createOrUpdateEnrollmentGroup(group())
  await provisioning.createOrUpdateIndividualEnrollment(individual())
  const { responseBody: read } = await provisioning.getEnrollmentGroup('edge-keys')
  assert.ok(!JSON.stringify(read).includes(KEY))
  const ofGroup = await provisioning.getEnrollmentGroupAttestationMechanism('edge-keys')
  assert.deepEqual(ofGroup.responseBody, { type: 'symmetricKey', symmetricKey })
  const ofIndividual = await provisioning.getIndividualEnrollmentAttestationMechanism('edge-0042')
  assert.deepEqual(ofIndividual.responseBody, { type: 'symmetricKey', symmetricKey })
})

test('an individual enrollment keeps every field that the service knows', async () => {
  const wish = individual({
    deviceId: 'Pump-7',
    initialTwin: { tags: { site: 'a' }, properties: { desired: { n: 1 } } },
    iotHubHostName: bench.cloud.hub.host,
    capabilities: { iotEdge: true },
    reprovisionPolicy: { updateHubAssignment: false, migrateDeviceData: false },
    allocationPolicy: 'static',
  })
  await bench.provisioning.createOrUpdateIndividualEnrollment(wish)
  const { responseBody: read } = await bench.provisioning.getIndividualEnrollment('edge-0042')
  for (const field of [
    'deviceId',
    'initialTwin',
    'iotHubHostName',
    'capabilities',
    'reprovisionPolicy',
    'allocationPolicy',
  ] as const)
    assert.deepEqual(read[field], wish[field], field)
  assert.match(read.createdDateTimeUtc, /^\d{4}-\d\d-\d\dT[\d:]{8}\.\d{7}Z$/)
})

test('creating what exists without its etag is 409, reading or deleting what does not is 404', async () => {
  const { provisioning } = bench
  await provisioning.createOrUpdateIndividualEnrollment(individual())
  assert.equal(
    await refusal(provisioning.createOrUpdateIndividualEnrollment(individual())),
    'DeviceAlreadyExistsError 409 409201',
  )
  assert.equal(await refusal(provisioning.getIndividualEnrollment('nobody')), 'Error 404 404201')
  assert.equal(await refusal(provisioning.deleteIndividualEnrollment('nobody')), 'Error 404 404201')
  assert.equal(await refusal(provisioning.getDeviceRegistrationState('nobody')), 'Error 404 404202')
})

test('what is no enrollment is 400 with the reason in the body', async () => {
  const certificate = { type: 'x509', x509: { clientCertificates: { primary: { certificate: 'none' } } } }
  const error = await bench.provisioning
    .createOrUpdateIndividualEnrollment(individual({ attestation: certificate }))
    .catch((cause: unknown) => cause)
  const { errorCode, message, trackingId } = JSON.parse((error as { responseBody: string }).responseBody) as Record<
    string,
    unknown
  >
  assert.equal(errorCode, 400004)
  assert.match(String(message), /primary certificate cannot be read/)
  assert.equal(typeof trackingId, 'string')
  assert.match(
    await refusal(bench.provisioning.createOrUpdateEnrollmentGroup(group({ iotHubs: ['x'] }))),
    /^ArgumentError 400/,
  )
})

test('enrollments are queried page by page', async () => {
  // The promise of this one call never settles in the package; its callback does.
  const { promise, resolve } = Promise.withResolvers<unknown>()
  const enrollments = ['a', 'b', 'c', 'd', 'e'].map((registrationId) => individual({ registrationId }))
  bench.provisioning.runBulkEnrollmentOperation({ mode: 'create', enrollments }, (error) => resolve(error))
  assert.equal(await promise, null)
  const query = bench.provisioning.createIndividualEnrollmentQuery({ query: 'SELECT * FROM enrollments' }, 2)
  const seen: string[][] = []
  while (query.hasMoreResults) {
    // Without the token the package asks for the first page again.
    const { responseBody } = await query.next(query.continuationToken)
    seen.push((responseBody as unknown as { registrationId: string }[]).map((enrollment) => enrollment.registrationId))
  }
  assert.deepEqual(seen, [['a', 'b'], ['c', 'd'], ['e']])
})

test('a registration is read, listed by its group, shown in its individual enrollment, and deleted', async () => {
  const { provisioning, cloud } = bench
  cloud.dps.enrollments.put('group', 'edge-keys', group())
  cloud.faults.set('pollsPerTenSeconds', 0)
  await registerDevice('edge-0042')
  await registerDevice('edge-0043')
  const { responseBody: state } = await provisioning.getDeviceRegistrationState('edge-0042')
  assert.equal(state.status, 'assigned')
  assert.equal(state.substatus, 'initialAssignment')
  const query = provisioning.createEnrollmentGroupDeviceRegistrationStateQuery(
    { query: 'SELECT * FROM registrations' },
    'edge-keys',
  )
  const { responseBody: states } = await query.next()
  assert.deepEqual(
    (states as unknown as { registrationId: string }[]).map(({ registrationId }) => registrationId),
    ['edge-0042', 'edge-0043'],
  )
  assert.equal((await bench.ask(host, 'POST', `/registrations/edge-keys/query?${VERSION}`)).status, 200)

  assert.equal(
    await refusal(provisioning.deleteDeviceRegistrationState('edge-0042', 'AAAA')),
    'InvalidEtagError 412 412001',
  )
  assert.equal(await refusal(provisioning.deleteDeviceRegistrationState(state)), 'accepted')
  assert.equal(await refusal(provisioning.getDeviceRegistrationState('edge-0042')), 'Error 404 404202')

  cloud.dps.enrollments.put('individual', 'edge-0050', {
    attestation: {
      type: 'symmetricKey',
      symmetricKey: { primaryKey: deriveDeviceKey(KEY, 'edge-0050'), secondaryKey: KEY },
    },
  })
  await registerDevice('edge-0050')
  const { responseBody: enrollment } = await provisioning.getIndividualEnrollment('edge-0050')
  assert.equal(enrollment.registrationState.status, 'assigned')
})

test('only the policy of DPS, over this host, in time, opens its service side', async () => {
  const { cloud } = bench
  const path = `/enrollmentGroups/edge-keys?${VERSION}`
  for (const [what, authorization] of [
    ['none', ''],
    ['another key', signFor(cloud, host, { key: KEY })],
    ['an expired one', signFor(cloud, host, { expiresInSeconds: -60 })],
    ['another host', signFor(cloud, host, { resource: bench.cloud.hub.host })],
    ['a policy of a hub', signFor(cloud, bench.cloud.hub.host, { resource: host })],
  ] as const) {
    const refused = await bench.ask(host, 'GET', path, { authorization })
    assert.equal(refused.status, 401, what)
    assert.equal((JSON.parse(refused.text) as { errorCode: number }).errorCode, 401002, what)
  }
  assert.equal((await bench.ask(host, 'GET', path)).status, 404)
})

/** Status of a raw request that the owner signed. */
async function status(method: string, path: string, body?: string): Promise<number> {
  return (await bench.ask(host, method, `${path}?${VERSION}`, body === undefined ? {} : { body })).status
}

test('broken requests are refused in the form of DPS and the service lives on', async () => {
  assert.equal(await status('PUT', '/enrollmentGroups/g', '{'), 400)
  assert.equal(await status('PUT', '/enrollmentGroups/g', '[]'), 400)
  assert.equal(await status('PUT', '/enrollmentGroups/g'), 400)
  assert.equal(await status('PUT', '/enrollmentGroups/g', '{"enrollmentGroupId":"h"}'), 400)
  assert.equal(await status('PUT', '/enrollmentGroups/g%20g', JSON.stringify(group({ enrollmentGroupId: 'g g' }))), 400)
  assert.equal(await status('POST', '/enrollments', '{}'), 400)
  assert.equal(await status('POST', '/enrollments/query', '{"query":"DROP"}'), 400)
  assert.equal(await status('PATCH', '/enrollments/x', '{}'), 404)
  assert.equal(await status('PUT', '/enrollments/x', 'x'.repeat(300_000)), 413)
  assert.equal(await status('POST', '/enrollments/query', '{"query":"SELECT * FROM enrollments"}'), 200)
})
