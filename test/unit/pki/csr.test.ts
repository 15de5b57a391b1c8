import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { createPublicKey } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'node:test'
import { promisify } from 'node:util'
import { makeCsr } from '../../../agent/pki/csr.ts'
import { keyTypes, makeKey } from '../../../agent/pki/key.ts'
import type { KeyType } from '../../../agent/pki/key.ts'
import { signerFor } from '../../../agent/pki/signer.ts'
import { makeRoot, makeTemporaryFolder, openssl } from '../../kit/openssl.ts'

/** Source: RFC 5758 section 3.2 and RFC 4055 section 5; P-384 with SHA-384 as azure-protocols section 3.5 says. */
const signatures: Record<KeyType, string> = {
  'ec-p256': 'ecdsa-with-SHA256',
  'ec-p384': 'ecdsa-with-SHA384',
  'rsa-2048': 'sha256WithRSAEncryption',
  'rsa-3072': 'sha256WithRSAEncryption',
  'rsa-4096': 'sha256WithRSAEncryption',
}

async function inspect(pem: string): Promise<string> {
  await using folder = await makeTemporaryFolder()
  const path = join(folder.path, 'request.csr')
  await writeFile(path, pem)
  const { stdout, stderr } = await promisify(execFile)('openssl', [
    ...['req', '-in', path, '-noout', '-verify', '-text', '-subject', '-pubkey', '-nameopt', 'RFC2253,-esc_msb,utf8'],
  ])
  return stdout + stderr
}

for (const type of keyTypes) {
  test(`openssl verifies a request with a key of type ${type} and finds in it what was asked for`, async () => {
    const key = await makeKey(type)
    const { pem } = await makeCsr(signerFor(key), 'edge-0042')
    const text = await inspect(pem)
    assert.match(text, /self-signature verify OK/)
    assert.match(text, /^subject=CN=edge-0042$/m)
    assert.match(text, /Version: 1 \(0x0\)/)
    assert.match(text, /Extended Key Usage: *\n *TLS Web Client Authentication\n/)
    assert.match(text, /X509v3 Key Usage: critical\n *Digital Signature\n/)
    assert.match(text, new RegExp(`Signature Algorithm: ${signatures[type]}\n`))
    const publicPem = createPublicKey(key).export({ type: 'spki', format: 'pem' }).toString()
    assert.ok(text.includes(publicPem), 'the public key of the key is in it')
  })
}

test('the one-line form is the DER of the same request', async () => {
  await using folder = await makeTemporaryFolder()
  const { pem, derBase64 } = await makeCsr(signerFor(await makeKey('ec-p256')), 'edge-0042')
  assert.match(derBase64, /^[A-Za-z0-9+/]+=*$/)
  const path = join(folder.path, 'request.der')
  await writeFile(path, Buffer.from(derBase64, 'base64'))
  assert.equal(await openssl(['req', '-inform', 'DER', '-in', path]), pem)
})

test('every character of a registration ID reaches the CN unchanged', async () => {
  for (const id of ['a', 'x'.repeat(64), 'Az09-._:', "o'hara+42=,"]) {
    const text = await inspect((await makeCsr(signerFor(await makeKey('ec-p256')), id)).pem)
    assert.match(text, /self-signature verify OK/)
    const subject = /^subject=CN=(.*)$/m.exec(text)?.[1]?.replaceAll('\\', '')
    assert.equal(subject, id)
  }
})

test('a registration ID that no CN can hold is refused before anything is signed', async () => {
  const key = await makeKey('ec-p256')
  for (const id of ['', 'x'.repeat(65)]) await assert.rejects(makeCsr(signerFor(key), id), { code: 'CONFIG_INVALID' })
})

test('an authority can sign the request and the certificate is for its key and name', async () => {
  await using folder = await makeTemporaryFolder()
  const root = await makeRoot(folder.path, 'Root')
  const key = await makeKey('ec-p384')
  const { pem } = await makeCsr(signerFor(key), 'edge-0042')
  const path = join(folder.path, 'leaf.pem')
  await writeFile(path, await root.sign(pem))
  assert.match(await openssl(['verify', '-CAfile', root.certificatePath, '-purpose', 'sslclient', path]), /: OK\n$/)
  assert.match(await openssl(['x509', '-in', path, '-noout', '-subject']), /CN = edge-0042\n$/)
})
