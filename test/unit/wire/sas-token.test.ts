import assert from 'node:assert/strict'
import { createSecretKey } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { Failure } from '../../../agent/failure.ts'
import { loadTlsIdentity } from '../../../agent/wire/credential.ts'
import { signToken, withTokenEnd } from '../../../agent/wire/sas-token.ts'
import { makeTemporaryFolder, openssl } from '../../kit/openssl.ts'

const KEY_BYTES = Buffer.from('the key of edge-0042, 32 bytes..')
const key = createSecretKey(KEY_BYTES)
const NOW_MS = Date.UTC(2026, 0, 2, 3, 4, 5)
const END_SECONDS = NOW_MS / 1000 + 3_600

/** Base64 of the HMAC-SHA256 that openssl computes. */
async function macOf(text: string): Promise<string> {
  await using folder = await makeTemporaryFolder()
  const path = join(folder.path, 'text')
  await writeFile(path, text)
  const hex = ['-mac', 'HMAC', '-macopt', `hexkey:${KEY_BYTES.toString('hex')}`]
  const printed = await openssl(['dgst', '-sha256', ...hex, path])
  return Buffer.from(printed.trim().split('= ')[1] ?? '', 'hex').toString('base64')
}

const fieldsOf = (token: string) => {
  const [scheme, rest = ''] = token.split(' ')
  assert.equal(scheme, 'SharedAccessSignature')
  return Object.fromEntries(rest.split('&').map((field) => field.split('=') as [string, string]))
}

for (const [what, resource, sr, keyName] of [
  ['DPS', '0ne00000001/registrations/edge-0042', '0ne00000001%2Fregistrations%2Fedge-0042', 'registration'],
  ['a hub', 'hub-1.azure-devices.net/devices/Edge:1', 'hub-1.azure-devices.net%2Fdevices%2FEdge%3A1', undefined],
] as const) {
  test(`the token for ${what} is signed over what it says, as openssl signs it, and is good for one hour`, async () => {
    const token = signToken(resource, key, NOW_MS, keyName)
    const { sig = '', ...others } = fieldsOf(token.text)
    assert.deepEqual(others, { sr, se: String(END_SECONDS), ...(keyName && { skn: keyName }) })
    assert.equal(decodeURIComponent(sig), await macOf(`${sr}\n${END_SECONDS}`))
    assert.equal(token.endsAtMs, END_SECONDS * 1000)
  })
}

test('the end of a token is a whole second, and never earlier than one hour from now', () => {
  assert.equal(signToken('a/devices/b', key, NOW_MS + 1).endsAtMs, (END_SECONDS + 1) * 1000)
})

test('neither a token nor the credential that signs it shows the key', () => {
  const shown = [signToken('a/devices/b', key, NOW_MS), { lane: 'sas', key }]
    .map((each) => `${inspect(each, { depth: 10, showHidden: true })} ${JSON.stringify(each)}`)
    .join()
  for (const form of ['utf8', 'hex', 'base64'] as const) assert.ok(!shown.includes(KEY_BYTES.toString(form)), shown)
})

test('the lane sas presents no certificate, and says so', () => {
  assert.deepEqual(loadTlsIdentity({ lane: 'sas', key }, undefined).presented, { lane: 'sas' })
})

test('a refusal of a token says until when it is good by our clock, in message and context', () => {
  const cause = new Error('raw')
  const token = signToken('a/devices/b', key, NOW_MS)
  const refused = new Failure('HUB_REFUSED_CREDENTIAL', 'refused', { cause, context: { host: 'a' }, retryAfterMs: 7 })
  const told = withTokenEnd(refused, token)
  assert.equal(told.code, 'HUB_REFUSED_CREDENTIAL')
  assert.match(told.message, /^refused; .*2026-01-02T04:04:05/)
  assert.deepEqual(told.context, { host: 'a', tokenEndsAt: '2026-01-02T04:04:05.000Z' })
  assert.equal(told.cause, cause)
  assert.equal(told.retryAfterMs, 7)
})

test('a failure that is no refusal, or came without a token, stays as it is', () => {
  const token = signToken('a/devices/b', key, NOW_MS)
  const network = new Failure('NETWORK_DNS', 'test')
  const refused = new Failure('HUB_REFUSED_CREDENTIAL', 'test')
  assert.equal(withTokenEnd(network, token), network)
  assert.equal(withTokenEnd(refused, undefined), refused)
})
