import assert from 'node:assert/strict'
import { join } from 'node:path'
import test from 'node:test'
import { readPublicKey } from '../../../agent/pki/key.ts'
import { isInToken, keyStoreOf } from '../../../agent/pki/key-store.ts'
import { signByEngine, engineKeyOf, engineKeyToPem, tlsKeyOf } from '../../../agent/pki/token-engine.ts'
import { systemClock } from '../../../agent/system/clock.ts'
import { makeTemporaryFolder, openssl } from '../../kit/openssl.ts'

/** The public half of a key that openssl makes. */
async function publicKeyPem(): Promise<string> {
  await using folder = await makeTemporaryFolder()
  const path = join(folder.path, 'key.pem')
  await openssl(['genpkey', '-algorithm', 'EC', '-pkeyopt', 'group:P-256', '-out', path])
  return await openssl(['pkey', '-in', path, '-pubout'])
}

const where = {
  engine: '/usr/lib/nowhere/engines-3/nothing.so',
  uri: 'pkcs11:token=my%20token;object=iot-device-agent-0011223344556677;type=private;pin-source=/etc/secrets/token.pin',
}

test('the name of a key behind an engine is read as it was written, and counts as a key in a PKCS#11 token', async () => {
  const key = { ...where, publicKeyPem: await publicKeyPem() }
  const text = engineKeyToPem(key)
  assert.deepEqual(engineKeyOf(text, 'key.pem'), key)
  assert.equal(keyStoreOf(text), 'pkcs11')
  assert.ok(isInToken(text))
})

test('TLS gets the engine by its name and the key by its URI; any other key as the text that it is', async () => {
  const text = engineKeyToPem({ ...where, publicKeyPem: await publicKeyPem() })
  assert.deepEqual(tlsKeyOf(text, 'key.pem'), { privateKeyEngine: 'nothing', privateKeyIdentifier: where.uri })
  const file = await openssl(['genpkey', '-algorithm', 'EC', '-pkeyopt', 'group:P-256'])
  assert.deepEqual(tlsKeyOf(file, 'key.pem'), { key: file })
})

test('a name that was cut off anywhere, or whose inside is damaged, is torn and no token that does not answer', async () => {
  const text = engineKeyToPem({ ...where, publicKeyPem: await publicKeyPem() })
  const label = text.indexOf('\n') + 1
  for (const length of [
    label,
    label + 10,
    text.indexOf('-----END'),
    text.indexOf('-----BEGIN PUBLIC'),
    text.length - 5,
  ])
    assert.throws(() => readPublicKey(text.slice(0, length), 'key.pem'), { code: 'KEY_UNREADABLE' }, `${length}`)
  const damaged = `${text.slice(0, label)}AAAA${text.slice(label + 4)}`
  assert.throws(() => readPublicKey(damaged, 'key.pem'), { code: 'KEY_UNREADABLE' })
})

test('an engine that is not there is a token that does not answer: nothing is torn, and nothing is signed', async () => {
  const key = { ...where, publicKeyPem: await publicKeyPem() }
  assert.throws(() => readPublicKey(engineKeyToPem(key), 'key.pem'), { code: 'KEY_STORE_UNAVAILABLE' })
  await assert.rejects(signByEngine(key, 'sha256', Buffer.from('request'), systemClock), {
    code: 'KEY_STORE_UNAVAILABLE',
    message: /openssl dgst: exit 1/,
  })
})
