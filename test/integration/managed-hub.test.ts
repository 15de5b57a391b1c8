/** Certificates that the hub renews over the live session (a preview of Azure), for a device that DPS issued the first one for. */
import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import type { FaultValues } from '../cloud/faults.ts'
import { calm, eventsOf } from './agent-kit.ts'
import { eventually } from '../kit/device.ts'
import { bootUnit, homeOf, MINUTE, pass, reported, SECOND, startBed, steady } from './transition-kit.ts'
import type { Bed, ReportedAuth, Unit } from './transition-kit.ts'
import { assertOneAtATime, registrationsOf, sessionsOf } from './transition-record.ts'

const POLICY = 'an-hour'

let bed: Bed

before(async () => {
  bed = await startBed({}, { credentialPolicyName: POLICY })
  await bed.cloud.namespace.putPolicy(POLICY, { validitySeconds: 3600, backdatedSeconds: 0 })
})
after(() => bed[Symbol.asyncDispose]())
afterEach(() => calm(bed.cloud))

const toml = '[auth]\nmode = "x509"\n[issuer]\nkind = "hub-credentials"\n[auth.renewal]\nspreadPercent = 0\n'

type Certificate = NonNullable<ReportedAuth['certificate']> & { readonly renewAt: string; readonly issuedBy: string }
const certificateOf = ({ certificate }: ReportedAuth) => certificate as Certificate

async function managed(id: string): Promise<{ readonly unit: Unit; readonly first: Certificate }> {
  const unit = await bootUnit(bed, id, { toml })
  return {
    unit,
    first: certificateOf(await reported(unit, ({ mode, state }) => mode === 'x509' && state === 'active')),
  }
}

const isOther =
  ({ thumbprintSha256 }: Certificate) =>
  ({ state, certificate }: ReportedAuth) =>
    state === 'active' && certificate !== undefined && certificate.thumbprintSha256 !== thumbprintSha256

/** Lets time pass until the renewal is due, and then by the second until the device has another certificate. */
async function renewed(unit: Unit, before: Certificate): Promise<ReportedAuth> {
  await untilDue(unit, before)
  const look = () => homeOf(bed, unit.id).twin(unit.id)?.reported['auth'] as ReportedAuth
  let advancedMs = performance.now()
  return eventually(
    async () => {
      if (isOther(before)(look())) return look()
      // What is on its way needs real time.
      if (performance.now() - advancedMs < 15) return undefined
      advancedMs = performance.now()
      bed.shift(SECOND)
      await unit.clock.advance(SECOND)
      return undefined
    },
    { seen: () => unit.agent().journal.text() },
  )
}

async function untilDue(unit: Unit, { renewAt }: Certificate): Promise<void> {
  await pass(unit, Date.parse(renewAt) - unit.clock.now() + 6 * SECOND)
}

/** The answers of the hub to certificate requests of one device: request ID and code. */
function answersTo({ id }: Unit): readonly (readonly [rid: string, status: number, code: number])[] {
  return bed.cloud.record
    .events()
    .flatMap((event) =>
      event.kind === 'credentials' && event.deviceId === id
        ? [[event.rid, event.status, event.errorCode] as const]
        : [],
    )
}

test('the hub renews what DPS issued, without a registration, with a new key each time', async () => {
  const { unit, first } = await managed('hub-renewed')
  await using _unit = unit
  assert.equal(first.issuedBy, 'dps')
  let present = first
  for (const generation of [2, 3]) {
    const auth = await renewed(unit, present)
    assert.deepEqual([auth.lastAttempt?.cause, auth.lastAttempt?.result], ['renewal', 'active'])
    assert.equal(certificateOf(auth).issuedBy, 'hub-credentials')
    const keyOf = (number: number) => unit.device.read(`credentials/gen-000${number}/key.pem`)
    assert.notEqual(await keyOf(generation), await keyOf(generation - 1))
    present = certificateOf(auth)
  }
  assert.deepEqual(sessionsOf(unit), ['x509', 'x509', 'x509'])
  assert.deepEqual(registrationsOf(unit).length, 1)
  assertOneAtATime(unit)
  assert.deepEqual(
    answersTo(unit).map(([, status]) => status),
    [202, 200, 202, 200],
  )
  assert.equal(await unit.device.has('hub-request.json'), false)
})

for (const form of ['objectPem', 'bareArray'] as const)
  test(`certificates as ${form} are taken as well`, async () => {
    const { unit, first } = await managed(`hub-form-${form.toLowerCase()}`)
    await using _unit = unit
    bed.cloud.faults.set('certificatesForm', form)
    bed.cloud.faults.set('credentialsTopic', 'versioned')
    assert.equal(certificateOf(await renewed(unit, first)).issuedBy, 'hub-credentials')
  })

const passing: readonly FaultValues['credentialsRefusal'][] = [
  '429002',
  '429003',
  '500001',
  '503001',
  '503102',
  'silence',
]

for (const code of passing)
  test(`${code} passes: the same request is handed in again under the same ID`, async () => {
    const { unit, first } = await managed(`hub-passing-${code}`)
    await using _unit = unit
    bed.cloud.faults.set('retryAfterSeconds', 2)
    bed.cloud.faults.set('credentialsRefusal', code)
    assert.equal(certificateOf(await renewed(unit, first)).issuedBy, 'hub-credentials')
    const rids = answersTo(unit).map(([rid]) => rid)
    assert.equal(new Set(rids).size, 1, rids.join())
  })

for (const code of ['400001', '403010', '404001'] as const)
  test(`${code} is the end of renewals over the hub: DPS issues the next certificate`, async () => {
    const { unit, first } = await managed(`hub-never-${code}`)
    await using _unit = unit
    bed.cloud.faults.set('credentialsRefusal', code)
    assert.equal(certificateOf(await renewed(unit, first)).issuedBy, 'dps')
    assert.equal(registrationsOf(unit).length, 2)
  })

for (const code of ['400037', '400040'] as const)
  test(`${code} after a 202: the request is made anew with another key, once`, async () => {
    const { unit, first } = await managed(`hub-csr-${code}`)
    await using _unit = unit
    bed.cloud.faults.set('credentialsFailure', code)
    assert.equal(certificateOf(await renewed(unit, first)).issuedBy, 'hub-credentials')
    const rids = answersTo(unit).map(([rid]) => rid)
    assert.equal(new Set(rids).size, 2, rids.join())
  })

test('a restart while the hub works on it hands in the same request under the same ID', async () => {
  const { unit, first } = await managed('hub-restart')
  await using _unit = unit
  bed.cloud.faults.set('issuance', 'held')
  await untilDue(unit, first)
  await reported(unit, ({ state }) => state === 'awaitingCertificate')
  await accepted(unit, 1)
  assert.equal('csr' in (await reported(unit, () => true)), false, 'nobody else is asked to sign')
  const note = await unit.device.read('hub-request.json')
  await unit.agent().stop()
  unit.boot()
  await steadyOnFirst(unit)
  await accepted(unit, 2)
  assert.equal(await unit.device.read('hub-request.json'), note)
  await homeOf(bed, unit.id).finishIssuance(unit.id)
  const auth = await reported(unit, isOther(first))
  assert.equal(certificateOf(auth).issuedBy, 'hub-credentials')
  assert.equal(new Set(answersTo(unit).map(([rid]) => rid)).size, 1)
})

/** Resolves when the hub has said 202 so often. */
async function accepted(unit: Unit, times: number): Promise<void> {
  const count = () => answersTo(unit).filter(([, status]) => status === 202).length
  await eventually(() => Promise.resolve(count() >= times || undefined))
}

/** Connected with what it has, while it waits for the next certificate. */
async function steadyOnFirst(unit: Unit): Promise<void> {
  await unit.agent().until(({ connection }) => connection.state === 'connected')
}

test('a device that has expired is issued its next certificate by DPS', async () => {
  const { unit, first } = await managed('hub-expired')
  await using _unit = unit
  await unit.agent().stop()
  bed.shift(120 * MINUTE)
  await unit.clock.advance(120 * MINUTE)
  unit.boot()
  await pass(unit, 5 * MINUTE)
  const auth = await reported(unit, isOther(first))
  assert.equal(certificateOf(auth).issuedBy, 'dps')
  await steady(unit)
})

/** What hubs refused of a device, oldest first. */
const refusalsOf = ({ id }: Unit): readonly string[] => eventsOf(bed.cloud, 'refused', id).map(({ reason }) => reason)

test('a hub that does not know the version for renewals is connected to without it, and DPS issues the next certificate', async () => {
  const { unit, first } = await managed('hub-old-version')
  await using _unit = unit
  await unit.agent().stop()
  bed.cloud.faults.set('renewalVersion', 'unknown')
  unit.boot()
  await steady(unit)
  assert.deepEqual(refusalsOf(unit), ['return code 5: api-version 2025-08-01-preview is not known'])
  assert.equal(registrationsOf(unit).length, 1)
  assert.equal(certificateOf(await renewed(unit, first)).issuedBy, 'dps')
  assert.deepEqual(answersTo(unit), [])
})

test('a session on SAS never asks for the version for renewals', async () => {
  bed.cloud.faults.set('renewalVersion', 'unknown')
  await using unit = await bootUnit(bed, 'hub-on-sas', { toml: '[issuer]\nkind = "hub-credentials"\n' })
  await steady(unit)
  assert.deepEqual(sessionsOf(unit), ['sas'])
  assert.deepEqual(refusalsOf(unit), [])
})

test('reprovision of a device whose certificates the hub renews registers with DPS', async () => {
  const { unit } = await managed('hub-reprovision')
  await using _unit = unit
  assert.equal(registrationsOf(unit).length, 1)
  const { status, stderr } = await unit.device.run('reprovision')
  assert.equal(status, 0, stderr)
  const { lastAttempt } = await reported(
    unit,
    (auth) => auth.state === 'active' && auth.lastAttempt?.cause === 'command',
  )
  assert.equal(lastAttempt?.result, 'active')
  assert.equal(registrationsOf(unit).length, 2)
  assert.deepEqual(answersTo(unit), [])
  assertOneAtATime(unit)
})
