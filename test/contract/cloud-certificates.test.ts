/** Certificates through DPS: azure-protocols.md 3.2, 3.5 and the certificate lines of 8.2. */
import assert from 'node:assert/strict'
import { createPrivateKey, createPublicKey } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, afterEach, before, test } from 'node:test'

import { startCloud, type Cloud } from '../cloud/cloud.ts'
import { showEnrollment } from '../cloud/dps/enrollment-form.ts'
import type { FaultValues } from '../cloud/faults.ts'
import type { SasFleet } from '../cloud/fleets.ts'
import { signSas } from '../cloud/sas.ts'
import { makeTemporaryFolder, openssl, type OpensslKey } from '../kit/openssl.ts'
import {
  certificatesOf,
  connackOf,
  DPS_PREVIEW,
  groupToken,
  makeCsr,
  openDps,
  POLICY,
  register,
  stateOf,
  type DpsAnswer,
} from './cloud-certificate-kit.ts'

let cloud: Cloud
let fleet: SasFleet
let lastNumber = 0

const quiet = () => {
  cloud.faults.reset()
  cloud.faults.set('retryAfterSeconds', 0)
  cloud.faults.set('pollsBeforeAssigned', 0)
}

before(async () => {
  cloud = await startCloud()
  await cloud.namespace.putPolicy(POLICY)
  fleet = cloud.enrollSasFleet('managed', { credentialPolicyName: POLICY })
  quiet()
})
after(() => cloud.close())
afterEach(quiet)

function newId(): string {
  lastNumber += 1
  return `edge-${lastNumber}`
}

function viaGroup(id: string, body: unknown, apiVersion = DPS_PREVIEW): Promise<DpsAnswer> {
  return register(cloud, { registrationId: id, password: groupToken(cloud, fleet, id), apiVersion }, body)
}

/** Registers a new device with a good request. */
async function issue(more: Partial<{ key: OpensslKey; digest: readonly string[] }> = {}) {
  const id = newId()
  const made = await makeCsr(`/CN=${id}`, more.key, more.digest)
  const answer = await viaGroup(id, { csr: made.csr })
  return { id, ...made, answer, chain: certificatesOf(answer.body.registrationState?.issuedCertificateChain) }
}

function publicKeyOf(keyPem: string): string {
  return createPublicKey(createPrivateKey(keyPem)).export({ type: 'spki', format: 'pem' }).toString()
}

function isFor(certificate: { readonly publicKey: ReturnType<typeof createPublicKey> } | undefined, keyPem: string) {
  return certificate?.publicKey.export({ type: 'spki', format: 'pem' }).toString() === publicKeyOf(keyPem)
}

function identityType(id: string): string | undefined {
  return cloud.hubs.map((hub) => hub.identity(id)).find((identity) => identity !== undefined)?.authentication.type
}

test('a request in the registration comes back as a chain for its key: leaf, issuing authority, root', async () => {
  const { id, keyPem, answer, chain } = await issue()
  const [leaf, issuer, root] = chain
  assert.equal(stateOf(answer).status, 'assigned')
  assert.equal(chain.length, 3)
  assert.ok(isFor(leaf, keyPem))
  assert.equal(leaf?.subject, `CN=${id}`)
  assert.equal(leaf?.issuer, issuer?.subject)
  assert.equal(issuer?.issuer, root?.subject)
  assert.equal(root?.issuer, root?.subject)
})

test('openssl takes the issued chain for TLS clients, and its leaf for clients alone', async () => {
  const { chain } = await issue()
  const [leaf, issuer, root] = chain.map(String)
  await using folder = await makeTemporaryFolder()
  const file = async (name: string, text = '') => {
    await writeFile(join(folder.path, name), text)
    return join(folder.path, name)
  }
  const chainArguments = ['-CAfile', await file('root.pem', root), '-untrusted', await file('issuer.pem', issuer)]
  const leafFile = await file('leaf.pem', leaf)
  const verified = await openssl(['verify', '-x509_strict', '-purpose', 'sslclient', ...chainArguments, leafFile])
  assert.match(verified, /: OK/)
  const shown = await openssl(['x509', '-in', leafFile, '-noout', '-ext', 'extendedKeyUsage,basicConstraints'])
  assert.match(shown, /Extended Key Usage: *\n *TLS Web Client Authentication\n/)
  assert.match(shown, /CA:FALSE/)
})

test('the chain is base64 of DER without armour', async () => {
  const { answer } = await issue()
  for (const entry of stateOf(answer).issuedCertificateChain ?? [])
    assert.equal(Buffer.from(entry, 'base64').toString('base64'), entry)
})

test('the identity becomes certificateAuthority, and the hub takes the leaf at once', async () => {
  const { id, keyPem, chain } = await issue()
  assert.equal(identityType(id), 'certificateAuthority')
  const hub = cloud.hubs.find((each) => each.has(id))
  assert.ok(hub)
  if (hub !== cloud.hub) cloud.hub.assign(id, { type: 'certificateAuthority' }, undefined)
  assert.equal(
    await connackOf(cloud, { deviceId: id, credential: { keyPem, chainPem: chain.map(String).join('') } }),
    0,
  )
})

test('an issued certificate is an event that names device, policy and thumbprint', async () => {
  const { id, chain } = await issue()
  const event = await cloud.record.waitFor((each) => each.kind === 'issued' && each.deviceId === id)
  assert.ok(event.kind === 'issued')
  assert.equal(event.policy, POLICY)
  assert.equal(event.host, cloud.dps.host)
  assert.equal(event.thumbprint, chain[0]?.fingerprint256.replaceAll(':', ''))
})

test('an X.509 group with a policy issues as well', async () => {
  cloud.enrollFleet('factory', { credentialPolicyName: POLICY })
  const id = newId()
  const credential = await cloud.authority.makeDevice(id)
  const { csr, keyPem } = await makeCsr(`/CN=${id}`)
  const state = stateOf(await register(cloud, { registrationId: id, credential }, { csr }))
  assert.ok(isFor(certificatesOf(state.issuedCertificateChain)[0], keyPem))
  assert.equal(identityType(id), 'certificateAuthority')
})

test('an individual enrollment with a policy issues as well, by key and by certificate', async () => {
  const key = Buffer.alloc(32, 7).toString('base64')
  const [byKey, byLeaf] = [newId(), newId()]
  const credential = await cloud.authority.makeDevice(byLeaf)
  const keyed = { type: 'symmetricKey', symmetricKey: { primaryKey: key, secondaryKey: key } }
  const clientCertificates = { primary: { certificate: credential.leafPem } }
  const put = (id: string, attestation: unknown) =>
    cloud.dps.enrollments.put('individual', id, { attestation, credentialPolicyName: POLICY })
  put(byKey, keyed)
  put(byLeaf, { type: 'x509', x509: { clientCertificates } })
  const resource = `${cloud.idScope}/registrations/${byKey}`
  const password = signSas({ resource, key, expiresAtSeconds: 4_000_000_000, skn: 'registration' })
  const first = await makeCsr(`/CN=${byKey}`)
  const second = await makeCsr(`/CN=${byLeaf}`)
  const keyState = stateOf(await register(cloud, { registrationId: byKey, password }, { csr: first.csr }))
  const leafState = stateOf(await register(cloud, { registrationId: byLeaf, credential }, { csr: second.csr }))
  assert.ok(isFor(certificatesOf(keyState.issuedCertificateChain)[0], first.keyPem))
  assert.ok(isFor(certificatesOf(leafState.issuedCertificateChain)[0], second.keyPem))
})

for (const apiVersion of ['2019-03-31', '2021-06-01', '2021-10-01', '2021-11-01-preview'])
  test(`api-version ${apiVersion} ignores the request: assigned without a chain, and the key stays the credential`, async () => {
    const id = newId()
    const { csr } = await makeCsr(`/CN=${id}`)
    const state = stateOf(await viaGroup(id, { csr }, apiVersion))
    assert.equal(state.status, 'assigned')
    assert.equal(state.issuedCertificateChain, undefined)
    assert.equal(identityType(id), 'sas')
  })

test('an older api-version ignores even a request that is no text', async () => {
  assert.equal(stateOf(await viaGroup(newId(), { csr: 7 }, '2019-03-31')).status, 'assigned')
})

test('an enrollment without a policy ignores the request', async () => {
  const plain = cloud.enrollSasFleet('plain')
  const id = newId()
  const { csr } = await makeCsr(`/CN=${id}`)
  const onboarding = { registrationId: id, password: groupToken(cloud, plain, id) }
  const state = stateOf(await register(cloud, onboarding, { csr }))
  assert.equal(state.issuedCertificateChain, undefined)
  assert.equal(identityType(id), 'sas')
})

test('an enrollment that names an unknown policy gives no certificate and no assignment', async () => {
  const lost = cloud.enrollSasFleet('lost', { credentialPolicyName: 'nowhere' })
  const id = newId()
  const { csr } = await makeCsr(`/CN=${id}`)
  const answer = await register(cloud, { registrationId: id, password: groupToken(cloud, lost, id) }, { csr })
  assert.equal(answer.status, 412)
  assert.equal(identityType(id), undefined)
})

test('a request in the status look-up is refused with 400', async () => {
  const id = newId()
  const { csr } = await makeCsr(`/CN=${id}`)
  await using dps = await openDps(cloud, { registrationId: id, password: groupToken(cloud, fleet, id) })
  const { body } = await dps.register({ csr })
  assert.equal((await dps.poll(body.operationId, { csr })).status, 400)
  assert.equal((await dps.poll(body.operationId)).status, 200)
})

test('a request that is no base64 of DER on one line is refused with 400 before any operation', async () => {
  const { csr } = await makeCsr('/CN=form')
  const armoured = `-----BEGIN CERTIFICATE REQUEST-----\n${csr}\n-----END CERTIFICATE REQUEST-----\n`
  const wrapped = `${csr.slice(0, 64)}\n${csr.slice(64)}`
  for (const bad of [armoured, wrapped, `${csr} `, '', 7, {}, [csr], 'A'.repeat(8196)]) {
    await using dps = await openDps(cloud, { registrationId: 'form', password: groupToken(cloud, fleet, 'form') })
    const answer = await dps.register({ csr: bad })
    assert.equal(answer.status, 400, JSON.stringify(bad))
    assert.equal(answer.body.operationId, undefined)
  }
  assert.equal(identityType('form'), undefined)
})

async function refusalOf(id: string, csr: string): Promise<string> {
  const answer = await viaGroup(id, { csr })
  assert.equal(Math.floor((answer.body.errorCode ?? 0) / 1000), 400)
  assert.equal(answer.status, 400)
  assert.equal(identityType(id), undefined, 'a refused request leaves no identity')
  return answer.body.message ?? ''
}

test('a request that its key did not sign is refused', async () => {
  const id = newId()
  const { csr } = await makeCsr(`/CN=${id}`)
  const der = Buffer.from(csr, 'base64')
  der[der.length - 1] = (der.at(-1) ?? 0) ^ 1
  assert.match(await refusalOf(id, der.toString('base64')), /signature/)
})

test('a request for another name, in another case, or for two names is refused', async () => {
  const id = newId()
  for (const subject of ['/CN=other', `/CN=${id.toUpperCase()}`, `/CN=${id}/CN=${id}`, '/O=nobody'])
    assert.match(await refusalOf(id, (await makeCsr(subject)).csr), /common name/)
})

test('bytes that are no PKCS#10, or more than one, are refused', async () => {
  const id = newId()
  const { csr } = await makeCsr(`/CN=${id}`)
  const der = Buffer.from(csr, 'base64')
  const [leaf] = (await issue()).chain
  for (const bytes of [Buffer.from('hello'), der.subarray(0, -1), Buffer.concat([der, der]), leaf?.raw ?? der])
    await refusalOf(id, bytes.toString('base64'))
})

test('keys of EC and RSA are taken, as the service was seen to do; others are not', async () => {
  for (const key of ['ec-p256', 'ec-p384', 'rsa-2048'] as const) assert.equal((await issue({ key })).chain.length, 3)
  assert.equal((await issue({ key: 'ed25519' })).answer.status, 400)
})

const takes = async (csrKeys: FaultValues['csrKeys'], key: OpensslKey, digest?: readonly string[]) => {
  cloud.faults.set('csrKeys', csrKeys)
  return (await issue({ key, ...(digest === undefined ? {} : { digest }) })).chain.length === 3
}

test('csrKeys narrows the keys to EC, or to P-384 with SHA-384 as documented', async () => {
  assert.deepEqual(
    [await takes('ec', 'ec-p256'), await takes('ec', 'ec-p384'), await takes('ec', 'rsa-2048')],
    [true, true, false],
  )
  assert.deepEqual(
    [await takes('p384', 'ec-p256'), await takes('p384', 'ec-p384'), await takes('p384', 'ec-p384', ['-sha256'])],
    [false, true, false],
  )
})

test('a policy sets the life of a leaf in seconds, and how far it is dated back', async () => {
  await cloud.namespace.putPolicy(POLICY, { validitySeconds: 90, backdatedSeconds: 60 })
  const beforeMs = Date.now()
  const [leaf] = (await issue()).chain
  const afterMs = Date.now()
  await cloud.namespace.putPolicy(POLICY, { validitySeconds: 30 * 86_400, backdatedSeconds: 0 })
  const [from, to] = [Date.parse(leaf?.validFrom ?? ''), Date.parse(leaf?.validTo ?? '')]
  assert.equal(to - from, 150_000)
  // Certificates count in whole seconds.
  assert.ok(from >= beforeMs - 61_000 && from <= afterMs - 60_000, leaf?.validFrom)
})

test('issuedChain=absent assigns without a chain though a request came', async () => {
  cloud.faults.set('issuedChain', 'absent')
  const { id, answer } = await issue()
  assert.equal(stateOf(answer).status, 'assigned')
  assert.ok(!('issuedCertificateChain' in stateOf(answer)))
  assert.equal(identityType(id), 'certificateAuthority')
})

const roles = async (fault: FaultValues['issuedChain']) => {
  cloud.faults.set('issuedChain', fault)
  const { keyPem, chain } = await issue()
  return chain
    .map((each) => (isFor(each, keyPem) ? 'leaf' : each.subject === each.issuer ? 'root' : 'issuer'))
    .join(' ')
}

test('issuedChain orders and shortens the chain', async () => {
  assert.equal(await roles('good'), 'leaf issuer root')
  assert.equal(await roles('leafOnly'), 'leaf')
  assert.equal(await roles('withoutRoot'), 'leaf issuer')
  assert.equal(await roles('rootFirst'), 'root issuer leaf')
  assert.equal(await roles('shuffled'), 'issuer leaf root')
})

test('issuedChain=otherKey certifies a key that the device does not have', async () => {
  cloud.faults.set('issuedChain', 'otherKey')
  const { id, keyPem, chain } = await issue()
  assert.equal(chain[0]?.subject, `CN=${id}`)
  assert.ok(!chain.some((each) => isFor(each, keyPem)))
})

test('issuedChain=otherName certifies the key under another name', async () => {
  cloud.faults.set('issuedChain', 'otherName')
  const { id, keyPem, chain } = await issue()
  assert.ok(isFor(chain[0], keyPem))
  assert.equal(chain[0]?.subject, `CN=other-${id}`)
})

test('without a request an enrollment with a policy makes a classic identity, or one of the authority', async () => {
  const [classic, managed] = [newId(), newId()]
  assert.equal(stateOf(await viaGroup(classic, {})).issuedCertificateChain, undefined)
  assert.equal(identityType(classic), 'sas')
  cloud.faults.set('policyWithoutCsr', 'certificateAuthority')
  assert.equal(stateOf(await viaGroup(managed, {})).issuedCertificateChain, undefined)
  assert.equal(identityType(managed), 'certificateAuthority')
})

test('the policy of an enrollment shows as credentialPolicyName, also after it was disabled and enabled', () => {
  cloud.disableGroup('managed')
  cloud.enableGroup('managed')
  const group = cloud.dps.enrollments.get('group', 'managed')
  assert.ok(group)
  assert.equal(showEnrollment(group)['credentialPolicyName'], POLICY)
})
