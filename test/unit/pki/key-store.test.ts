/** Keys that live in a token: known by their label, and out of reach without the provider that this process lacks. */
import assert from 'node:assert/strict'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { vaultKeysFor } from '../../../agent/credential/token-key.ts'
import { openVault } from '../../../agent/credential/vault.ts'
import type { Failure } from '../../../agent/failure.ts'
import { readKey } from '../../../agent/pki/key.ts'
import { keyStoreOf } from '../../../agent/pki/key-store.ts'
import { systemClock } from '../../../agent/system/clock.ts'
import { keysInFile } from '../credential/fixture.ts'
import { makeTemporaryFolder } from '../../kit/openssl.ts'

const keys = vaultKeysFor(keysInFile, systemClock)

const inToken = `-----BEGIN PKCS#11 PROVIDER URI-----
MIGYGhlQS0NTIzExIFByb3ZpZGVyIFVSSSB2MS4w
-----END PKCS#11 PROVIDER URI-----
`
const inTpm = inToken.replaceAll('PKCS#11 PROVIDER URI', 'TSS2 PRIVATE KEY')

test('a key is known by the label of what stands for it', async () => {
  assert.deepEqual([inToken, inTpm, await keys.make('ec-p256')].map(keyStoreOf), ['pkcs11', 'tpm', 'file'])
})

test('a key in a token that is out of reach is no unreadable key', () => {
  for (const pem of [inToken, inTpm])
    assert.throws(() => readKey(pem, '/state/key.pem'), { code: 'KEY_STORE_UNAVAILABLE', kind: 'transient' })
})

test('a generation and a request whose keys are in such a token stay as they are', async () => {
  await using folder = await makeTemporaryFolder()
  const credentials = join(folder.path, 'credentials')
  for (const name of ['gen-0001', 'pending']) {
    await mkdir(join(credentials, name), { recursive: true, mode: 0o700 })
    await writeFile(join(credentials, name, 'key.pem'), inToken, { mode: 0o600 })
    await writeFile(join(credentials, name, 'chain.pem'), '-----BEGIN CERTIFICATE-----\n')
  }
  const told: Failure[] = []
  const inThatToken = vaultKeysFor({ ...keysInFile, keyStore: 'pkcs11', token: 'iot' }, systemClock)
  const vault = await openVault(folder.path, systemClock, (failure) => void told.push(failure), inThatToken)
  assert.deepEqual(await vault.generations(), [])
  await assert.rejects(vault.request({ registrationId: 'edge-1', keyType: 'ec-p256' }), {
    code: 'KEY_STORE_UNAVAILABLE',
  })
  assert.deepEqual(await readdir(credentials), ['gen-0001', 'pending'])
  assert.ok(told.length > 0 && told.every(({ code }) => code === 'KEY_STORE_UNAVAILABLE'))
})

test('a key that was not made in the token is not taken: without the provider none is made at all', async () => {
  for (const keyStore of ['pkcs11', 'tpm'] as const)
    await assert.rejects(vaultKeysFor({ ...keysInFile, keyStore, token: 'iot' }, systemClock).make('ec-p256'), {
      code: 'KEY_STORE_UNAVAILABLE',
    })
})

test('a key that the token has made and the runtime cannot read is tried again, and no other is made', async () => {
  await using folder = await makeTemporaryFolder()
  // In the place of OpenSSL with its provider, which this runtime then lacks, as with half of the configuration.
  const program = `#!/bin/sh\necho one >>'${folder.path}/made'\ncat <<'END'\n${inToken}END\n`
  await writeFile(join(folder.path, 'openssl'), program, { mode: 0o755 })
  const path = process.env['PATH'] ?? ''
  process.env['PATH'] = `${folder.path}:${path}`
  try {
    const { make } = vaultKeysFor({ ...keysInFile, keyStore: 'pkcs11', token: 'iot' }, systemClock)
    for (const _ of [1, 2, 3])
      await assert.rejects(make('ec-p256'), { code: 'KEY_STORE_UNAVAILABLE', message: /key of the next certificate/ })
    assert.equal(await readFile(join(folder.path, 'made'), 'utf8'), 'one\n')
  } finally {
    process.env['PATH'] = path
  }
})
