/** Certificates that renew themselves: at their time, with a new key, through whatever issues them; and what becomes of a refused one. */
import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import { calm } from './agent-kit.ts'
import { makeRoot, makeTemporaryFolder } from '../kit/openssl.ts'
import {
  bootUnit,
  ended,
  install,
  MINUTE,
  pass,
  reported,
  requestOf,
  SECOND,
  startBed,
  steady,
  toX509,
  wish,
} from './transition-kit.ts'
import type { Bed, ReportedAuth, Unit } from './transition-kit.ts'
import { assertOneAtATime, registrationsOf, sessionsOf } from './transition-record.ts'

let bed: Bed

before(async () => {
  bed = await startBed()
})
after(() => bed[Symbol.asyncDispose]())
afterEach(() => calm(bed.cloud))

const HOUR = 60 * MINUTE

/** Without a spread the point is where the rule says, whatever the thumbprint. */
const toml = '[auth.renewal]\nspreadPercent = 0\n'

type Certificate = NonNullable<ReportedAuth['certificate']> & {
  readonly notBefore: string
  readonly notAfter: string
  readonly renewAt: string
  readonly issuedBy: string
}
const certificateOf = ({ certificate }: ReportedAuth) => certificate as Certificate

/** Signs a certificate of so many hours from the time of the cloud on. */
const ofHours = (hours: number) => (csr: string) =>
  bed.cloud.authority.signDevice(csr, { notBefore: new Date(bed.now()), notAfter: new Date(bed.now() + hours * HOUR) })

const ofAnHour = ofHours(1)

/** A device on a certificate that does not last for long. */
async function shortLived(id: string, sign = ofAnHour): Promise<{ readonly unit: Unit; readonly first: Certificate }> {
  const unit = await bootUnit(bed, id, { toml })
  await toX509(unit, sign)
  return {
    unit,
    first: certificateOf(await reported(unit, ({ mode, state }) => mode === 'x509' && state === 'active')),
  }
}

/** Lets time pass until the device asks for its next certificate. */
async function untilDue(unit: Unit, { renewAt }: Certificate): Promise<void> {
  await pass(unit, Date.parse(renewAt) - unit.clock.now() + 10 * SECOND)
  await reported(unit, ({ state }) => state === 'awaitingCertificate')
}

const another = (unit: Unit, { thumbprintSha256 }: Certificate) =>
  reported(
    unit,
    ({ state, certificate }) =>
      state === 'active' && certificate !== undefined && certificate.thumbprintSha256 !== thumbprintSha256,
  )

test('at seven tenths of its lifetime a certificate is renewed with a new key, by way of DPS, and again after that', async () => {
  const { unit, first } = await shortLived('renews-1')
  await using _unit = unit
  const lifetimeMs = Date.parse(first.notAfter) - Date.parse(first.notBefore)
  const point = Date.parse(first.notBefore) + 0.7 * lifetimeMs
  assert.ok(Math.abs(Date.parse(first.renewAt) - point) < 10 * SECOND, first.renewAt)
  assert.equal(first.issuedBy, 'folder')
  const keyOf = (generation: number) => unit.device.read(`credentials/gen-000${generation}/key.pem`)

  let present = first
  for (const generation of [2, 3]) {
    await untilDue(unit, present)
    await install(unit, ofAnHour)
    const auth = await another(unit, present)
    assert.deepEqual([auth.lastAttempt?.cause, auth.lastAttempt?.result], ['renewal', 'active'])
    assert.notEqual(await keyOf(generation), await keyOf(generation - 1))
    present = certificateOf(auth)
  }
  assert.deepEqual(sessionsOf(unit), ['sas', 'x509', 'x509', 'x509'])
  assert.deepEqual(registrationsOf(unit), ['fleet-sas', 'fleet-x509', 'fleet-x509', 'fleet-x509'])
  assertOneAtATime(unit)
})

test('a renewed certificate that DPS refuses leaves the old one at work, and the next is of another key', async () => {
  await using folder = await makeTemporaryFolder()
  const stranger = await makeRoot(folder.path, 'Somebody else')
  const { unit, first } = await shortLived('renews-2')
  await using _unit = unit
  await untilDue(unit, first)
  const refusedRequest = await requestOf(unit)
  await install(unit, (csr) =>
    stranger.sign(csr, { notBefore: new Date(bed.now()), notAfter: new Date(bed.now() + HOUR) }),
  )
  const kept = await reported(unit, ({ state, lastAttempt }) => state === 'active' && lastAttempt?.cause === 'renewal')
  assert.notEqual(kept.lastAttempt?.result, 'active')
  assert.equal(kept.lastAttempt?.code, 'DPS_UNAUTHORIZED')
  assert.equal(certificateOf(kept).thumbprintSha256, first.thumbprintSha256)
  await steady(unit)

  // The next attempt: after an eighth of what was left.
  const next = certificateOf(kept)
  assert.ok(Date.parse(next.renewAt) < Date.parse(first.notAfter))
  await untilDue(unit, next)
  assert.notEqual(await requestOf(unit), refusedRequest)
  await install(unit, ofAnHour)
  const auth = await another(unit, first)
  assert.deepEqual([auth.lastAttempt?.cause, auth.lastAttempt?.result], ['renewal', 'active'])
})

test('while DPS is away a renewal ends undecided, the old certificate goes on, and the new one is used at the next attempt', async () => {
  const { unit, first } = await shortLived('renews-3', ofHours(4))
  await using _unit = unit
  await untilDue(unit, first)
  bed.cloud.faults.set('dpsAnswer', '503')
  await install(unit, ofHours(4))
  await reported(unit, ({ state }) => state === 'registering')
  await pass(unit, 9 * MINUTE)
  await unit.agent().journal.heard(({ event }) => event === 'the candidate is not registered')
  await pass(unit, 3 * MINUTE)
  await unit.agent().journal.heard(({ event }) => event === 'failed')
  calm(bed.cloud)
  await pass(unit, MINUTE)
  const kept = await reported(unit, ({ state, lastAttempt }) => state === 'active' && lastAttempt?.cause === 'renewal')
  assert.equal(kept.lastAttempt?.result, 'unreachable')
  assert.equal(certificateOf(kept).thumbprintSha256, first.thumbprintSha256)
  const { renewAt } = certificateOf(kept)
  await pass(unit, Date.parse(renewAt) - unit.clock.now() + 10 * SECOND)
  const auth = await another(unit, first)
  assert.deepEqual([auth.lastAttempt?.cause, auth.lastAttempt?.result], ['renewal', 'active'])
  assert.equal(await unit.device.has('credentials/gen-0003/key.pem'), false, 'no third key was made')
})

test('nothing is renewed where the owner has said so', async () => {
  await using unit = await bootUnit(bed, 'renews-4', { toml: '[auth.renewal]\nenabled = false\n' })
  await toX509(unit, ofAnHour)
  const auth = await reported(unit, ({ mode, state }) => mode === 'x509' && state === 'active')
  assert.equal(certificateOf(auth).renewAt, undefined)
  await pass(unit, 55 * MINUTE)
  assert.equal(await unit.device.has(`requests/${unit.id}.csr`), false)
})

/** DPS knows these authorities as the signing certificates of the group. */
function enrol(primary: string, secondary?: string): void {
  const signingCertificates = {
    primary: { certificate: primary },
    ...(secondary !== undefined && { secondary: { certificate: secondary } }),
  }
  bed.cloud.enrollFleet('fleet-x509', { attestation: { type: 'x509', x509: { signingCertificates } } })
}

for (const [title, id, rootFor] of [
  ['a new intermediate', 'rolls-1', () => Promise.resolve(bed.cloud.authority.root)],
  ['a new root and its intermediate', 'rolls-2', (folder: string) => makeRoot(folder, 'Next Root')],
] as const)
  test(`${title} takes the place of the old one without a gap: both are known while the devices renew`, async () => {
    await using folder = await makeTemporaryFolder()
    const old = bed.cloud.authority.intermediate
    const root = await rootFor(folder.path)
    const next = await root.makeIntermediate(`Next ${id}`)
    await using unit = await bootUnit(bed, id, { toml })
    await toX509(unit)
    try {
      enrol(old.certificatePem, next.certificatePem)
      const version = wish(unit, { mode: 'x509', renew: 'with the next authority' })
      await install(unit, async (csr) => (await next.sign(csr)) + next.certificatePem)
      assert.equal((await ended(unit, version)).lastAttempt?.result, 'active')
      enrol(next.certificatePem)
      const again = wish(unit, { mode: 'x509', renew: 'without the old one' })
      await install(unit, async (csr) => (await next.sign(csr)) + next.certificatePem)
      assert.equal((await ended(unit, again)).lastAttempt?.result, 'active')
      await steady(unit)
      assert.deepEqual(sessionsOf(unit), ['sas', 'x509', 'x509', 'x509'])
      assertOneAtATime(unit)
    } finally {
      enrol(old.certificatePem)
    }
  })
