/** Private keys that are encrypted on disk, with a secret that lies elsewhere. openssl says what is what. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'node:test'
import { vaultKeysFor } from '../../../agent/credential/token-key.ts'
import { openVault } from '../../../agent/credential/vault.ts'
import type { Failure } from '../../../agent/failure.ts'
import { systemClock } from '../../../agent/system/clock.ts'
import { makeTemporaryFolder, openssl } from '../../kit/openssl.ts'
import { makeTestIssuer, wanted } from './fixture.ts'

async function setUp() {
  const folder = await makeTemporaryFolder()
  const [state, encryptionKeyFile] = [join(folder.path, 'state'), join(folder.path, 'encryption-key')]
  const told: Failure[] = []
  const laySecret = (secret = randomBytes(32).toString('base64'), mode = 0o600) =>
    writeFile(encryptionKeyFile, `${secret}\n`, { mode })
  await laySecret()
  const open = (keyStore: 'file' | 'encrypted' = 'encrypted') => {
    const keys = vaultKeysFor({ keyStore, encryptionKeyFile }, systemClock)
    return openVault(state, systemClock, (failure) => void told.push(failure), keys)
  }
  return {
    ...{ folder: folder.path, state, encryptionKeyFile, told, laySecret, open },
    issuer: await makeTestIssuer(folder.path),
    keyOf: (name: string) => join(state, 'credentials', name, 'key.pem'),
    entries: async () => (await readdir(join(state, 'credentials'))).toSorted(),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  }
}

test('a key lies encrypted on disk, fits its request, and is open in memory only', async () => {
  await using device = await setUp()
  const vault = await device.open()
  const request = await vault.request(wanted)
  const onDisk = device.keyOf('pending')
  await assert.rejects(openssl(['pkey', '-in', onDisk, '-passin', 'pass:', '-pubout']))
  const publicKey = await openssl(['pkey', '-in', onDisk, '-passin', `file:${device.encryptionKeyFile}`, '-pubout'])
  await writeFile(join(device.folder, 'request.csr'), request.csrPem)
  assert.equal(
    await openssl(['req', '-in', join(device.folder, 'request.csr'), '-noout', '-pubkey', '-verify']),
    publicKey,
  )

  const accepted = await vault.accept(await device.issuer.checkedFor(request))
  assert.equal(accepted.keyStore, 'encrypted')
  assert.match(accepted.keyPem, /^-----BEGIN PRIVATE KEY-----/)
  assert.match(await readFile(device.keyOf('gen-0001'), 'latin1'), /^-----BEGIN ENCRYPTED PRIVATE KEY-----/)
  const scheme = await openssl(['asn1parse', '-in', device.keyOf('gen-0001')])
  assert.match(scheme, /aes-256-cbc/)
})

for (const [what, spoil, words] of [
  ['is not there', ({ encryptionKeyFile }) => rm(encryptionKeyFile), /cannot read .*encryption-key: ENOENT/],
  ['is short', ({ laySecret }) => laySecret('hunter2'), /has 7 characters/],
  ['is open to others', ({ encryptionKeyFile }) => openToOthers(encryptionKeyFile), /is open to others/],
] as const satisfies readonly (readonly [
  string,
  (device: Awaited<ReturnType<typeof setUp>>) => Promise<unknown>,
  RegExp,
])[])
  test(`while the secret ${what}, nothing is set aside, nothing is made, and all is well when it is back`, async () => {
    await using device = await setUp()
    const first = await device.open()
    await first.accept(await device.issuer.checkedFor(await first.request(wanted)))
    await first.request(wanted)
    const before = await device.entries()
    const secret = await readFile(device.encryptionKeyFile, 'latin1')
    await spoil(device)
    const vault = await device.open()
    await assert.rejects(vault.request(wanted), { code: 'KEY_STORE_UNAVAILABLE', message: words })
    assert.deepEqual(await vault.generations(), [])
    assert.deepEqual(await device.entries(), before)
    assert.ok(device.told.length > 0 && device.told.every(({ code }) => code === 'KEY_STORE_UNAVAILABLE'))
    assert.doesNotMatch(device.told.map(({ message }) => message).join(), /hunter2/)
    await rm(device.encryptionKeyFile, { force: true })
    await device.laySecret(secret.trim())
    const again = await device.open()
    assert.equal((await again.generations()).length, 1)
    assert.equal((await again.request(wanted)).csrPem, (await first.request(wanted)).csrPem)
  })

async function openToOthers(path: string): Promise<void> {
  const secret = await readFile(path)
  await rm(path)
  await writeFile(path, secret, { mode: 0o644 })
}

test('where the secret is another one for good, a request that waits gives way to one with a key that can be read', async () => {
  for (const store of ['encrypted', 'file'] as const) {
    await using device = await setUp()
    const first = await (await device.open()).request(wanted)
    await device.laySecret()
    const vault = await device.open(store)
    const second = await vault.request(wanted)
    assert.notEqual(second.csrPem, first.csrPem)
    assert.equal(second.keyStore, store)
    const aside = (await device.entries()).filter((name) => name.startsWith('pending.superseded-'))
    assert.equal(aside.length, 1, 'it is kept')
    assert.equal((await vault.request(wanted)).csrPem, second.csrPem)
    assert.match(device.told.map(({ message }) => message).join(), /was encrypted with another key/)
  }
})

test('where no person has the request, one with a key in another place gives way', async () => {
  await using device = await setUp()
  const first = await (await device.open('file')).request(wanted)
  const vault = await device.open()
  assert.equal((await vault.request(wanted)).csrPem, first.csrPem)
  assert.notEqual((await vault.request({ ...wanted, exactly: true })).csrPem, first.csrPem)
})

test('a generation whose key does not answer is told apart from one that is not there', async () => {
  await using device = await setUp()
  const vault = await device.open()
  await vault.accept(await device.issuer.checkedFor(await vault.request(wanted)))
  assert.deepEqual(vault.outOfReach(), [])
  await rm(device.encryptionKeyFile)
  assert.deepEqual([await vault.generations(), vault.outOfReach()], [[], ['gen-0001']])
})

test('a device that moves from open files keeps its open generation, and one that moves back its encrypted one', async () => {
  await using device = await setUp()
  const stores: (string | undefined)[] = []
  for (const store of ['file', 'encrypted', 'file'] as const) {
    const vault = await device.open(store)
    await vault.accept(await device.issuer.checkedFor(await vault.request(wanted)))
  }
  for (const { keyStore } of await (await device.open('file')).generations()) stores.push(keyStore)
  assert.deepEqual(stores, ['file', 'encrypted', 'file'])
  assert.deepEqual(device.told, [])
})

test('an encrypted key that was cut off is torn like any other', async () => {
  await using device = await setUp()
  const vault = await device.open()
  await vault.accept(await device.issuer.checkedFor(await vault.request(wanted)))
  const path = device.keyOf('gen-0001')
  await writeFile(path, (await readFile(path)).subarray(0, 200))
  assert.deepEqual(await vault.generations(), [])
  assert.deepEqual(
    device.told.map(({ code }) => code),
    ['STATE_TORN'],
  )
})
