import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'node:test'
import { certificateFacts } from '../../../agent/pki/certificate.ts'
import { makeKey, makeRequest, makeRoot, makeTemporaryFolder, openssl } from '../../kit/openssl.ts'

test('the facts of a certificate are those that openssl prints', async () => {
  await using folder = await makeTemporaryFolder()
  const root = await makeRoot(folder.path, 'Root CA')
  for (const kind of ['ec-p256', 'ec-p384', 'rsa-2048'] as const) {
    const key = await makeKey(join(folder.path, `${kind}.key`), kind)
    const notBefore = new Date('2026-01-02T03:04:05Z')
    const notAfter = new Date('2049-02-03T04:05:06Z')
    const pem = await root.sign(await makeRequest(key, '/C=US/O=Contoso/CN=edge-0042'), { notBefore, notAfter })
    const path = join(folder.path, 'leaf.pem')
    await writeFile(path, pem)
    const print = async (...what: string[]) =>
      (await openssl(['x509', '-in', path, '-noout', ...what])).trim().replace(/^[^=]*=/, '')
    const facts = certificateFacts(new X509Certificate(await readFile(path)))
    assert.equal(facts.thumbprintSha256, (await print('-fingerprint', '-sha256')).replaceAll(':', ''))
    assert.equal(facts.thumbprintSha1, (await print('-fingerprint', '-sha1')).replaceAll(':', ''))
    assert.equal(facts.serial, await print('-serial'))
    assert.equal(facts.commonName, 'edge-0042')
    assert.equal(facts.issuer, 'CN=Root CA')
    assert.match(facts.subject, /O=Contoso/)
    assert.doesNotMatch(facts.subject, /\n/)
    assert.equal(facts.notBefore, notBefore.toISOString())
    assert.equal(facts.notAfter, notAfter.toISOString())
    assert.equal(facts.keyKind, kind)
  }
})

test('a subject with two common names has none', async () => {
  await using folder = await makeTemporaryFolder()
  const key = await makeKey(join(folder.path, 'key'))
  const pem = await openssl(['req', '-x509', '-key', key, '-subj', '/CN=edge-0042/CN=other'])
  assert.equal(certificateFacts(new X509Certificate(pem)).commonName, '')
})
