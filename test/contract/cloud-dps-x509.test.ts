/** Attestation by certificate chain: which enrollment decides, and what is refused. */
import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { after, before, test } from 'node:test'
import type { Authority, Profile } from '../kit/openssl.ts'
import {
  INTERMEDIATE_EXTENSIONS,
  makeKey,
  makeRequest,
  makeRoot,
  makeTemporaryFolder,
  openssl,
} from '../kit/openssl.ts'
import type { Bench } from './cloud-dps-kit.ts'
import { bodyOf, createBench, createDevice, lastRefusal, NOW_MS, stateOf } from './cloud-dps-kit.ts'

const DAY_MS = 86_400_000
const valid = { notBefore: new Date(NOW_MS - DAY_MS), notAfter: new Date(NOW_MS + 30 * DAY_MS) }

let folder: Awaited<ReturnType<typeof makeTemporaryFolder>>
let root: Authority
let issuing: Authority
let stranger: Authority
let leaf: string

before(async () => {
  folder = await makeTemporaryFolder()
  const profile = { ...valid, notAfter: new Date(NOW_MS + 3650 * DAY_MS) }
  root = await makeRoot(folder.path, 'Edge Root', { profile })
  issuing = await root.makeIntermediate('Edge Issuing', { profile })
  stranger = await makeRoot(folder.path, 'Stranger Root', { profile })
  leaf = await makeLeaf(issuing, '/CN=edge-0042')
})

after(() => folder[Symbol.asyncDispose]())

async function makeLeaf(authority: Authority, subject: string, profile: Profile = {}): Promise<string> {
  const key = await makeKey(`${folder.path}/leaf.key`)
  return authority.sign(await makeRequest(key, subject), { ...valid, ...profile })
}

function putGroup(bench: Bench, id: string, certificate: string, more: Record<string, unknown> = {}) {
  const attestation = { type: 'x509', x509: { signingCertificates: { primary: { certificate } } } }
  return bench.dps.enrollments.put('group', id, { attestation, ...more })
}

function putIndividual(bench: Bench, id: string, certificate: string, more: Record<string, unknown> = {}) {
  const attestation = { type: 'x509', x509: { clientCertificates: { primary: { certificate } } } }
  return bench.dps.enrollments.put('individual', id, { attestation, ...more })
}

/** What the fingerprint sub-command of openssl says, in the form of Azure: upper case, no colons. */
async function thumbprint(pem: string, digest: 'sha1' | 'sha256'): Promise<string> {
  const path = `${folder.path}/shown.pem`
  await writeFile(path, pem)
  const text = await openssl(['x509', '-in', path, '-noout', '-fingerprint', `-${digest}`])
  return text.trim().split('=')[1]?.replaceAll(':', '') ?? ''
}

/** Registers and says how it ended: the hub's name, or status and reason of the refusal. */
async function outcomeOf(bench: Bench, chain: readonly string[], registrationId = 'edge-0042'): Promise<string> {
  const answer = await createDevice(bench.dps, { registrationId, chain }).provision()
  if (answer.status === 200) return stateOf(answer).status
  return `${answer.status} ${bodyOf(answer).message} (${lastRefusal(bench.events)})`
}

test('a leaf with its intermediate leads to a root that a group holds', async () => {
  const bench = createBench()
  putGroup(bench, 'edge-x509', root.certificatePem)
  assert.equal(await outcomeOf(bench, [leaf, issuing.certificatePem]), 'assigned')
})

test('a leaf alone leads to an intermediate that a group holds, and to a root only with its intermediate', async () => {
  const near = createBench()
  putGroup(near, 'edge-x509', issuing.certificatePem)
  assert.equal(await outcomeOf(near, [leaf]), 'assigned')
  const far = createBench()
  putGroup(far, 'edge-x509', root.certificatePem)
  assert.match(await outcomeOf(far, [leaf]), /^401 CA certificate not found/)
})

test('the registration state names certificate, group and signer with the thumbprints that openssl shows', async () => {
  const bench = createBench()
  putGroup(bench, 'edge-x509', issuing.certificatePem)
  const { x509 } = stateOf(await createDevice(bench.dps, { chain: [leaf, issuing.certificatePem] }).provision())
  const info = x509?.['certificateInfo'] as Record<string, unknown>
  assert.equal(x509?.['enrollmentGroupId'], 'edge-x509')
  assert.equal(info['sha256Thumbprint'], await thumbprint(leaf, 'sha256'))
  assert.equal(info['sha1Thumbprint'], await thumbprint(leaf, 'sha1'))
  assert.equal(info['subjectName'], 'CN=edge-0042')
  assert.equal(info['issuerName'], 'CN=Edge Issuing')
  assert.equal(info['version'], 3)
  const signer = x509?.['signingCertificateInfo'] as Record<string, unknown>
  assert.equal(signer['sha256Thumbprint'], await thumbprint(issuing.certificatePem, 'sha256'))
})

test('the hub identity becomes selfSigned with the SHA-256 of the leaf in both slots', async () => {
  const bench = createBench()
  putGroup(bench, 'edge-x509', root.certificatePem, { iotHubHostName: bench.hubs[0].host })
  await outcomeOf(bench, [leaf, issuing.certificatePem])
  const expected = await thumbprint(leaf, 'sha256')
  assert.deepEqual(bench.hubs[0].devices.get('edge-0042')?.credential, {
    ...{ type: 'selfSigned', primaryThumbprint: expected, secondaryThumbprint: expected },
  })
})

test('a chain that leads to another root is refused', async () => {
  const bench = createBench()
  putGroup(bench, 'edge-x509', stranger.certificatePem)
  assert.match(await outcomeOf(bench, [leaf, issuing.certificatePem]), /^401 CA certificate not found/)
})

test('a leaf whose name was changed after it was signed proves nothing', async () => {
  const der = new X509Certificate(leaf).raw
  const name = der.indexOf('edge-0042')
  der.write('edge-0043', name)
  const forged = `-----BEGIN CERTIFICATE-----\n${der.toString('base64')}\n-----END CERTIFICATE-----\n`
  const bench = createBench()
  putGroup(bench, 'edge-x509', issuing.certificatePem)
  assert.match(await outcomeOf(bench, [forged, issuing.certificatePem], 'edge-0043'), /^401 CA certificate not found/)
})

test('an intermediate of the right name but another key proves nothing', async () => {
  const impostor = await makeRoot(folder.path, 'impostor', { profile: { ...valid, subject: '/CN=Edge Issuing' } })
  const chain = [await makeLeaf(impostor, '/CN=edge-0042'), impostor.certificatePem]
  for (const trusted of [root, issuing]) {
    const bench = createBench()
    putGroup(bench, 'edge-x509', trusted.certificatePem)
    assert.match(await outcomeOf(bench, chain), /^401 CA certificate not found/)
    assert.match(await outcomeOf(bench, [chain[0] ?? '', issuing.certificatePem]), /^401 CA certificate not found/)
  }
})

test('a device certificate cannot act as an authority', async () => {
  const key = await makeKey(`${folder.path}/sub.key`)
  // Without a key usage nothing but basicConstraints says that this is no authority.
  const extensions = 'basicConstraints = critical, CA:FALSE'
  const sub = await issuing.sign(await makeRequest(key, '/CN=edge-0001'), { ...valid, extensions })
  const path = `${folder.path}/sub.pem`
  await writeFile(path, sub)
  const leafKey = await makeKey(`${folder.path}/below.key`)
  const request = `${folder.path}/below.csr`
  await openssl(['req', '-new', '-key', leafKey, '-subj', '/CN=edge-0042', '-out', request])
  const below = await openssl(['x509', '-req', '-in', request, '-CA', path, '-CAkey', key, '-days', '3000'])
  const bench = createBench()
  putGroup(bench, 'edge-x509', root.certificatePem)
  assert.match(await outcomeOf(bench, [below, sub, issuing.certificatePem]), /^401 CA certificate not found/)
})

test('the CN must be the registration ID, in any case', async () => {
  const bench = createBench()
  putGroup(bench, 'edge-x509', issuing.certificatePem)
  assert.match(await outcomeOf(bench, [leaf], 'edge-0043'), /^401 Invalid certificate .*CN of the leaf is edge-0042/)
  const capitals = await makeLeaf(issuing, '/CN=EDGE-0044')
  assert.equal(await outcomeOf(bench, [capitals], 'edge-0044'), 'assigned')
  const nameless = await makeLeaf(issuing, '/O=Edge')
  assert.match(await outcomeOf(bench, [nameless]), /CN of the leaf is absent/)
})

test('a leaf is refused before and after its validity', async () => {
  const bench = createBench()
  putGroup(bench, 'edge-x509', issuing.certificatePem)
  bench.setNow(valid.notAfter.getTime() + 1000)
  assert.match(await outcomeOf(bench, [leaf]), /^401 Invalid certificate .*CN=edge-0042 expired/)
  bench.setNow(valid.notBefore.getTime() - 1000)
  assert.match(await outcomeOf(bench, [leaf]), /not valid yet/)
  bench.setNow(NOW_MS)
  assert.equal(await outcomeOf(bench, [leaf]), 'assigned')
})

test('an expired authority refuses its devices, enrolled or on the way', async () => {
  const profile = { ...valid, notAfter: new Date(NOW_MS - 1000) }
  const expired = await root.makeIntermediate('Expired Issuing', { profile })
  const chain = [await makeLeaf(expired, '/CN=edge-0042'), expired.certificatePem]
  for (const [id, certificate] of [
    ['near', expired.certificatePem],
    ['far', root.certificatePem],
  ] as const) {
    const bench = createBench()
    putGroup(bench, id, certificate)
    assert.match(await outcomeOf(bench, chain), /^401 Invalid certificate .*Expired Issuing expired/, id)
  }
})

test('among groups the one whose authority is nearest the leaf decides, also when it is disabled', async () => {
  const bench = createBench()
  putGroup(bench, 'by-root', root.certificatePem)
  putGroup(bench, 'by-issuing', issuing.certificatePem)
  const chain = [leaf, issuing.certificatePem, root.certificatePem]
  const state = stateOf(await createDevice(bench.dps, { chain }).provision())
  assert.equal(state.x509?.['enrollmentGroupId'], 'by-issuing')

  const attestation = { type: 'x509', x509: { signingCertificates: { primary: {} } } }
  bench.dps.enrollments.put('group', 'by-issuing', { attestation, provisioningStatus: 'disabled' }, '*')
  assert.match(await outcomeOf(bench, chain), /^401 .*group enrollment by-issuing is disabled/)
})

test('an individual enrollment of the leaf wins over its group and may name another device', async () => {
  const bench = createBench()
  putGroup(bench, 'edge-x509', root.certificatePem)
  putIndividual(bench, 'edge-0042', leaf, { deviceId: 'Pump-7', iotHubHostName: bench.hubs[1].host })
  const state = stateOf(await createDevice(bench.dps, { chain: [leaf, issuing.certificatePem] }).provision())
  assert.equal(state.deviceId, 'Pump-7')
  assert.equal(state.assignedHub, bench.hubs[1].host)
  assert.equal(state.x509?.['enrollmentGroupId'], undefined)
  assert.ok(bench.hubs[1].devices.has('Pump-7'))
})

test('a disabled individual enrollment blocks one device of an enabled group', async () => {
  const bench = createBench()
  putGroup(bench, 'edge-x509', root.certificatePem)
  putIndividual(bench, 'edge-0042', leaf, { provisioningStatus: 'disabled' })
  assert.match(
    await outcomeOf(bench, [leaf, issuing.certificatePem]),
    /^401 .*individual enrollment edge-0042 is disabled/,
  )
  const other = await makeLeaf(issuing, '/CN=edge-0043')
  assert.equal(await outcomeOf(bench, [other, issuing.certificatePem], 'edge-0043'), 'assigned')
})

test('an individual enrollment needs no authority, and its leaf must be valid and of this device', async () => {
  const bench = createBench()
  putIndividual(bench, 'edge-0042', leaf)
  assert.equal(await outcomeOf(bench, [leaf]), 'assigned')
  assert.match(await outcomeOf(bench, [await makeLeaf(issuing, '/CN=edge-0042')]), /^401 CA certificate not found/)
  bench.setNow(valid.notAfter.getTime() + 1000)
  assert.match(await outcomeOf(bench, [leaf]), /^401 Invalid certificate/)
})

test('the leaf in an individual enrollment of another ID is refused', async () => {
  const bench = createBench()
  putGroup(bench, 'edge-x509', root.certificatePem)
  putIndividual(bench, 'edge-0099', leaf)
  assert.match(await outcomeOf(bench, [leaf, issuing.certificatePem]), /^401 .*individual enrollment edge-0099/)
})

test('both slots of a group attest, which is how an authority is rolled', async () => {
  const next = await root.makeIntermediate('Next Issuing', {
    profile: { ...valid, extensions: INTERMEDIATE_EXTENSIONS },
  })
  const bench = createBench()
  const slots = { primary: { certificate: issuing.certificatePem }, secondary: { certificate: next.certificatePem } }
  bench.dps.enrollments.put('group', 'rolling', { attestation: { type: 'x509', x509: { signingCertificates: slots } } })
  assert.equal(await outcomeOf(bench, [leaf]), 'assigned')
  assert.equal(await outcomeOf(bench, [await makeLeaf(next, '/CN=edge-0042')]), 'assigned')
})

test('a CA reference attests once the certificate it names is verified', async () => {
  const bench = createBench()
  const attestation = { type: 'x509', x509: { caReferences: { primary: 'edge-root' } } }
  bench.dps.enrollments.put('group', 'by-reference', { attestation })
  const chain = [leaf, issuing.certificatePem]
  assert.match(await outcomeOf(bench, chain), /CA certificate not found/)
  bench.dps.enrollments.putAuthority('edge-root', new X509Certificate(root.certificatePem), false)
  assert.match(await outcomeOf(bench, chain), /CA certificate not found/)
  bench.dps.enrollments.putAuthority('edge-root', new X509Certificate(root.certificatePem))
  assert.equal(await outcomeOf(bench, chain), 'assigned')
})

test('a certificate belongs to one enrollment only', () => {
  const bench = createBench()
  putGroup(bench, 'edge-x509', root.certificatePem)
  assert.throws(() => putGroup(bench, 'again', root.certificatePem), { code: 409203 })
})
