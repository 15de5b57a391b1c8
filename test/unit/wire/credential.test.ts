import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { Failure } from '../../../agent/failure.ts'
import { loadTlsIdentity } from '../../../agent/wire/credential.ts'
import { openssl } from '../../kit/openssl.ts'
import { makePki } from './tls-server.ts'
import type { DevicePair, Pki } from './tls-server.ts'

let pki: Pki
let ec: DevicePair
let otherEc: DevicePair
let rsa: DevicePair

before(async () => {
  pki = await makePki()
  ec = await pki.device('edge-1')
  otherEc = await pki.device('edge-1')
  rsa = await pki.device('edge-1', {}, 'rsa-2048')
})
after(() => pki[Symbol.asyncDispose]())

const refusal = (pair: Pick<DevicePair, 'chainPem' | 'keyPem'>): Failure => {
  try {
    loadTlsIdentity({ lane: 'x509', ...pair }, undefined)
  } catch (error) {
    return error as Failure
  }
  return assert.fail('the pair was accepted')
}

test('the thumbprint is the SHA-256 of the leaf as openssl computes it', async () => {
  const { writeFile } = await import('node:fs/promises')
  await writeFile(`${pki.folder}/leaf.pem`, ec.chainPem)
  const printed = await openssl(['x509', '-in', `${pki.folder}/leaf.pem`, '-noout', '-fingerprint', '-sha256'])
  const expected = printed.trim().split('=')[1]?.replaceAll(':', '')
  const { presented } = loadTlsIdentity(ec, undefined)
  assert.deepEqual(presented, { lane: 'x509', thumbprintSha256: expected })
})

test('a key of the same kind that belongs to another certificate is TLS_LOCAL_CREDENTIAL', () => {
  assert.equal(refusal({ chainPem: ec.chainPem, keyPem: otherEc.keyPem }).code, 'TLS_LOCAL_CREDENTIAL')
})

test('a key of another kind, which OpenSSL would let pass, is TLS_LOCAL_CREDENTIAL', () => {
  assert.equal(refusal({ chainPem: ec.chainPem, keyPem: rsa.keyPem }).code, 'TLS_LOCAL_CREDENTIAL')
  assert.equal(refusal({ chainPem: rsa.chainPem, keyPem: ec.keyPem }).code, 'TLS_LOCAL_CREDENTIAL')
})

test('what is no PEM at all is TLS_LOCAL_CREDENTIAL, and the failure does not quote it', () => {
  const failure = refusal({ chainPem: ec.chainPem, keyPem: 'not-a-key-c2VjcmV0' })
  assert.equal(failure.code, 'TLS_LOCAL_CREDENTIAL')
  assert.ok(!JSON.stringify([failure.message, failure.context]).includes('c2VjcmV0'))
})

test('a key in a token that does not answer is KEY_STORE_UNAVAILABLE, which passes', () => {
  const keyPem =
    '-----BEGIN TSS2 PRIVATE KEY-----\nMIGYGhlQS0NTIzExIFByb3ZpZGVyIFVSSSB2MS4w\n-----END TSS2 PRIVATE KEY-----\n'
  const failure = refusal({ chainPem: ec.chainPem, keyPem })
  assert.deepEqual([failure.code, failure.kind], ['KEY_STORE_UNAVAILABLE', 'transient'])
})
