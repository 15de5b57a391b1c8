import assert from 'node:assert/strict'
import { chmod, mkdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test, { after } from 'node:test'
import { loadCredentialFiles } from '../../../agent/credential/files.ts'
import { makeKey, makeRequest, makeRoot, makeTemporaryFolder, openssl } from '../../kit/openssl.ts'
import type { OpensslKey } from '../../kit/openssl.ts'

const folder = await makeTemporaryFolder()
after(() => folder[Symbol.asyncDispose]())
const root = await makeRoot(folder.path, 'Root')
const intermediate = await root.makeIntermediate('Intermediate')

const at = (name: string) => join(folder.path, name)

async function makePair(name: string, kind: OpensslKey = 'ec-p256') {
  const keyPath = await makeKey(at(`${name}.key`), kind)
  const leaf = await intermediate.sign(await makeRequest(keyPath, '/CN=edge-0042'))
  return { keyPath, leaf, certPath: await put(`${name}.pem`, leaf) }
}

async function put(name: string, content: string): Promise<string> {
  await writeFile(at(name), content)
  return at(name)
}

test('a pair is loaded as it is: the leaf alone, or a chain in any order, leaf first in the end', async () => {
  const { keyPath, leaf, certPath } = await makePair('pair')
  const alone = await loadCredentialFiles({ certPath, keyPath })
  assert.deepEqual([alone.lane, alone.origin, alone.keyFile], ['x509', 'files', keyPath])
  assert.equal(alone.chainPem, leaf)
  assert.equal(alone.keyPem, await readFile(keyPath, 'utf8'))
  assert.equal(alone.facts.commonName, 'edge-0042')
  const all = [root.certificatePem, leaf, intermediate.certificatePem]
  const wanted = leaf + intermediate.certificatePem + root.certificatePem
  for (const order of [all, all.toReversed()]) {
    const { chainPem } = await loadCredentialFiles({ certPath: await put('chain.pem', order.join('')), keyPath })
    assert.equal(chainPem, wanted)
  }
})

test('neither purposes nor dates nor the name of a pair are judged', async () => {
  const keyPath = await makeKey(at('old.key'), 'rsa-2048')
  const profile = { extensions: '', notBefore: new Date('2020-01-01'), notAfter: new Date('2021-01-01') }
  const certPath = await put('old.pem', await intermediate.sign(await makeRequest(keyPath, '/CN=x'), profile))
  assert.equal((await loadCredentialFiles({ certPath, keyPath })).facts.notAfter, '2021-01-01T00:00:00.000Z')
})

test('certificate and key that are no pair are refused, of the same type and of another', async () => {
  const { certPath } = await makePair('mine')
  for (const kind of ['ec-p256', 'rsa-2048'] as const) {
    const { keyPath } = await makePair(`theirs-${kind}`, kind)
    await assert.rejects(loadCredentialFiles({ certPath, keyPath }), { code: 'TLS_LOCAL_CREDENTIAL' })
  }
})

test('an exposed key is refused with the command that mends it, even through a link', async () => {
  const { certPath, keyPath } = await makePair('exposed')
  await chmod(keyPath, 0o644)
  await symlink(keyPath, at('link.key'))
  for (const path of [keyPath, at('link.key')]) {
    await assert.rejects(loadCredentialFiles({ certPath, keyPath: path }), {
      code: 'KEY_EXPOSED',
      message: /chmod 600/,
    })
  }
  await chmod(keyPath, 0o600)
  assert.equal((await loadCredentialFiles({ certPath, keyPath })).lane, 'x509')
  await mkdir(at('open'))
  const inside = await makeKey(join(at('open'), 'key'))
  await chmod(at('open'), 0o777)
  await assert.rejects(loadCredentialFiles({ certPath, keyPath: inside }), {
    code: 'KEY_EXPOSED',
    message: /chmod o-w/,
  })
})

test('missing, encrypted and unsupported keys and missing certificates are each named', async () => {
  const { certPath, keyPath } = await makePair('good')
  await openssl(['pkey', '-in', keyPath, '-aes256', '-passout', 'pass:x', '-out', at('encrypted.key')])
  const odd = await makePair('odd', 'ed25519')
  const refusal = (files: { certPath?: string; keyPath?: string }) =>
    loadCredentialFiles({ certPath, keyPath, ...files })
  await assert.rejects(refusal({ keyPath: at('none') }), { code: 'KEY_UNREADABLE', message: /ENOENT/ })
  await assert.rejects(refusal({ keyPath: at('encrypted.key') }), { code: 'KEY_UNREADABLE', message: /encrypted/ })
  await assert.rejects(refusal(odd), { code: 'KEY_TYPE_UNSUPPORTED' })
  await assert.rejects(refusal({ certPath: at('none') }), { code: 'CHAIN_UNREADABLE', message: /ENOENT/ })
  await assert.rejects(refusal({ certPath: await put('junk.pem', 'junk') }), { code: 'CHAIN_UNREADABLE' })
})
