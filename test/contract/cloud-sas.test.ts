import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { test } from 'node:test'
import type { SasExpectation } from '../cloud/sas.ts'
import { deriveDeviceKey, parseSas, signSas, verifySas } from '../cloud/sas.ts'

const KEY = Buffer.from('0123456789abcdef0123456789abcdef').toString('base64')
const OTHER = Buffer.from('fedcba9876543210fedcba9876543210').toString('base64')
const END = 2_000_000_000

/** HMAC-SHA256 by the openssl command, base64. */
function opensslHmac(key: string, text: string): string {
  const hex = Buffer.from(key, 'base64').toString('hex')
  const args = ['dgst', '-sha256', '-mac', 'HMAC', '-macopt', `hexkey:${hex}`, '-binary']
  return execFileSync('openssl', args, { input: text }).toString('base64')
}

/** A token whose `sr` is these very characters. */
function tokenOver(sr: string, key = KEY, expiresAtSeconds = END): string {
  const sig = encodeURIComponent(opensslHmac(key, `${sr}\n${expiresAtSeconds}`))
  return `SharedAccessSignature sr=${sr}&sig=${sig}&se=${expiresAtSeconds}&skn=registration`
}

function expectation(change: Partial<SasExpectation> = {}): SasExpectation {
  const resource = '0ne1/registrations/edge-0042'
  return { keys: [KEY], resource, scope: 'exact', ignoreCase: 'all', nowMs: (END - 60) * 1000, ...change }
}

function reasonOf(token: string, change: Partial<SasExpectation> = {}): string {
  const result = verifySas(token, expectation(change))
  return result.ok ? 'accepted' : result.reason
}

for (const sr of [
  '0ne1%2Fregistrations%2Fedge-0042',
  '0ne1%2fregistrations%2fedge-0042',
  '0ne1/registrations/edge-0042',
  '0NE1%2fRegistrations%2FEDGE-0042',
])
  test(`the signature is over the literal sr ${sr}`, () => {
    assert.equal(reasonOf(tokenOver(sr)), 'accepted')
  })

test('a token signed over another spelling of its sr is refused', () => {
  const upper = tokenOver('0ne1%2Fregistrations%2Fedge-0042')
  assert.match(reasonOf(upper.replaceAll('%2F', '%2f').replace(/sig=[^&]+/, sigOf(upper))), /fits none of the keys/)
})

function sigOf(token: string): string {
  return /sig=[^&]+/.exec(token)?.[0] ?? ''
}

test('fields are read by name in any order, as the Node SDK sends them', () => {
  const [sr, sig, se, skn] = tokenOver('0ne1/registrations/edge-0042').slice('SharedAccessSignature '.length).split('&')
  const reordered = parseSas(`SharedAccessSignature ${[se, skn, sr, sig].join('&')}`)
  assert.ok(reordered.ok)
  assert.equal(reordered.value.skn, 'registration')
  assert.equal(reordered.value.expiresAtSeconds, END)
  assert.equal(reordered.value.resource, '0ne1/registrations/edge-0042')
})

test('either of two keys may have signed, and empty ones are passed over', () => {
  const token = tokenOver('0ne1/registrations/edge-0042', OTHER)
  assert.equal(reasonOf(token, { keys: [KEY, OTHER] }), 'accepted')
  assert.match(reasonOf(token), /fits none of the keys/)
  // HMAC pads its key with zeros, so one zero byte signs as an empty key would.
  const unkeyed = tokenOver('0ne1/registrations/edge-0042', 'AA==')
  assert.match(reasonOf(unkeyed, { keys: ['', null, undefined] }), /fits none of the keys/)
})

test('a token passes until its end and the skew are over', () => {
  const token = tokenOver('0ne1/registrations/edge-0042')
  assert.equal(reasonOf(token, { nowMs: END * 1000 }), 'accepted')
  assert.equal(reasonOf(token, { nowMs: (END + 5) * 1000 }), 'accepted')
  assert.match(reasonOf(token, { nowMs: (END + 5) * 1000 + 1 }), /expired at 2033-05-18T03:33:20/)
  assert.match(reasonOf(token, { nowMs: END * 1000 + 1, skewSeconds: 0 }), /expired/)
})

test('a token for another resource is refused', () => {
  assert.match(reasonOf(tokenOver('0ne1/registrations/edge-0043')), /is for 0ne1\/registrations\/edge-0043/)
  assert.match(reasonOf(tokenOver('0ne1/registrations')), /and not for/)
})

test('a hub token covers by whole path segments, ignores the case of the host and not that of the device', () => {
  const hub = { resource: 'hub1.azure-devices.net/devices/edge-0042', scope: 'prefix', ignoreCase: 'host' } as const
  assert.equal(reasonOf(tokenOver('HUB1.azure-devices.net%2Fdevices%2Fedge-0042'), hub), 'accepted')
  assert.equal(reasonOf(tokenOver('hub1.azure-devices.net'), hub), 'accepted')
  assert.match(reasonOf(tokenOver('hub1.azure-devices.net%2Fdevices%2Fedge-00'), hub), /and not for/)
  assert.match(reasonOf(tokenOver('hub1.azure-devices.net%2Fdevices%2FEdge-0042'), hub), /and not for/)
  assert.match(reasonOf(tokenOver('hub1.azure-devices.net%2Fdevices%2Fedge-0042%2Fmodules%2Fm'), hub), /and not for/)
})

const broken: readonly (readonly [string, RegExp])[] = [
  ['Bearer abc', /does not begin/],
  ['SharedAccessSignature ', /field without a name/],
  ['SharedAccessSignature sr=a&sig=b', /no se/],
  ['SharedAccessSignature sr=a&sig=b&se=soon', /no se/],
  ['SharedAccessSignature sr=a&se=1', /no sig/],
  ['SharedAccessSignature sig=b&se=1', /no sr/],
  ['SharedAccessSignature sr=a&sr=b&sig=c&se=1', /names sr twice/],
  ['SharedAccessSignature sr=a%2&sig=c&se=1', /percent/],
  ['SharedAccessSignature sr=a&sig=%E0%A4%A&se=1', /percent/],
]
for (const [text, reason] of broken)
  test(`a token like ${JSON.stringify(text)} is refused with its reason`, () => {
    const result = parseSas(text)
    assert.ok(!result.ok)
    assert.match(result.reason, reason)
  })

test('the key of a device of a group is the HMAC of its lower-case registration ID, as openssl computes it', () => {
  const expected = opensslHmac(KEY, 'sn-007-888-abc-mac-a1-b2-c3-d4-e5-f6')
  assert.equal(deriveDeviceKey(KEY, 'sn-007-888-abc-mac-a1-b2-c3-d4-e5-f6'), expected)
  assert.equal(deriveDeviceKey(KEY, 'SN-007-888-abc-MAC-a1-B2-c3-d4-e5-f6'), expected)
})

test('a token is signed as openssl signs it, in each encoding of sr', () => {
  const request = { resource: '0ne1/registrations/edge-0042', key: KEY, expiresAtSeconds: END, skn: 'registration' }
  assert.equal(signSas(request), tokenOver('0ne1%2Fregistrations%2Fedge-0042'))
  assert.equal(signSas({ ...request, encoding: 'lower' }), tokenOver('0ne1%2fregistrations%2fedge-0042'))
  assert.equal(signSas({ ...request, encoding: 'raw' }), tokenOver('0ne1/registrations/edge-0042'))
})
