import assert from 'node:assert/strict'
import { createPrivateKey } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { holdsKey, keyForms, secretForms } from '../../kit/leak.ts'
import { makeKey, makeTemporaryFolder, openssl } from '../../kit/openssl.ts'

for (const kind of ['ec-p256', 'ec-p384', 'rsa-2048'] as const) {
  test(`a leaked ${kind} key is found in every form it could leave in`, async () => {
    await using folder = await makeTemporaryFolder()
    const path = await makeKey(join(folder.path, 'device.key'), kind)
    const pem = await readFile(path, 'utf8')
    const forms = keyForms(pem)
    const key = createPrivateKey(pem)
    const der = key.export({ format: 'der', type: 'pkcs8' })
    const traditional = await openssl(['pkey', '-in', path, '-traditional'])
    const leaks: Record<string, Buffer> = {
      pem: Buffer.from(pem),
      traditional: Buffer.from(traditional),
      'pem inside JSON': Buffer.from(JSON.stringify({ a: pem })),
      der,
      'der as hexadecimal': Buffer.from(der.toString('hex')),
      'der as base64 after one byte': Buffer.from(Buffer.concat([Buffer.alloc(1), der]).toString('base64')),
      'der as base64 after two bytes': Buffer.from(Buffer.concat([Buffer.alloc(2), der]).toString('base64')),
      jwk: Buffer.from(JSON.stringify(key.export({ format: 'jwk' }))),
    }
    for (const [form, leak] of Object.entries(leaks)) {
      assert.equal(holdsKey(forms, Buffer.concat([Buffer.from('before '), leak, Buffer.from(' after')])), true, form)
    }
  })
}

test('another key, and the public half, are no leak', async () => {
  await using folder = await makeTemporaryFolder()
  const path = await makeKey(join(folder.path, 'device.key'))
  const forms = keyForms(await readFile(path, 'utf8'))
  const other = await readFile(await makeKey(join(folder.path, 'other.key')), 'utf8')
  const publicHalf = await openssl(['pkey', '-in', path, '-pubout'])
  assert.equal(holdsKey(forms, Buffer.from(other)), false)
  assert.equal(holdsKey(forms, Buffer.from(publicHalf)), false)
})

test('a leaked symmetric key is found as text and as bytes, and another one is no leak', () => {
  const secret = Buffer.from('c2VjcmV0IG9mIGEgZGV2aWNlOiAzMiBieXRlcyBsb25nIQ==', 'base64')
  const forms = secretForms(secret)
  const leaks = [secret, Buffer.from(secret.toString('base64')), Buffer.from(`key=${secret.toString('hex')};`)]
  for (const leak of leaks) assert.equal(holdsKey(forms, Buffer.concat([Buffer.from('before '), leak])), true)
  assert.equal(holdsKey(forms, Buffer.from(Buffer.alloc(32, 7).toString('base64'))), false)
})
