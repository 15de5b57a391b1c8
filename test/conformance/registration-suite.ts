/** Registration through DPS, as every official client has to find it. Enrollments are made with the official service package. */
import assert from 'node:assert/strict'
import { createHash, createHmac, randomBytes, X509Certificate } from 'node:crypto'
import { it } from 'node:test'

import { makeTemporaryFolder } from '../kit/openssl.ts'
import type { Azure } from './azure.ts'
import type { OfficialClient } from './client.ts'
import { strangeAuthority } from './device-authority.ts'
import { refusedAs } from './refused-as.ts'

export function judgeRegistration(azure: Azure, client: OfficialClient): void {
  it('registers by a certificate of a group, and the hub then takes that certificate and no other', async () => {
    const group = await azure.enrollGroup({
      initialTwin: { tags: { site: 'a' }, properties: { desired: { pace: 7 } } },
    })
    const deviceId = azure.newId()
    const credential = await group.authority.makeDevice(deviceId)
    const first = await client.register({ registrationId: deviceId, proof: credential })
    assert.deepEqual(
      { status: first.status, deviceId: first.deviceId, hub: first.assignedHub },
      { status: 'assigned', deviceId, hub: azure.hubHost },
    )
    assert.equal(first.substatus, 'initialAssignment')

    const authentication = await azure.authentication(deviceId)
    assert.equal(authentication.type, 'selfSigned')
    const leaf = new X509Certificate(credential.leafPem)
    const thumbprint = createHash('sha256').update(leaf.raw).digest('hex').toUpperCase()
    assert.equal(authentication.x509Thumbprint.primaryThumbprint?.toUpperCase(), thumbprint)

    await using device = await client.open({ host: first.assignedHub, deviceId, credential })
    assert.equal((await device.twin()).desired['pace'], 7)
    await device.send({ body: '{}', messageId: 'm-1' })
    const { system } = await azure.telemetry(deviceId, 'm-1')
    assert.equal(methodType(system), 'x509')

    const other = await group.authority.makeDevice(deviceId)
    await refusedAs(client, 'connack', client.open({ host: first.assignedHub, deviceId, credential: other }))
  })

  it('registers by a certificate of its own, under another device ID', async () => {
    const registrationId = azure.newId()
    const credential = await azure.authority.makeDevice(registrationId)
    const deviceId = `Device-Of-${registrationId}`
    const x509 = { clientCertificates: { primary: { certificate: credential.leafPem } } }
    await azure.enroll(registrationId, { type: 'x509', x509 }, { deviceId })
    const registration = await client.register({ registrationId, proof: credential })
    assert.equal(registration.deviceId, deviceId)
    await using device = await client.open({ host: registration.assignedHub, deviceId, credential })
    await device.send({ body: '{}', messageId: 'm-1' })
    assert.equal(methodType((await azure.telemetry(deviceId, 'm-1')).system), 'x509')
  })

  it('registers by a symmetric key of its own, and the hub then takes that key', async () => {
    const registrationId = azure.newId()
    const [primaryKey, secondaryKey] = [newKey(), newKey()]
    await azure.enroll(registrationId, { type: 'symmetricKey', symmetricKey: { primaryKey, secondaryKey } })
    const registration = await client.register({ registrationId, proof: { key: secondaryKey } })
    assert.equal((await azure.authentication(registration.deviceId)).type, 'sas')
    const { assignedHub, deviceId } = registration
    const connectionString = `HostName=${assignedHub};DeviceId=${deviceId};SharedAccessKey=${secondaryKey}`
    await using device = await client.open({ connectionString })
    await device.send({ body: '{}', messageId: 'm-1' })
    assert.equal(methodType((await azure.telemetry(deviceId, 'm-1')).system), 'sas')
  })

  it('registers by a key derived from the group key, and again after it', async () => {
    const groupKey = newKey(64)
    const symmetricKey = { primaryKey: groupKey, secondaryKey: newKey(64) }
    await azure.enrollGroup({ attestation: { type: 'symmetricKey', symmetricKey } })
    const registrationId = azure.newId()
    // The rule of Microsoft's page on symmetric key attestation, written out here on purpose.
    const key = createHmac('sha256', Buffer.from(groupKey, 'base64')).update(registrationId).digest('base64')
    const first = await client.register({ registrationId, proof: { key } })
    assert.equal(first.status, 'assigned')
    const again = await client.register({ registrationId, proof: { key } })
    assert.equal(again.assignedHub, first.assignedHub)
    assert.equal((await azure.authentication(first.deviceId)).symmetricKey.primaryKey, key)
    await refusedAs(client, '401', client.register({ registrationId, proof: { key: newKey() } }))
  })

  it('is refused by DPS with a wrong key, an unknown ID scope or nobody’s certificate', async () => {
    const registrationId = azure.newId()
    const [primaryKey, secondaryKey] = [newKey(), newKey()]
    await azure.enroll(registrationId, { type: 'symmetricKey', symmetricKey: { primaryKey, secondaryKey } })
    await refusedAs(client, '401', client.register({ registrationId, proof: { key: newKey() } }))
    const idScope = '0ne0000FFFF'
    await refusedAs(client, '404', client.register({ registrationId, proof: { key: primaryKey }, idScope }))

    await using folder = await makeTemporaryFolder()
    const stranger = await strangeAuthority(folder.path)
    const proof = await stranger.makeDevice(registrationId)
    await refusedAs(client, '401', client.register({ registrationId, proof }))
  })

  it('is refused by DPS with a certificate of another name or one that has expired', async () => {
    const group = await azure.enrollGroup()
    const registrationId = azure.newId()
    const ofAnother = await group.authority.makeDevice(azure.newId())
    await refusedAs(client, '401', client.register({ registrationId, proof: ofAnother }))

    const [dayMs, now] = [86_400_000, Date.now()]
    const profile = { notBefore: new Date(now - 3 * dayMs), notAfter: new Date(now - dayMs) }
    const expired = await group.authority.makeDevice(registrationId, { profile })
    await refusedAs(client, '401', client.register({ registrationId, proof: expired }))
  })

  it('is refused while its enrollment is disabled, and only that long', async () => {
    const group = await azure.enrollGroup({ provisioningStatus: 'disabled' })
    const registrationId = azure.newId()
    const proof = await group.authority.makeDevice(registrationId)
    await refusedAs(client, '401', client.register({ registrationId, proof }))
    await group.setStatus('enabled')
    assert.equal((await client.register({ registrationId, proof })).status, 'assigned')
  })
}

/** What needs a fault, which every device of the file would feel: one test at a time. */
export function judgeTrouble(azure: Azure, client: OfficialClient): void {
  it('comes through when DPS throttles it at first, after as long as retry-after says', async () => {
    const group = await azure.enrollGroup()
    const registrationId = azure.newId()
    const proof = await group.authority.makeDevice(registrationId)
    azure.faults.set('retryAfterSeconds', 3)
    azure.faults.set('dpsAnswer', '429')
    const registering = client.register({ registrationId, proof })
    const refused = await azure.refusal(registrationId, /429/)
    azure.faults.set('dpsAnswer', 'off')
    azure.faults.set('retryAfterSeconds', 0)
    assert.equal((await registering).status, 'assigned')
    const waitedMs = (await azure.registration(registrationId)).at - refused.at
    assert.ok(waitedMs > 2900, `it waited ${waitedMs} ms`)
  })

  it('names a refusal at CONNECT and a failed registration as its documentation does', async () => {
    const group = await azure.enrollGroup()
    const registrationId = azure.newId()
    const ofAnother = await group.authority.makeDevice(azure.newId())
    azure.faults.set('dpsCredentialRefusal', 'connack')
    await refusedAs(client, 'dpsConnack', client.register({ registrationId, proof: ofAnother }))
    azure.faults.set('dpsOutcome', 'failed')
    const proof = await group.authority.makeDevice(registrationId)
    await refusedAs(client, 'failed', client.register({ registrationId, proof }))
  })
}

function newKey(bytes = 32): string {
  return randomBytes(bytes).toString('base64')
}

/** `type` of the authentication that the hub stamped on a message. */
function methodType(system: Readonly<Record<string, string>>): unknown {
  const stamp = JSON.parse(system['iothub-connection-auth-method'] ?? '{}') as { readonly type?: unknown }
  return stamp.type
}
