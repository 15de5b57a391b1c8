/** Who may renew over the hub, and who may not any more: azure-protocols.md 3.3, 3.4 and 3.7. */
import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'

import { systemClock } from '../../agent/system/clock.ts'
import { startCloud, type Cloud } from '../cloud/cloud.ts'
import type { SasFleet } from '../cloud/fleets.ts'
import { signSas } from '../cloud/sas.ts'
import {
  ask,
  connackOf,
  CREDENTIALS,
  expectSilence,
  groupToken,
  HUB_PREVIEW,
  makeCsr,
  makeManaged,
  openHub,
  POLICY,
  publishRequest,
  register,
} from './cloud-certificate-kit.ts'
import { connectDevice, subscribe } from './cloud-client.ts'

const DAY_MS = 86_400_000

let cloud: Cloud
let fleet: SasFleet
let ahead = 0

before(async () => {
  cloud = await startCloud({
    hubHosts: ['hub-1.localhost'],
    clock: { ...systemClock, now: () => Date.now() + ahead },
  })
  await cloud.namespace.putPolicy(POLICY, { validitySeconds: 3 * 86_400 })
  fleet = cloud.enrollSasFleet('managed', { credentialPolicyName: POLICY })
  cloud.faults.set('retryAfterSeconds', 0)
})
after(() => cloud.close())
afterEach(() => {
  cloud.faults.reset()
  ahead = 0
})

test('a hub that is not of the tier GEN2 refuses with 403010', async () => {
  const device = await makeManaged(cloud, fleet, 'tier-1')
  const { csr } = await makeCsr('/CN=tier-1')
  await using client = await openHub(cloud, device)
  await subscribe(client, [CREDENTIALS], 0)
  cloud.faults.set('hubTier', 'S1')
  const refused = await ask(client, 'rid-0001', { id: 'tier-1', csr })
  assert.deepEqual([refused.status, refused.body.errorCode], [403, 403010])
  cloud.faults.set('hubTier', 'GEN2')
  assert.equal((await ask(client, 'rid-0002', { id: 'tier-1', csr })).status, 202)
})

test('on a session that the key of the device opened, the answer is what the switch says: none, 403010, or that of any identity', async () => {
  const deviceId = 'sas-1'
  const answer = await register(
    cloud,
    { registrationId: deviceId, password: groupToken(cloud, fleet, deviceId), apiVersion: '2021-06-01' },
    { registrationId: deviceId },
  )
  assert.equal(answer.body.registrationState?.status, 'assigned')
  const { csr } = await makeCsr(`/CN=${deviceId}`)
  const password = signSas({
    resource: `${cloud.hub.host}/devices/${deviceId}`,
    key: fleet.deriveKey(deviceId),
    expiresAtSeconds: Math.floor(Date.now() / 1000) + 3_600,
  })
  await using client = await connectDevice(cloud, { deviceId, apiVersion: HUB_PREVIEW, password })
  assert.equal(client.connack.returnCode, 0)
  await subscribe(client, [CREDENTIALS], 0)
  publishRequest(client, 'rid-0003', { id: deviceId, csr })
  await expectSilence(client)
  cloud.faults.set('credentialsOverSas', 'refused')
  assert.equal((await ask(client, 'rid-0004', { id: deviceId, csr })).body.errorCode, 403010)
  cloud.faults.set('credentialsOverSas', 'allowed')
  // Let in, it gets what any identity without a credential policy gets: it was assigned without a request.
  assert.equal((await ask(client, 'rid-0005', { id: deviceId, csr })).body.errorCode, 412005)
})

test('an issued certificate that has expired opens no session, so that nothing can be renewed with it', async () => {
  const device = await makeManaged(cloud, fleet, 'late-1')
  assert.equal(await connackOf(cloud, device), 0)
  ahead = 2 * DAY_MS
  assert.equal(await connackOf(cloud, device), 0)
  ahead = 3 * DAY_MS + 1_000
  assert.equal(await connackOf(cloud, device), 5)
})

test('a policy whose authority was revoked: its certificates open nothing, live sessions end, and new ones are taken', async () => {
  const device = await makeManaged(cloud, fleet, 'gone-1')
  await using client = await openHub(cloud, device)
  assert.equal(client.connack.returnCode, 0)
  await cloud.namespace.revokeIssuer(POLICY)
  await client.closed
  assert.equal(await connackOf(cloud, device), 5)
  assert.equal(await connackOf(cloud, await makeManaged(cloud, fleet, 'gone-1')), 0)
})

test('the authority of a policy that is not there cannot be revoked', async () => {
  await assert.rejects(cloud.namespace.revokeIssuer('nobody'), { message: /No credential policy is named nobody/ })
})
