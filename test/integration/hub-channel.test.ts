/** A device on its SAS session is certified without anybody reaching it: its request stands in the twin, the chain comes by a direct method. */
import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { after, before, test } from 'node:test'
import { eventually } from '../kit/device.ts'
import { bootUnit, ended, reported, startBed, wish } from './transition-kit.ts'
import type { Bed, Unit } from './transition-kit.ts'
import { assertOneAtATime, sessionsOf } from './transition-record.ts'

let bed: Bed

before(async () => {
  bed = await startBed()
})
after(() => bed[Symbol.asyncDispose]())

/** What a fleet tool does: it sees only the hub. */
const call = (unit: Unit, name: string, payload?: unknown) =>
  bed.cloud.hub.invokeMethod(unit.id, { name, payload, responseTimeoutSeconds: 30 }) as Promise<{
    readonly status: number
    readonly payload: Readonly<Record<string, string>>
  }>

/** The request in the twin, as PEM. */
async function requestInTwin(unit: Unit): Promise<string> {
  const auth = await reported(unit, (found) => (found as { readonly csr?: string }).csr !== undefined)
  const { csr = '' } = auth as { readonly csr?: string }
  assert.match(csr, /^[A-Za-z0-9+/]+={0,2}$/, 'base64 of the DER in one line')
  const lines = csr.match(/.{1,64}/g) ?? []
  return `-----BEGIN CERTIFICATE REQUEST-----\n${lines.join('\n')}\n-----END CERTIFICATE REQUEST-----\n`
}

/** Hands the chain in, and lets the time pass in which a file that was laid down settles. */
async function handIn(unit: Unit, chain: string) {
  const answer = await call(unit, 'installCertificate', { chain })
  if (answer.status === 200)
    await eventually(async () => {
      const settling = unit.clock.pending().find((leftMs) => leftMs <= 500)
      if (settling !== undefined) await unit.clock.advance(settling)
      return (await unit.device.has(`issued/${unit.id}.pem`)) ? undefined : true
    })
  return answer
}

test('a SAS device that is wished to X.509 shows its request in the twin and takes the chain by a method', async () => {
  await using unit = await bootUnit(bed, 'channel-1')
  const version = wish(unit, { mode: 'x509' })
  const chain = await bed.cloud.authority.signDevice(await requestInTwin(unit))
  const answer = await handIn(unit, chain)
  const leaf = new X509Certificate(chain)
  assert.equal(answer.status, 200)
  assert.equal(answer.payload['thumbprintSha256'], leaf.fingerprint256.replaceAll(':', ''))
  const auth = await ended(unit, version)
  assert.deepEqual([auth.mode, auth.lastAttempt?.result], ['x509', 'active'])
  assert.equal(auth.certificate?.thumbprintSha256, leaf.fingerprint256.replaceAll(':', ''))
  assert.deepEqual(sessionsOf(unit), ['sas', 'x509'])
  assertOneAtATime(unit)
  assert.equal((auth as { readonly csr?: string }).csr, undefined, 'nothing waits any more')
})

test('the request comes by a method as well, and is the one in the twin', async () => {
  await using unit = await bootUnit(bed, 'channel-2')
  const none = await call(unit, 'getCsr')
  assert.deepEqual([none.status, none.payload['code']], [409, 'NO_PENDING_REQUEST'])
  wish(unit, { mode: 'x509' })
  const inTwin = await requestInTwin(unit)
  const { status, payload } = await call(unit, 'getCsr')
  assert.equal(status, 200)
  assert.equal(payload['csr']?.replaceAll(/\s/g, ''), inTwin.replaceAll(/\s/g, ''))
  assert.equal(payload['keyKind'], 'ec-p256')
})

test('a chain that is not for this request is refused by name, changes nothing, and the right one is still taken', async () => {
  await using unit = await bootUnit(bed, 'channel-3')
  const version = wish(unit, { mode: 'x509' })
  const request = await requestInTwin(unit)
  const other = await bed.cloud.authority.makeDevice('channel-3')
  const foreign = await handIn(unit, other.chainPem)
  assert.deepEqual([foreign.status, foreign.payload['code']], [409, 'CHAIN_KEY_MISMATCH'])
  const named = await handIn(unit, await bed.cloud.authority.signDevice(request, { subject: '/CN=somebody-else' }))
  assert.deepEqual([named.status, named.payload['code']], [409, 'CHAIN_NAME_MISMATCH'])
  const garbage = await handIn(unit, 'not a certificate')
  assert.equal(garbage.status, 409)
  assert.match(String(garbage.payload['code']), /^CHAIN_/)
  assert.equal(await unit.device.has('issued/channel-3.pem'), false)
  assert.equal((await handIn(unit, await bed.cloud.authority.signDevice(request))).status, 200)
  assert.equal((await ended(unit, version)).mode, 'x509')
})

test('nobody can press a certificate on a device that waits for none, and a payload too long is not looked at', async () => {
  await using unit = await bootUnit(bed, 'channel-4')
  const { chainPem } = await bed.cloud.authority.makeDevice('channel-4')
  const answer = await call(unit, 'installCertificate', { chain: chainPem })
  assert.deepEqual([answer.status, answer.payload['code']], [409, 'NO_PENDING_REQUEST'])
  const long = await call(unit, 'installCertificate', { chain: 'x'.repeat(100_001) })
  assert.deepEqual([long.status, long.payload['code']], [400, 'METHOD_INVALID'])
  const trail = await unit.device.read('audit.ndjson')
  assert.match(trail, /installCertificate/)
  assert.doesNotMatch(trail, /BEGIN CERTIFICATE/)
})
