import assert from 'node:assert/strict'
import { createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test, { after } from 'node:test'
import { checkChain } from '../../../agent/pki/chain.ts'
import { readKey } from '../../../agent/pki/key.ts'
import {
  DEVICE_EXTENSIONS,
  INTERMEDIATE_EXTENSIONS,
  makeKey,
  makeRequest,
  makeRoot,
  makeTemporaryFolder,
  openssl,
} from '../../kit/openssl.ts'
import type { AuthorityOptions, OpensslKey } from '../../kit/openssl.ts'

const ID = 'edge-0042'
const MINUTE = 60_000
const DAY = 24 * 60 * MINUTE

const folder = await makeTemporaryFolder()
after(() => folder[Symbol.asyncDispose]())

const root = await makeRoot(folder.path, 'Root')
const intermediate = await root.makeIntermediate('Intermediate')
const device = await makeDevice('device')
const leaf = await intermediate.sign(device.request)

interface Device {
  readonly publicKey: KeyObject
  readonly keyPem: string
  readonly request: string
}

async function makeDevice(name: string, subject = `/CN=${ID}`, kind: OpensslKey = 'ec-p256'): Promise<Device> {
  const path = await makeKey(join(folder.path, `${name}.key`), kind)
  const keyPem = await readFile(path, 'utf8')
  const request = await makeRequest(path, subject)
  return { keyPem, request, publicKey: createPublicKey(createPrivateKey(keyPem)) }
}

function check(pem: string, overrides: { publicKey?: KeyObject; registrationId?: string; nowMs?: number } = {}) {
  return checkChain({ pem, publicKey: device.publicKey, registrationId: ID, nowMs: Date.now(), ...overrides })
}

/** The codes of a refusal, each once; a chain that is accepted fails the test. */
function refusals(...given: Parameters<typeof check>): readonly string[] {
  const verdict = check(...given)
  assert.ok(!verdict.ok, 'the chain was accepted')
  for (const problem of verdict.problems) assert.notEqual(problem.message, '')
  return [...new Set(verdict.problems.map((problem) => problem.code))]
}

/** What an accepted chain would send, as thumbprints in order. */
function sent(...given: Parameters<typeof check>): readonly string[] {
  const verdict = check(...given)
  assert.ok(verdict.ok, verdict.ok ? '' : JSON.stringify(verdict.problems))
  return thumbprints(verdict.value.pem)
}

function thumbprints(...pems: readonly string[]): readonly string[] {
  const blocks = pems.join('').match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []
  return blocks.map((block) => new X509Certificate(block).fingerprint256)
}

function extensions(replace: string, by: string, from = DEVICE_EXTENSIONS): { readonly extensions: string } {
  assert.ok(from.includes(replace))
  return { extensions: from.replace(replace, by) }
}

/** A leaf below an authority of this kind, and that authority. */
async function signedBy(name: string, options: AuthorityOptions): Promise<string> {
  const authority = await root.makeIntermediate(name, options)
  return (await authority.sign(device.request)) + authority.certificatePem
}

test('leaf and intermediate are accepted, and openssl verifies what would be sent', async () => {
  const verdict = check(leaf + intermediate.certificatePem)
  assert.ok(verdict.ok)
  assert.equal(verdict.value.facts.commonName, ID)
  assert.equal(verdict.value.intermediates.length, 1)
  const path = join(folder.path, 'sent.pem')
  await writeFile(path, verdict.value.pem)
  const proof = ['-CAfile', root.certificatePath, '-untrusted', path, '-purpose', 'sslclient', path]
  assert.match(await openssl(['verify', ...proof]), /: OK\n$/)
})

test('the leaf alone is accepted', () => {
  assert.deepEqual(sent(leaf), thumbprints(leaf))
})

test('the leaf is found by our key and the rest ordered by issuer, whatever the order; a root is not sent', async () => {
  const policy = await root.makeIntermediate('Policy', {
    profile: extensions(', pathlen:0', '', INTERMEDIATE_EXTENSIONS),
  })
  const issuing = await policy.makeIntermediate('Issuing')
  const own = await issuing.sign(device.request)
  const wanted = thumbprints(own, issuing.certificatePem, policy.certificatePem)
  const all = [root.certificatePem, policy.certificatePem, own, issuing.certificatePem]
  assert.deepEqual(sent(all.join('')), wanted)
  assert.deepEqual(sent(all.toReversed().join('')), wanted)
})

test('text around the blocks, CRLF, a byte order mark and repeated certificates change nothing', async () => {
  const path = join(folder.path, 'text.pem')
  await writeFile(path, leaf)
  const verbose = await openssl(['x509', '-in', path, '-text'])
  const wanted = thumbprints(leaf, intermediate.certificatePem)
  const plain = leaf + intermediate.certificatePem
  assert.deepEqual(sent(verbose + intermediate.certificatePem), wanted)
  assert.deepEqual(sent(plain.replaceAll('\n', '\r\n')), wanted)
  assert.deepEqual(sent(`\uFEFF${plain}`), wanted)
  assert.deepEqual(sent(plain + plain + leaf), wanted)
})

test('every key type that a request may have is accepted in a leaf', async () => {
  for (const kind of ['ec-p384', 'rsa-2048'] as const) {
    const other = await makeDevice(`device-${kind}`, `/CN=${ID}`, kind)
    const own = await intermediate.sign(other.request)
    assert.deepEqual(sent(own, { publicKey: other.publicKey }), thumbprints(own))
  }
})

test('a good chain for another key is refused, of the same type and of another', async () => {
  for (const kind of ['ec-p256', 'rsa-2048'] as const) {
    const other = await makeDevice(`other-${kind}`, `/CN=${ID}`, kind)
    const stolen = (await intermediate.sign(other.request)) + intermediate.certificatePem
    assert.deepEqual(refusals(stolen), ['CHAIN_KEY_MISMATCH'])
  }
  assert.deepEqual(refusals(intermediate.certificatePem), ['CHAIN_KEY_MISMATCH'])
})

test('after a chain of another type of key was refused, our own key is still read', async () => {
  const other = await makeDevice('other-type', `/CN=${ID}`, 'rsa-2048')
  assert.deepEqual(refusals(await intermediate.sign(other.request)), ['CHAIN_KEY_MISMATCH'])
  assert.equal(readKey(device.keyPem, 'device.key').type, 'private')
})

test('a private key in the file has its own refusal, whatever else is in it', () => {
  assert.deepEqual(refusals(leaf + device.keyPem), ['CHAIN_HOLDS_PRIVATE_KEY'])
  assert.deepEqual(refusals(device.keyPem), ['CHAIN_HOLDS_PRIVATE_KEY'])
  assert.deepEqual(refusals(`${leaf}-----BEGIN RSA PRIVATE KEY-----\ncut`), ['CHAIN_HOLDS_PRIVATE_KEY'])
  assert.deepEqual(refusals(`${'x'.repeat(100_000)}${device.keyPem}`), ['CHAIN_HOLDS_PRIVATE_KEY'])
})

test('what is not a chain is unreadable', () => {
  const cut = leaf.slice(0, leaf.length / 2)
  const garbled = leaf.replace(/\n[A-Za-z0-9+/]{20}/, '\nAAAAAAAAAAAAAAAAAAAA')
  const trailing = Buffer.concat([new X509Certificate(leaf).raw, Buffer.from('more')]).toString('base64')
  const padded = `-----BEGIN CERTIFICATE-----\n${trailing}\n-----END CERTIFICATE-----\n`
  for (const pem of ['', 'junk', device.request, cut, leaf + cut, garbled, padded, leaf.replace('MII', 'M!!')]) {
    assert.deepEqual(refusals(pem), ['CHAIN_UNREADABLE'])
  }
})

test('a megabyte of anything and more than 8 certificates are too large, without long thought', () => {
  const begun = performance.now()
  assert.deepEqual(refusals('x'.repeat(1_000_000)), ['CHAIN_TOO_LARGE'])
  assert.deepEqual(refusals('-----BEGIN CERTIFICATE-----\n'.repeat(40_000)), ['CHAIN_TOO_LARGE'])
  assert.deepEqual(refusals(`${leaf}${'\n'.repeat(65_536)}`), ['CHAIN_TOO_LARGE'])
  assert.deepEqual(refusals(leaf.repeat(9)), ['CHAIN_TOO_LARGE'])
  assert.deepEqual(refusals('-----BEGIN CERTIFICATE-----\n'.repeat(2000)), ['CHAIN_UNREADABLE'])
  assert.ok(performance.now() - begun < 2000)
})

test('the CN must be the registration ID to the letter, and the only one', async () => {
  const both = { subject: `/CN=${ID}/CN=other` }
  assert.deepEqual(refusals(await intermediate.sign(device.request, both)), ['CHAIN_NAME_MISMATCH'])
  for (const subject of ['/CN=EDGE-0042', '/CN=edge-00421', '/CN=edge-0042 ', `/O=${ID}`, '/CN=other/O=edge-0042']) {
    assert.deepEqual(refusals(await intermediate.sign(device.request, { subject })), ['CHAIN_NAME_MISMATCH'], subject)
  }
  assert.deepEqual(refusals(leaf, { registrationId: 'edge-0043' }), ['CHAIN_NAME_MISMATCH'])
})

test('a leaf that is itself an authority is refused', async () => {
  const authority = await intermediate.sign(device.request, extensions('CA:FALSE', 'CA:TRUE'))
  assert.deepEqual(refusals(authority), ['CHAIN_LEAF_IS_CA'])
})

test('notBefore may lie 5 minutes ahead of our clock, and no more', async () => {
  const notBefore = new Date('2026-06-01T00:00:00Z')
  const notAfter = new Date('2026-09-01T00:00:00Z')
  const own = await intermediate.sign(device.request, { notBefore, notAfter })
  const from = notBefore.getTime()
  assert.equal(check(own, { nowMs: from - 5 * MINUTE }).ok, true)
  assert.deepEqual(refusals(own, { nowMs: from - 5 * MINUTE - 1 }), ['CHAIN_NOT_YET_VALID'])
  assert.equal(check(own, { nowMs: notAfter.getTime() }).ok, true)
  assert.deepEqual(refusals(own, { nowMs: notAfter.getTime() + 1 }), ['CHAIN_EXPIRED'])
})

test('dates count for every certificate that is there, the root too', async () => {
  const now = Date.now()
  const expired = { notBefore: new Date(now - 9 * DAY), notAfter: new Date(now - DAY) }
  const old = await root.makeIntermediate('Old', { profile: { extensions: INTERMEDIATE_EXTENSIONS, ...expired } })
  assert.deepEqual(refusals((await old.sign(device.request)) + old.certificatePem), ['CHAIN_EXPIRED'])
  const early = { notBefore: new Date(now + DAY), notAfter: new Date(now + 9 * DAY) }
  const next = await root.makeIntermediate('Next', { profile: { extensions: INTERMEDIATE_EXTENSIONS, ...early } })
  assert.deepEqual(refusals((await next.sign(device.request)) + next.certificatePem), ['CHAIN_NOT_YET_VALID'])
  const gone = await makeRoot(folder.path, 'Gone', { profile: expired })
  assert.deepEqual(refusals((await gone.sign(device.request)) + gone.certificatePem), ['CHAIN_EXPIRED'])
})

test('the leaf must list clientAuth by name', async () => {
  const line = 'extendedKeyUsage = clientAuth'
  const lists = ['extendedKeyUsage = serverAuth', '', 'extendedKeyUsage = anyExtendedKeyUsage']
  for (const by of lists) {
    assert.deepEqual(refusals(await intermediate.sign(device.request, extensions(line, by))), ['CHAIN_NO_CLIENT_AUTH'])
  }
  const both = await intermediate.sign(device.request, extensions(line, `${line}, serverAuth`))
  assert.deepEqual(sent(both), thumbprints(both))
})

test('a keyUsage without digitalSignature cannot authenticate a client; an absent keyUsage can', async () => {
  const line = 'keyUsage = critical, digitalSignature, keyEncipherment\n'
  const wrong = await intermediate.sign(device.request, extensions(line, 'keyUsage = critical, keyEncipherment\n'))
  assert.deepEqual(refusals(wrong), ['CHAIN_NO_CLIENT_AUTH'])
  const absent = await intermediate.sign(device.request, extensions(line, ''))
  assert.deepEqual(sent(absent), thumbprints(absent))
})

test('an intermediate that is limited to other purposes is refused', async () => {
  for (const [purpose, accepted] of [
    ['serverAuth', false],
    ['clientAuth', true],
  ] as const) {
    const profile = { extensions: `${INTERMEDIATE_EXTENSIONS}\nextendedKeyUsage = ${purpose}` }
    const chain = await signedBy(purpose, { profile })
    if (accepted) assert.equal(sent(chain).length, 2)
    else assert.deepEqual(refusals(chain), ['CHAIN_NO_CLIENT_AUTH'])
  }
})

test('a certificate that is no part of the chain is refused', async () => {
  const stranger = await root.makeIntermediate('Stranger')
  const neighbour = await intermediate.sign((await makeDevice('neighbour', '/CN=edge-0043')).request)
  assert.deepEqual(refusals(leaf + stranger.certificatePem), ['CHAIN_BROKEN'])
  assert.deepEqual(refusals(leaf + intermediate.certificatePem + neighbour), ['CHAIN_BROKEN'])
  assert.deepEqual(refusals(leaf + root.certificatePem), ['CHAIN_BROKEN'], 'the intermediate between is missing')
})

test('two different certificates for our key are refused rather than chosen from', async () => {
  const second = await intermediate.sign(device.request)
  assert.notEqual(second, leaf)
  assert.deepEqual(refusals(leaf + second + intermediate.certificatePem), ['CHAIN_BROKEN'])
})

test('an intermediate of the right name but another key is refused', async () => {
  await using elsewhere = await makeTemporaryFolder()
  const impostor = await (await makeRoot(elsewhere.path, 'Root')).makeIntermediate('Intermediate')
  const withoutIdentifier = { extensions: DEVICE_EXTENSIONS.replace(/(authorityKeyIdentifier) = .*/, '$1 = none') }
  const bare = await intermediate.sign(device.request, withoutIdentifier)
  assert.deepEqual(refusals(leaf + impostor.certificatePem), ['CHAIN_BROKEN'])
  assert.deepEqual(refusals(bare + impostor.certificatePem), ['CHAIN_BROKEN'])
})

test('an issuer of the right name and key to which the authority key identifier does not point is refused', async () => {
  const request = await makeRequest(intermediate.keyPath, '/CN=Intermediate')
  const other = extensions('subjectKeyIdentifier = hash', 'subjectKeyIdentifier = 01:02:03', INTERMEDIATE_EXTENSIONS)
  assert.deepEqual(refusals(leaf + (await root.sign(request, other))), ['CHAIN_BROKEN'])
})

test('an extension that stands there twice makes a certificate unreadable', async () => {
  const bits = `${DEVICE_EXTENSIONS}\n1.2.3.4 = ASN1:FORMAT:BITLIST,BITSTRING:0`
  const own = await intermediate.sign(device.request, { extensions: bits })
  const der = Buffer.from(new X509Certificate(own).raw)
  const at = der.indexOf(Buffer.from('06032a0304', 'hex'))
  assert.notEqual(at, -1)
  der.set(Buffer.from('0603551d0f', 'hex'), at)
  const pem = `-----BEGIN CERTIFICATE-----\n${der.toString('base64')}\n-----END CERTIFICATE-----\n`
  assert.equal(sent(own).length, 1)
  assert.deepEqual(refusals(pem), ['CHAIN_UNREADABLE'])
})

test('an issuer that may not sign certificates is refused', async () => {
  const cases = [
    ['No CA', 'CA:TRUE, pathlen:0', 'CA:FALSE'],
    ['No Constraints', 'basicConstraints = critical, CA:TRUE, pathlen:0\n', ''],
    ['No Cert Sign', 'keyCertSign, cRLSign', 'cRLSign'],
  ] as const
  for (const [name, replace, by] of cases) {
    const chain = await signedBy(name, { profile: extensions(replace, by, INTERMEDIATE_EXTENSIONS) })
    assert.deepEqual(refusals(chain), ['CHAIN_BROKEN'], name)
  }
})

test('a chain longer than an authority allows is refused', async () => {
  const below = await intermediate.makeIntermediate('Below')
  const own = await below.sign(device.request)
  assert.deepEqual(refusals(own + below.certificatePem + intermediate.certificatePem), ['CHAIN_BROKEN'])
})

test('keys and signatures below policy are refused in every certificate that is sent', async () => {
  assert.deepEqual(refusals(await signedBy('Small', { key: 'rsa-1024' })), ['CHAIN_TOO_WEAK'])
  const sha1 = { extensions: INTERMEDIATE_EXTENSIONS, digest: 'sha1' }
  assert.deepEqual(refusals(await signedBy('Sha One', { profile: sha1 })), ['CHAIN_TOO_WEAK'])
  assert.deepEqual(refusals(await intermediate.sign(device.request, { digest: 'sha1' })), ['CHAIN_TOO_WEAK'])
  const rsa = await makeRoot(folder.path, 'Rsa', { key: 'rsa-2048' })
  assert.deepEqual(refusals(await rsa.sign(device.request, { digest: 'md5' })), ['CHAIN_TOO_WEAK'])
  assert.equal(sent(await rsa.sign(device.request)).length, 1)
  for (const key of ['ec-p384', 'ec-p521', 'rsa-2048'] as const) {
    assert.equal(sent(await signedBy(`Strong ${key}`, { key })).length, 2, key)
  }
})

test('all problems are reported at once', async () => {
  const own = await intermediate.sign(device.request, {
    subject: '/CN=other',
    extensions: 'basicConstraints = critical, CA:TRUE',
    notBefore: new Date('2020-01-01T00:00:00Z'),
    notAfter: new Date('2021-01-01T00:00:00Z'),
  })
  assert.deepEqual(refusals(own).toSorted(), [
    'CHAIN_EXPIRED',
    'CHAIN_LEAF_IS_CA',
    'CHAIN_NAME_MISMATCH',
    'CHAIN_NO_CLIENT_AUTH',
  ])
})

test('a certificate with any byte changed never brings the check down and never passes as another', () => {
  const der = new X509Certificate(leaf).raw
  for (let index = 0; index < der.length; index += 1) {
    const changed = Buffer.from(der)
    changed[index] = (changed[index] ?? 0) ^ 0x15
    const pem = `-----BEGIN CERTIFICATE-----\n${changed.toString('base64')}\n-----END CERTIFICATE-----\n`
    const verdict = check(pem + intermediate.certificatePem)
    assert.equal(verdict.ok, false, `byte ${index}`)
  }
})
