/** Renewal over the hub, by the situations of the scenario log of the C# preview (numbers in brackets are the log's). */
import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'

import { startCloud, type Cloud } from '../cloud/cloud.ts'
import type { SasFleet } from '../cloud/fleets.ts'
import {
  ask,
  connackOf,
  CREDENTIALS,
  expectSilence,
  makeCsr,
  makeManaged,
  nextAnswer,
  openHub,
  POLICY,
  publishRequest,
  unsubscribe,
  type ManagedDevice,
} from './cloud-certificate-kit.ts'
import { subscribe } from './cloud-client.ts'

let cloud: Cloud
let fleet: SasFleet
let device: ManagedDevice
let csr: string
let lastRid = 1000

before(async () => {
  cloud = await startCloud({ hubHosts: ['hub-1.localhost'] })
  await cloud.namespace.putPolicy(POLICY)
  fleet = cloud.enrollSasFleet('managed', { credentialPolicyName: POLICY })
  cloud.faults.set('retryAfterSeconds', 0)
  device = await makeManaged(cloud, fleet, 'edge-1')
  csr = (await makeCsr('/CN=edge-1')).csr
})
after(() => cloud.close())
afterEach(() => cloud.faults.reset())

const newRid = () => `rid-${(lastRid += 1)}`
const good = (more: object = {}) => ({ id: 'edge-1', csr, ...more })

async function subscribed() {
  const client = await openHub(cloud, device)
  assert.deepEqual(await subscribe(client, [CREDENTIALS], 0), [0])
  return client
}

/** Status and code of the first answer. */
async function refusalOf(body: unknown): Promise<readonly [number, number | undefined]> {
  await using client = await subscribed()
  const answer = await ask(client, newRid(), body)
  return [answer.status, answer.body.errorCode]
}

test('[001-010] each broken body is refused with its code', async () => {
  const bodies: readonly (readonly [unknown, number])[] = [
    ['', 400004],
    ['{"id":"edge-1","csr":', 400006],
    [['not', 'an', 'object'], 400004],
    [good({ csr: '' }), 400004],
    [good({ csr: 'A'.repeat(10_240) }), 400004],
    [good({ csr: 'not-valid-base64!!@@##' }), 400004],
    [good({ id: 'wrong-device' }), 400004],
    [good({ id: '' }), 400004],
    [good({ unknownField: 'value' }), 400004],
    [good({ replace: '123' }), 400004],
  ]
  for (const [body, code] of bodies) assert.deepEqual(await refusalOf(body), [400, code], JSON.stringify(body))
})

test('[011] replacing an unknown request is 412001 and names it', async () => {
  await using client = await subscribed()
  const answer = await ask(client, newRid(), good({ replace: 'db8c0f73-ac73-4b90' }))
  assert.equal(answer.body.errorCode, 412001)
  assert.deepEqual(answer.body.info, { requestId: 'db8c0f73-ac73-4b90' })
})

test('[012] a request that is no PKCS#10 is accepted, then 400037', async () => {
  await using client = await subscribed()
  assert.equal((await ask(client, newRid(), good({ csr: 'aGVsbG8=' }))).status, 202)
  assert.equal((await nextAnswer(client)).body.errorCode, 400037)
})

test('[014] without $rid nothing comes back', async () => {
  await using client = await subscribed()
  publishRequest(client, '', good())
  await expectSilence(client)
})

test('[015, 022] two requests in a row: 202 and 200 for each', async () => {
  await using client = await subscribed()
  for (const _ of [1, 2]) {
    assert.equal((await ask(client, newRid(), good())).status, 202)
    const answer = await nextAnswer(client)
    assert.equal(answer.status, 200)
    assert.equal(answer.body.certificates?.length, 3)
  }
})

test('[016, 026] a request before the subscription is never answered', async () => {
  await using client = await openHub(cloud, device)
  publishRequest(client, newRid(), good())
  await expectSilence(client)
  await subscribe(client, [CREDENTIALS], 0)
  await expectSilence(client)
})

test('[017, 018] the 200 waits while the device is not subscribed', async () => {
  cloud.faults.set('issuance', 'held')
  await using client = await subscribed()
  assert.equal((await ask(client, newRid(), good())).status, 202)
  await unsubscribe(client, CREDENTIALS)
  await cloud.hub.finishIssuance('edge-1')
  await expectSilence(client)
  await subscribe(client, [CREDENTIALS], 0)
  assert.equal((await nextAnswer(client)).status, 200)
})

test('[020, 021] after a reconnect with clean session the 200 comes with the subscription and not before', async () => {
  cloud.faults.set('issuance', 'held')
  const first = await subscribed()
  assert.equal((await ask(first, newRid(), good())).status, 202)
  await first[Symbol.asyncDispose]()
  await cloud.hub.finishIssuance('edge-1')
  await using client = await openHub(cloud, device)
  await expectSilence(client)
  await subscribe(client, [CREDENTIALS], 0)
  assert.equal((await nextAnswer(client)).status, 200)
})

test('[019] after a reconnect with a kept session the 200 comes by itself', async () => {
  cloud.faults.set('issuance', 'held')
  const first = await openHub(cloud, device, { clean: false })
  await subscribe(first, [CREDENTIALS], 0)
  assert.equal((await ask(first, newRid(), good())).status, 202)
  await first[Symbol.asyncDispose]()
  await cloud.hub.finishIssuance('edge-1')
  await using client = await openHub(cloud, device, { clean: false })
  assert.equal((await nextAnswer(client)).status, 200)
})

test('[023-025] a second request is 409004 until it replaces the first', async () => {
  cloud.faults.set('issuance', 'held')
  await using client = await subscribed()
  const first = newRid()
  assert.equal((await ask(client, first, good())).status, 202)
  const conflict = await ask(client, newRid(), good())
  assert.equal(conflict.body.errorCode, 409004)
  assert.equal(conflict.body.info?.['requestId'], first)
  assert.equal((await ask(client, newRid(), good({ replace: first }))).status, 202)
  assert.equal((await ask(client, newRid(), good({ replace: '*' }))).status, 202)
  await cloud.hub.finishIssuance('edge-1')
  assert.equal((await nextAnswer(client)).status, 200)
})

test('the same request under the same $rid is the same operation', async () => {
  cloud.faults.set('issuance', 'held')
  await using client = await subscribed()
  const rid = newRid()
  const [one, two] = [await ask(client, rid, good()), await ask(client, rid, good())]
  assert.deepEqual(two.body, one.body)
  await cloud.hub.finishIssuance('edge-1')
  assert.equal((await nextAnswer(client)).body.correlationId, one.body.correlationId)
})

test('an older api-version has no such filter', async () => {
  await using client = await openHub(cloud, device, { apiVersion: '2021-04-12' })
  assert.deepEqual(await subscribe(client, [CREDENTIALS], 0), [0x80])
})

test('a hub that was not synced, and one after a revocation, refuse the leaf', async () => {
  const other = await makeManaged(cloud, fleet, 'edge-2')
  assert.equal(await connackOf(cloud, other), 0)
  cloud.faults.set('credentialSync', 'notSynced')
  assert.equal(await connackOf(cloud, other), 5)
  cloud.faults.set('credentialSync', 'synced')
  cloud.namespace.revokeDevice('edge-2')
  assert.equal(await connackOf(cloud, other), 5)
})
