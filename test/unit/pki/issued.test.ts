import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { pemOfIssued } from '../../../agent/pki/issued.ts'
import { makeRoot, makeTemporaryFolder } from '../../kit/openssl.ts'

test('base64 of DER and PEM are the same certificate, and their order is kept', async () => {
  await using folder = await makeTemporaryFolder()
  const [one, other] = [await makeRoot(folder.path, 'One'), await makeRoot(folder.path, 'Other')]
  const der = new X509Certificate(one.certificatePem).raw.toString('base64')
  const pem = pemOfIssued([der, other.certificatePem]) ?? ''
  const read = pem
    .match(/-----BEGIN[^]+?-----END CERTIFICATE-----\n/g)
    ?.map((text) => new X509Certificate(text).subject)
  assert.deepEqual(read, ['CN=One', 'CN=Other'])
})

test('no chain, an empty one and null are no certificate', () => {
  for (const none of [undefined, null, []]) assert.equal(pemOfIssued(none), undefined)
})

for (const [name, value] of [
  ['a text', 'MIIB'],
  ['an object', { certificates: [] }],
  ['a number among texts', ['MIIB', 7]],
  ['what is no base64', ['no base64!']],
  ['an empty text', ['']],
  ['more certificates than any chain has', Array.from({ length: 11 }, () => 'MIIB')],
  ['more text than any chain has', ['A'.repeat(70_000)]],
] as const)
  test(`${name} is unreadable`, () => {
    assert.equal(pemOfIssued(value), 'unreadable')
  })

test('whatever comes, it does not throw', () => {
  fc.assert(fc.property(fc.anything(), (value) => pemOfIssued(value) !== ''))
})
