import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'node:test'
import { keyKind, keyToPem, keyTypes, makeKey, readKey } from '../../../agent/pki/key.ts'
import { makeKey as makeOpensslKey, makeTemporaryFolder, openssl } from '../../kit/openssl.ts'
import type { OpensslKey } from '../../kit/openssl.ts'

test('each key type is made as PKCS#8 that openssl accepts and that reads back as the same kind', async () => {
  for (const type of keyTypes.filter((type) => type !== 'rsa-4096')) {
    await using folder = await makeTemporaryFolder()
    const pem = keyToPem(await makeKey(type))
    assert.match(pem, /^-----BEGIN PRIVATE KEY-----\n/)
    assert.equal(keyKind(readKey(pem, 'key.pem')), type)
    const path = join(folder.path, 'key.pem')
    await writeFile(path, pem)
    assert.match(await openssl(['pkey', '-in', path, '-check', '-noout']), /Key is valid/)
  }
})

test('two keys are never the same', async () => {
  const [one, other] = [await makeKey('ec-p256'), await makeKey('ec-p256')]
  assert.equal(one.equals(other), false)
})

test('keys that Azure does not document are refused by kind', async () => {
  await using folder = await makeTemporaryFolder()
  for (const kind of ['ec-p521', 'ed25519', 'rsa-1024'] satisfies OpensslKey[]) {
    const pem = await readFile(await makeOpensslKey(join(folder.path, kind), kind), 'utf8')
    assert.throws(() => readKey(pem, 'here.key'), { code: 'KEY_TYPE_UNSUPPORTED', message: new RegExp(kind) })
  }
})

test('an encrypted key is refused with the command that decrypts it, in both encrypted forms', async () => {
  await using folder = await makeTemporaryFolder()
  const plain = await makeOpensslKey(join(folder.path, 'plain'), 'ec-p256')
  const arguments_ = ['-in', plain, '-aes256', '-passout', 'pass:secret']
  const pkcs8 = await openssl(['pkey', ...arguments_])
  const sec1 = await openssl(['pkey', '-traditional', ...arguments_])
  assert.match(sec1, /Proc-Type: 4,ENCRYPTED/)
  for (const pem of [pkcs8, sec1]) {
    assert.throws(() => readKey(pem, '/k/x.key'), { code: 'KEY_UNREADABLE', message: /openssl pkey -in \/k\/x\.key/ })
  }
})

test('what is not a private key is refused', async () => {
  await using folder = await makeTemporaryFolder()
  const path = await makeOpensslKey(join(folder.path, 'plain'))
  const publicPem = await openssl(['pkey', '-in', path, '-pubout'])
  const cut = (await readFile(path, 'utf8')).slice(0, 100)
  for (const pem of ['', 'junk', publicPem, cut]) {
    assert.throws(() => readKey(pem, 'x'), { code: 'KEY_UNREADABLE' })
  }
})
