import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'

import { startCloud, type Cloud } from '../cloud/cloud.ts'
import { newIdentity, withCredential } from '../cloud/hub/identity.ts'
import type { Identity, IdentityCredential } from '../cloud/model.ts'
import { signSas } from '../cloud/sas.ts'
import { createFakeClock } from '../kit/clock.ts'
import { makeKey, makeRequest, makeRoot } from '../kit/openssl.ts'
import { connectDevice, dialWebSocket, greet, publication, type Greeting } from './cloud-client.ts'

const KEYS = {
  primaryKey: Buffer.alloc(32, 1).toString('base64'),
  secondaryKey: Buffer.alloc(32, 2).toString('base64'),
}
const HOST = 'hub-1.localhost'

let cloud: Cloud
let edge: Awaited<ReturnType<Cloud['authority']['makeDevice']>>

before(async () => {
  cloud = await startCloud()
  edge = await cloud.authority.makeDevice('edge-1')
})
after(() => cloud.close())

/** Makes the identity anew, connects, and says what came of it: the return code, and the reason in the record. */
async function outcome(
  authentication: IdentityCredential | 'none' | Partial<Identity>,
  greeting: Partial<Greeting>,
): Promise<{ readonly code: number | undefined; readonly reason: string }> {
  const since = cloud.record.seq()
  const bare = newIdentity('edge-1')
  if (authentication === 'none') cloud.hub.putIdentity(bare)
  else if ('type' in authentication) cloud.hub.putIdentity(withCredential(bare, authentication))
  else cloud.hub.putIdentity({ ...bare, ...authentication })
  await using client = await connectDevice(cloud, { deviceId: 'edge-1', ...greeting })
  const { returnCode: code } = client.connack
  if (code === 0) return { code, reason: '' }
  assert.equal(await client.closed, 0, 'a refused client is disconnected')
  const event = await cloud.record.waitFor(({ kind }) => kind === 'refused', { since })
  return { code, reason: 'reason' in event ? event.reason : '' }
}

const sas: IdentityCredential = { type: 'sas', ...KEYS }
const ca: IdentityCredential = { type: 'certificateAuthority' }
const thumbprints = (primary: string, secondary = primary): IdentityCredential => ({
  type: 'selfSigned',
  primaryThumbprint: primary,
  secondaryThumbprint: secondary,
})
const sha256 = (pem: string) => new X509Certificate(pem).fingerprint256
const sha1 = (pem: string) => new X509Certificate(pem).fingerprint
const inSeconds = (seconds: number) => Math.floor(Date.now() / 1000) + seconds
const daysAhead = (days: number) => new Date(Date.now() + days * 86_400_000)
const token = (more: Partial<Parameters<typeof signSas>[0]> = {}) =>
  signSas({ resource: `${HOST}/devices/edge-1`, key: KEYS.primaryKey, expiresAtSeconds: inSeconds(600), ...more })

test('each of the four kinds of identity takes its own credential', async () => {
  const credential = edge
  const accepted = [
    await outcome(sas, { password: token() }),
    await outcome(sas, { password: token({ key: KEYS.secondaryKey }) }),
    await outcome(thumbprints(sha256(edge.leafPem)), { credential }),
    await outcome(thumbprints(sha1(edge.leafPem)), { credential }),
    await outcome(thumbprints('00'.repeat(32), sha256(edge.leafPem)), { credential }),
    await outcome(thumbprints(sha256(edge.leafPem).replaceAll(':', '').toLowerCase()), { credential }),
    await outcome(ca, { credential }),
  ]
  assert.deepEqual(
    accepted.map(({ code }) => code),
    accepted.map(() => 0),
  )
})

test('a token of a parent resource is good, one of another device is not', async () => {
  assert.equal((await outcome(sas, { password: token({ resource: HOST }) })).code, 0)
  assert.equal((await outcome(sas, { password: token({ resource: `${HOST}/devices` }) })).code, 0)
  for (const resource of [`${HOST}/devices/edge-2`, `${HOST}/devices/edge`, `${HOST}/devices/EDGE-1`, `x${HOST}`]) {
    const { code, reason } = await outcome(sas, { password: token({ resource }) })
    assert.equal(code, 5)
    assert.match(reason, /the token is for/)
  }
})

test('a host with its port is tolerated in user name and token, in both encodings of the token', async () => {
  const host = `${HOST}:${cloud.port}`
  const username = `${host}/edge-1/?api-version=2021-04-12&DeviceClientType=x%2F1`
  for (const encoding of ['upper', 'lower', 'raw'] as const) {
    const password = token({ resource: `${host}/devices/edge-1`, encoding })
    assert.equal((await outcome(sas, { username, password })).code, 0)
  }
})

const refusals: readonly {
  readonly rule: string
  readonly identity: Parameters<typeof outcome>[0]
  readonly greeting: () => Partial<Greeting>
  readonly reason: RegExp
}[] = [
  {
    rule: 'a user name without /?',
    identity: sas,
    greeting: () => ({ username: `${HOST}/edge-1/api-version=2021-04-12`, password: token() }),
    reason: /the user name has not the form/,
  },
  {
    rule: 'the host of another hub',
    identity: sas,
    greeting: () => ({ username: 'hub-2.localhost/edge-1/?api-version=2021-04-12', password: token() }),
    reason: /names the host hub-2.localhost/,
  },
  {
    rule: 'an unknown api-version',
    identity: sas,
    greeting: () => ({ apiVersion: '2031-01-01', password: token() }),
    reason: /api-version 2031-01-01 is not known/,
  },
  {
    rule: 'a client ID in another case',
    identity: sas,
    greeting: () => ({ clientId: 'Edge-1', password: token() }),
    reason: /client ID Edge-1 is not the device ID/,
  },
  {
    rule: 'a device ID in another case',
    identity: sas,
    greeting: () => ({ deviceId: 'EDGE-1', password: token() }),
    reason: /404001: no device EDGE-1/,
  },
  {
    rule: 'a token on an identity with thumbprints',
    identity: thumbprints('AA'),
    greeting: () => ({ password: token() }),
    reason: /a token for an identity of type selfSigned/,
  },
  {
    rule: 'a token on an identity of CA type',
    identity: ca,
    greeting: () => ({ password: token() }),
    reason: /a token for an identity of type certificateAuthority/,
  },
  {
    rule: 'a certificate on an identity with keys',
    identity: sas,
    greeting: () => ({ credential: edge }),
    reason: /a certificate for an identity of type sas/,
  },
  {
    rule: 'a certificate on an identity without authentication',
    identity: 'none',
    greeting: () => ({ credential: edge }),
    reason: /a certificate for an identity of type none/,
  },
  {
    rule: 'neither token nor certificate',
    identity: ca,
    greeting: () => ({}),
    reason: /neither a token nor a certificate/,
  },
  {
    rule: 'an expired token',
    identity: sas,
    greeting: () => ({ password: token({ expiresAtSeconds: inSeconds(-1) }) }),
    reason: /the token expired/,
  },
  {
    rule: 'a token of another key',
    identity: sas,
    greeting: () => ({ password: token({ key: Buffer.alloc(32, 9).toString('base64') }) }),
    reason: /fits none of the keys/,
  },
  { rule: 'a password that is no token', identity: sas, greeting: () => ({ password: 'x' }), reason: /SharedAccess/ },
  {
    rule: 'another thumbprint, though the chain is good',
    identity: thumbprints('AB'.repeat(32)),
    greeting: () => ({ credential: edge }),
    reason: /the thumbprint does not match/,
  },
  {
    rule: 'a chain without its intermediate',
    identity: ca,
    greeting: () => ({ credential: { ...edge, chainPem: edge.leafPem } }),
    reason: /does not lead to an authority/,
  },
  {
    rule: 'a disabled identity',
    identity: { status: 'disabled' },
    greeting: () => ({ password: token() }),
    reason: /403012: device edge-1 is disabled/,
  },
  {
    rule: 'a will for another topic',
    identity: sas,
    greeting: () => ({ password: token(), will: { topic: '$iothub/twin/GET/?$rid=1', payload: '', qos: 0 } }),
    reason: /a will may go to the events topic only/,
  },
]

for (const { rule, identity, greeting, reason } of refusals)
  test(`refused with return code 5: ${rule}`, async () => {
    const told = await outcome(identity, greeting())
    assert.equal(told.code, 5)
    assert.match(told.reason, reason)
  })

test('a deleted device and one that never was are refused', async () => {
  cloud.hub.putIdentity(withCredential(newIdentity('edge-1'), sas))
  cloud.hub.removeIdentity('edge-1')
  for (const deviceId of ['edge-1', 'edge-404']) {
    await using client = await connectDevice(cloud, { deviceId, password: token() })
    assert.equal(client.connack.returnCode, 5)
  }
})

test('a CA identity wants the common name, the right authority and dates that hold', async () => {
  const { authority } = cloud
  const makes = {
    'the common name is edge-7': await authority.makeDevice('edge-7'),
    'the common name is EDGE-1': await authority.makeDevice('EDGE-1'),
    expired: await authority.makeDevice('edge-1', { profile: { notBefore: daysAhead(-2), notAfter: daysAhead(-1) } }),
    'not valid yet': await authority.makeDevice('edge-1', {
      profile: { notBefore: daysAhead(1), notAfter: daysAhead(2) },
    }),
  }
  for (const [reason, credential] of Object.entries(makes)) {
    const told = await outcome(ca, { credential })
    assert.equal(told.code, 5)
    assert.ok(told.reason.includes(reason), told.reason)
  }
  const stranger = await makeRoot(authority.folder, 'Stranger')
  const keyPath = await makeKey(join(authority.folder, 'stranger-device.key'))
  const leafPem = await stranger.sign(await makeRequest(keyPath, '/CN=edge-1'))
  const credential = { chainPem: leafPem + stranger.certificatePem, keyPem: await readFile(keyPath, 'utf8') }
  assert.match((await outcome(ca, { credential })).reason, /does not lead to an authority/)
})

test('a thumbprint identity does not look at the chain, but at the dates of the leaf', async () => {
  const keyPath = await makeKey(join(cloud.authority.folder, 'own.key'))
  const stranger = await makeRoot(cloud.authority.folder, 'Nobody knows')
  const request = await makeRequest(keyPath, '/CN=whatever')
  const keyPem = await readFile(keyPath, 'utf8')
  const good = await stranger.sign(request)
  assert.equal((await outcome(thumbprints(sha256(good)), { credential: { chainPem: good, keyPem } })).code, 0)
  const late = await stranger.sign(request, { notBefore: daysAhead(-9), notAfter: daysAhead(-1) })
  const told = await outcome(thumbprints(sha256(late)), { credential: { chainPem: late, keyPem } })
  assert.equal(told.code, 5)
  assert.match(told.reason, /expired/)
})

test('tokens of hub policies: only with the right to connect devices, and not with disableLocalAuth', async () => {
  const of = (name: string) => {
    const policy = cloud.hub.policies.find((each) => each.name === name)
    return token({ skn: name, key: policy?.primaryKey ?? KEYS.primaryKey, resource: HOST })
  }
  assert.equal((await outcome(sas, { password: of('device') })).code, 0)
  assert.equal((await outcome(sas, { password: of('iothubowner') })).code, 0)
  assert.match((await outcome(sas, { password: of('service') })).reason, /no right to connect devices/)
  assert.match((await outcome(sas, { password: of('invented') })).reason, /no shared access policy is named invented/)
  assert.match((await outcome(ca, { password: of('device') })).reason, /a token for an identity of type/)
  cloud.faults.set('disableLocalAuth', 'true')
  try {
    assert.match((await outcome(sas, { password: of('device') })).reason, /disableLocalAuth/)
    assert.equal((await outcome(sas, { password: token() })).code, 0, 'device SAS is another switch')
  } finally {
    cloud.faults.reset()
  }
})

test('disableDeviceSAS refuses tokens of devices, not of policies and not certificates', async () => {
  cloud.faults.set('disableDeviceSAS', 'true')
  try {
    assert.match((await outcome(sas, { password: token() })).reason, /disableDeviceSAS/)
    const policy = cloud.hub.policies.find(({ name }) => name === 'device')
    const password = token({ skn: 'device', key: policy?.secondaryKey ?? '', resource: HOST })
    assert.equal((await outcome(sas, { password })).code, 0)
    assert.equal((await outcome(ca, { credential: edge })).code, 0)
  } finally {
    cloud.faults.reset()
  }
})

test('every version that the field uses is known', async () => {
  for (const apiVersion of ['2019-10-01', '2020-09-30', '2021-04-12', '2025-08-01-preview'])
    assert.equal((await outcome(sas, { apiVersion, password: token() })).code, 0)
})

test('a token works over WebSocket too', async () => {
  cloud.hub.putIdentity(withCredential(newIdentity('edge-1'), sas))
  await using client = await dialWebSocket(cloud, { host: HOST })
  assert.equal((await greet(client, { host: HOST, deviceId: 'edge-1', password: token() })).returnCode, 0)
})

/** A cloud whose time stands still, with a connected device that showed a token of 100 s. */
async function startWithSession(greeting: Partial<Greeting> = {}, credential: IdentityCredential = sas) {
  const clock = createFakeClock(Math.floor(Date.now() / 1000) * 1000)
  const local = await startCloud({ clock })
  local.hub.assign('edge-1', credential, undefined)
  const expiresAtSeconds = clock.now() / 1000 + 100
  const own = credential.type === 'sas' ? { password: token({ expiresAtSeconds }) } : {}
  const client = await connectDevice(local, { deviceId: 'edge-1', ...own, ...greeting })
  assert.equal(client.connack.returnCode, 0)
  return Object.assign(local, { clock, client })
}

const disconnectedFor = (local: Cloud, fragment: string) =>
  local.record.waitFor((event) => event.kind === 'disconnected' && event.reason.includes(fragment))

test('a session ends when its token does, or so much later as the fault says', async () => {
  for (const grace of [0, 60]) {
    await using local = await startWithSession()
    local.faults.set('sasGraceSeconds', grace)
    await local.clock.advance((99 + grace) * 1000)
    assert.equal(local.hub.isConnected('edge-1'), true)
    await local.clock.advance(2_000)
    assert.equal(await local.client.closed, 0)
    await disconnectedFor(local, 'the token of the session expired')
  }
})

test('a live session survives the end of its certificate, unless the fault says otherwise', async () => {
  const clock = createFakeClock(Date.now())
  await using own = await startCloud({ clock })
  const profile = { notAfter: new Date(clock.now() + 3_600_000) }
  const credential = await own.authority.makeDevice('edge-1', { profile })
  own.hub.assign('edge-1', ca, undefined)
  await using client = await connectDevice(own, { deviceId: 'edge-1', credential })
  // One jump, so that the session is not taken for silent.
  clock.stepWall(3_700_000)
  await clock.advance(1_000)
  client.send({ cmd: 'pingreq' })
  assert.equal((await client.next()).cmd, 'pingresp')
  await using late = await connectDevice(own, { deviceId: 'edge-1', credential })
  assert.equal(late.connack.returnCode, 5, 'the next handshake is judged by the date')
  own.faults.set('certificateExpiry', 'cut')
  await clock.advance(1_000)
  assert.equal(await client.closed, 0)
})

test('an identity that changes its type cuts the session at once', async () => {
  await using local = await startWithSession()
  local.hub.assign('edge-1', ca, undefined)
  assert.equal(await local.client.closed, 0)
  await disconnectedFor(local, 'the identity changed under the session')
})

test('with identityChange=expiry the session lives until its token ends, without grace', async () => {
  await using local = await startWithSession()
  local.faults.set('identityChange', 'expiry')
  local.faults.set('sasGraceSeconds', 600)
  local.hub.assign('edge-1', ca, undefined)
  await local.clock.advance(99_000)
  assert.equal(local.hub.isConnected('edge-1'), true)
  await local.clock.advance(2_000)
  assert.equal(await local.client.closed, 0)
})

test('with identityChange=nextConnect the session goes on and the next one is refused', async () => {
  await using local = await startWithSession()
  local.faults.set('identityChange', 'nextConnect')
  local.hub.assign('edge-1', ca, undefined)
  local.client.send({ cmd: 'pingreq' })
  assert.equal((await local.client.next()).cmd, 'pingresp')
  await using next = await connectDevice(local, { deviceId: 'edge-1', password: token() })
  assert.equal(next.connack.returnCode, 5)
})

test('an identity written again as it was leaves the session alone', async () => {
  await using local = await startWithSession()
  local.hub.assign('edge-1', sas, undefined)
  local.client.send({ cmd: 'pingreq' })
  assert.equal((await local.client.next()).cmd, 'pingresp')
})

test('a device that is disabled or deleted is cut, whatever identityChange says', async () => {
  for (const act of ['disable', 'delete'] as const) {
    await using local = await startWithSession()
    local.faults.set('identityChange', 'nextConnect')
    const identity = local.hub.identity('edge-1')
    assert.ok(identity !== undefined)
    if (act === 'disable') local.hub.putIdentity({ ...identity, status: 'disabled' })
    else local.hub.removeIdentity('edge-1')
    assert.equal(await local.client.closed, 0)
    await disconnectedFor(local, act === 'disable' ? '403012' : '404001')
    assert.equal(local.hub.isConnected('edge-1'), false)
  }
})

test('a publish where no function of the hub listens closes the connection without PUBACK', async () => {
  for (const topic of [
    'x',
    '$iothub/invented/?$rid=1',
    'devices/edge-2/messages/events/',
    'devices/edge-1/messages/eventsx',
    'devices/edge-1/messages/devicebound/',
    '$iothub/twin/GET/',
    '$iothub/twin/GET/?rid=1',
  ]) {
    await using local = await startWithSession()
    local.client.send(publication(topic, '{}', 1))
    assert.equal(await local.client.closed, 0, topic)
    assert.equal(local.record.count('telemetry'), 0)
  }
})
