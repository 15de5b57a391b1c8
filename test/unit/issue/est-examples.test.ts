/** The examples of RFC 7030 as they stand there, and requests of openssl. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import test from 'node:test'
import { promisify } from 'node:util'
import { Failure } from '../../../agent/failure.ts'
import { keyKindOfRequest, keyKindsWanted } from '../../../agent/issue/est/csr-attributes.ts'
import { certificatesOf } from '../../../agent/issue/est/pkcs7.ts'

/** Source: RFC 7030, 4.5.2: a challenge password, P-384, a MAC address among the extensions, ECDSA with SHA-384. */
const SECTION_4_5_2 = `MEEGCSqGSIb3DQEJBzASBgcqhkjOPQIBMQcGBSuBBAAiMBYGCSqGSIb3DQEJDjEJ
BgcrBgEBAQEWBggqhkjOPQQDAw==
`

/** Source: RFC 7030, A.2: attributes that nobody knows (2.999.1 and 2.999.2) between known ones, and no key. */
const APPENDIX_A_2 = `MHwGBysGAQEBARYwIgYDiDcBMRsTGVBhcnNlIFNFVCBhcyAyLjk5OS4xIGRhdGEG
CSqGSIb3DQEJBzAsBgOINwIxJQYDiDcDBgOINwQTGVBhcnNlIFNFVCBhcyAyLjk5
OS4yIGRhdGEGCSskAwMCCAEBCwYJYIZIAWUDBAIC
`

test('appendix A.1: an old root, a new root, and each signed by the other', async () => {
  const pems = await certificatesOf(await readFile(new URL('rfc7030-cacerts.b64', import.meta.url), 'latin1'))
  const found = pems.map((pem) => new X509Certificate(pem)).map(({ subject, issuer }) => [subject, issuer])
  assert.deepEqual(
    found,
    [
      ['OwO', 'OwO'],
      ['NwO', 'OwO'],
      ['OwN', 'NwN'],
      ['NwN', 'NwN'],
    ].map((pair) => pair.map((name) => `CN=estExampleCA ${name}`)),
  )
})

test('section 4.5.2 asks for a key on P-384; appendix A.2 for no kind of key', () => {
  assert.deepEqual(keyKindsWanted(SECTION_4_5_2), ['ec-p384'])
  assert.deepEqual(keyKindsWanted(APPENDIX_A_2), [])
})

test('an RSA key is asked for by its bits; a list without anything asks for nothing', () => {
  // SEQUENCE { SEQUENCE { OID rsaEncryption, SET { INTEGER 3072 } } }
  const rsa = Buffer.from(['3013', '3011', '06092a864886f70d010101', '3104', '02020c00'].join(''), 'hex')
  assert.deepEqual(keyKindsWanted(rsa.toString('base64')), ['rsa-3072'])
  assert.deepEqual(keyKindsWanted('MAA='), [])
})

for (const body of ['', 'hello', 'AAAA', 'MAAwAA==', 'MAIwAA==', 'MEEGCSqG', 'MIAAAA=='])
  test(`attributes that read ${JSON.stringify(body)} are no attributes`, () => {
    assert.throws(
      () => keyKindsWanted(body),
      (error) => error instanceof Failure && error.code === 'ISSUER_ANSWER_INVALID',
    )
  })

for (const [kind, ...options] of [
  ['ec-p256', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'],
  ['ec-p384', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-384'],
  ['rsa-2048', 'rsa:2048'],
  ['rsa-4096', 'rsa:4096'],
] as const)
  test(`the key of a request of openssl is ${kind}`, async () => {
    const rest = ['-nodes', '-keyout', '/dev/null', '-subj', '/CN=edge-0042', '-batch']
    const { stdout } = await promisify(execFile)('openssl', ['req', '-new', '-newkey', ...options, ...rest])
    assert.equal(keyKindOfRequest(stdout.replaceAll(/-----[^-]+-----|\s/g, '')), kind)
  })
