/** Certificates that DPS issues with a registration (a preview of Azure): born, moved, renewed, refused and taken back. */
import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import { calm } from './agent-kit.ts'
import { bootUnit, ended, homeOf, MINUTE, pass, reported, SECOND, startBed, steady, wish } from './transition-kit.ts'
import type { Bed, ReportedAuth, Unit } from './transition-kit.ts'
import { assertOneAtATime, sessionsOf } from './transition-record.ts'

const POLICY = 'an-hour'
const HOUR = 60 * MINUTE

let bed: Bed

before(async () => {
  bed = await startBed({}, { credentialPolicyName: POLICY })
  await bed.cloud.namespace.putPolicy(POLICY, { validitySeconds: 3600, backdatedSeconds: 0 })
})
after(() => bed[Symbol.asyncDispose]())
afterEach(() => calm(bed.cloud))

const dps = '[issuer]\nkind = "dps"\n[auth.renewal]\nspreadPercent = 0\n'
const bornOnX509 = `[auth]\nmode = "x509"\n${dps}`

type Certificate = NonNullable<ReportedAuth['certificate']> & {
  readonly notAfter: string
  readonly renewAt: string
  readonly issuedBy: string
}
const certificateOf = ({ certificate }: ReportedAuth) => certificate as Certificate

/** A device that DPS has issued its first certificate for. */
async function managed(id: string, toml = bornOnX509): Promise<{ readonly unit: Unit; readonly first: Certificate }> {
  const unit = await bootUnit(bed, id, { toml })
  const auth = await reported(unit, ({ mode, state }) => mode === 'x509' && state === 'active')
  return { unit, first: certificateOf(auth) }
}

const identityTypeOf = ({ id }: Unit) => homeOf(bed, id).identity(id)?.authentication.type

const another = (unit: Unit, { thumbprintSha256 }: Certificate) =>
  reported(
    unit,
    ({ state, certificate }) =>
      state === 'active' && certificate !== undefined && certificate.thumbprintSha256 !== thumbprintSha256,
  )

/** Lets time pass, up to an hour, until the twin says so. */
async function passUntil(unit: Unit, isSo: (auth: ReportedAuth) => boolean): Promise<void> {
  const isOver = () => {
    const auth = homeOf(bed, unit.id).twin(unit.id)?.reported['auth'] as ReportedAuth | undefined
    return auth !== undefined && isSo(auth)
  }
  for (let minutes = 0; minutes < 60 && !isOver(); minutes += 1) await pass(unit, MINUTE)
}

test('a device that holds nothing but its symmetric key is born on X.509, with a certificate from DPS', async () => {
  const { unit, first } = await managed('managed-born')
  await using _unit = unit
  assert.equal(first.issuedBy, 'dps')
  assert.equal(identityTypeOf(unit), 'certificateAuthority')
  assert.deepEqual(sessionsOf(unit), ['x509'])
  assert.equal(await unit.device.has(`requests/${unit.id}.csr`), false, 'nobody is asked to sign')

  // The certificate serves at the next start, without DPS.
  await unit.agent().stop()
  bed.cloud.faults.set('dpsAnswer', '503')
  unit.boot()
  await steady(unit)
  assert.deepEqual(sessionsOf(unit), ['x509', 'x509'])
})

test('a device on SAS is moved to a certificate from DPS by its twin', async () => {
  await using unit = await bootUnit(bed, 'managed-moved', { toml: dps })
  assert.deepEqual(sessionsOf(unit), ['sas'])
  const version = wish(unit, { mode: 'x509' })
  const auth = await ended(unit, version)
  assert.equal(auth.lastAttempt?.result, 'active')
  assert.equal(certificateOf(auth).issuedBy, 'dps')
  assert.deepEqual(sessionsOf(unit), ['sas', 'x509'])
  assertOneAtATime(unit)
})

test('it renews itself by DPS, with a new key each time', async () => {
  const { unit, first } = await managed('managed-renewed')
  await using _unit = unit
  let present = first
  for (const generation of [2, 3]) {
    await pass(unit, Date.parse(present.renewAt) - unit.clock.now() + 10 * SECOND)
    const auth = await another(unit, present)
    assert.deepEqual([auth.lastAttempt?.cause, auth.lastAttempt?.result], ['renewal', 'active'])
    const keyOf = (number: number) => unit.device.read(`credentials/gen-000${number}/key.pem`)
    assert.notEqual(await keyOf(generation), await keyOf(generation - 1))
    present = certificateOf(auth)
  }
  assert.deepEqual(sessionsOf(unit), ['x509', 'x509', 'x509'])
  assertOneAtATime(unit)
})

/** What is issued at the renewal is no good, and the next time it is. */
async function renewsInVain(id: string, fault: 'absent' | 'otherKey' | 'otherName', code: string): Promise<void> {
  const { unit, first } = await managed(id)
  await using _unit = unit
  bed.cloud.faults.set('issuedChain', fault)
  await pass(unit, Date.parse(first.renewAt) - unit.clock.now() + 10 * SECOND)
  const kept = await reported(unit, ({ state, lastAttempt }) => state === 'active' && lastAttempt?.cause === 'renewal')
  assert.equal(kept.lastAttempt?.code, code)
  assert.notEqual(kept.lastAttempt?.result, 'active')
  assert.equal(certificateOf(kept).thumbprintSha256, first.thumbprintSha256)
  await steady(unit)
  calm(bed.cloud)
  await pass(unit, Date.parse(certificateOf(kept).renewAt) - unit.clock.now() + 10 * SECOND)
  const auth = await another(unit, first)
  assert.deepEqual([auth.lastAttempt?.cause, auth.lastAttempt?.result], ['renewal', 'active'])
}

test('a renewal that DPS answers without a certificate leaves the old one, and is tried again', () =>
  renewsInVain('managed-absent', 'absent', 'DPS_NO_CERTIFICATE'))

test('so does one with the certificate of another key', () =>
  renewsInVain('managed-other-key', 'otherKey', 'CHAIN_KEY_MISMATCH'))

test('so does one with a certificate in another name', () =>
  renewsInVain('managed-other-name', 'otherName', 'CHAIN_NAME_MISMATCH'))

test('a device on SAS to which DPS gives no certificate stays on SAS, and says why', async () => {
  bed.cloud.faults.set('issuedChain', 'absent')
  await using unit = await bootUnit(bed, 'managed-none', { toml: dps })
  const version = wish(unit, { mode: 'x509' })
  const auth = await ended(unit, version)
  assert.equal(auth.lastAttempt?.code, 'DPS_NO_CERTIFICATE')
  assert.equal(auth.mode, 'sas')
  assert.equal(identityTypeOf(unit), 'sas')
  await steady(unit)
})

test('a certificate that was revoked is replaced by itself', async () => {
  const { unit, first } = await managed('managed-revoked')
  await using _unit = unit
  bed.cloud.namespace.revokeDevice(unit.id)
  homeOf(bed, unit.id).reconsider(unit.id)
  await passUntil(unit, ({ lastAttempt }) => lastAttempt?.cause === 'rescue')
  const auth = await another(unit, first)
  assert.deepEqual([auth.lastAttempt?.cause, auth.lastAttempt?.result], ['rescue', 'active'])
})

test('one that expired while the device was off is replaced at its next start', async () => {
  const { unit, first } = await managed('managed-expired')
  await using _unit = unit
  await unit.agent().stop()
  bed.shift(2 * HOUR)
  await unit.clock.advance(2 * HOUR)
  unit.boot()
  await pass(unit, 5 * MINUTE)
  const auth = await another(unit, first)
  assert.equal(auth.lastAttempt?.result, 'active')
})

test('from a certificate of DPS to SAS by the twin, and back', async () => {
  const { unit, first } = await managed('managed-toggled')
  await using _unit = unit
  await ended(unit, wish(unit, { mode: 'sas' }))
  assert.equal(identityTypeOf(unit), 'sas')
  const back = await ended(unit, wish(unit, { mode: 'x509' }))
  assert.equal(identityTypeOf(unit), 'certificateAuthority')
  assert.notEqual(certificateOf(back).thumbprintSha256, first.thumbprintSha256)
  assert.deepEqual(sessionsOf(unit), ['x509', 'sas', 'x509'])
})

test('SAS that the hub refuses after its registration is taken back: with a new certificate, since the old one is none any more', async () => {
  const { unit, first } = await managed('managed-back')
  await using _unit = unit
  bed.cloud.faults.set('disableDeviceSAS', 'true')
  const version = wish(unit, { mode: 'sas' })
  await passUntil(unit, ({ lastAttempt }) => lastAttempt?.version === version)
  const auth = await ended(unit, version)
  assert.notEqual(auth.lastAttempt?.result, 'active')
  assert.equal(auth.mode, 'x509')
  assert.notEqual(certificateOf(auth).thumbprintSha256, first.thumbprintSha256)
  assert.equal(identityTypeOf(unit), 'certificateAuthority')
})

test('a hub out of reach leads to DPS after a while, and there to another certificate, without a fallback', async () => {
  const { unit, first } = await managed('managed-elsewhere')
  await using _unit = unit
  bed.cloud.faults.set('closeAfterHandshake', 'hub')
  await unit.agent().stop()
  unit.boot()
  await pass(unit, 10 * MINUTE + 30 * SECOND)
  await unit.agent().journal.heard('registering the candidate with DPS')
  calm(bed.cloud)
  await passUntil(unit, ({ lastAttempt }) => lastAttempt?.cause === 'rescue')
  const auth = await another(unit, first)
  assert.deepEqual([auth.lastAttempt?.cause, auth.lastAttempt?.code], ['rescue', undefined])
})

test('SAS is not retired while DPS issues certificates by it', async () => {
  const { unit } = await managed('managed-keeps-sas', bornOnX509)
  await using _unit = unit
  wish(unit, { sasRetired: true })
  await pass(unit, 2 * MINUTE)
  const { waiting } = await reported(unit, (auth) => auth.waiting !== undefined)
  assert.equal(waiting?.code, 'AUTH_NOT_PROVEN_YET')
  assert.match(waiting.reason, /by its SAS secret/)
})
