/** The twin as the technician's switch: there, back, and a new certificate. */
import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import type { Status } from '../../agent/control/status.ts'
import { eventually } from '../kit/device.ts'
import { calm, eventsOf, seen } from './agent-kit.ts'
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
import type { Bed, Unit } from './transition-kit.ts'
import { arrivalsOf, assertOneAtATime, registrationsOf, sessionsOf, statesOf } from './transition-record.ts'

let bed: Bed

before(async () => {
  bed = await startBed()
})
after(() => bed[Symbol.asyncDispose]())
afterEach(() => calm(bed.cloud))

test('a move to X.509 is reported at every step, on whichever lane lives, with version, result, lane and history', async () => {
  await using unit = await bootUnit(bed, 'toggle-01')
  const since = bed.cloud.record.seq()
  const version = wish(unit, { mode: 'x509' })
  const awaiting = await reported(unit, ({ state }) => state === 'awaitingCertificate')
  assert.deepEqual([awaiting.mode, awaiting.lane], ['sas', 'sas'])
  assert.deepEqual(awaiting.requested, { mode: 'x509', version })
  // DPS makes the device wait, so that the old session lives on long enough to be looked at.
  bed.cloud.faults.set('retryAfterSeconds', 3)
  await install(unit)
  const registering = await reported(unit, ({ state }) => state === 'registering')
  assert.deepEqual([registering.mode, registering.lane], ['sas', 'sas'])
  await letDpsAnswer(unit)
  const active = await ended(unit, version)

  assert.deepEqual(statesOf(unit, since), [
    'preparing',
    'awaitingCertificate',
    'registering',
    'proving',
    'committing',
    'active',
  ])
  assert.deepEqual([active.mode, active.lane], ['x509', 'x509'])
  const { to, cause, version: ofAttempt, result, code } = active.lastAttempt ?? assert.fail()
  assert.deepEqual({ to, cause, ofAttempt, result, code }, told('x509', version))
  assert.deepEqual(active.history, [active.lastAttempt])
  // What the twin calls the certificate is what the hub has seen.
  const seenLast = eventsOf(bed.cloud, 'connected', 'toggle-01').at(-1)
  assert.equal(active.certificate?.thumbprintSha256, seenLast?.thumbprint)
  assert.deepEqual(registrationsOf(unit, since), ['fleet-x509'])
  assertOneAtATime(unit)
})

/** DPS asks for a wait after the registration and after the one poll that it answers with another 202. */
async function letDpsAnswer({ clock }: Unit): Promise<void> {
  for (let waits = 0; waits < 2; waits += 1) {
    await eventually(() => Promise.resolve(clock.pending().includes(3 * SECOND) ? true : undefined))
    await clock.advance(3 * SECOND)
  }
}

function told(to: string, ofAttempt: number) {
  return { to, cause: 'twin', ofAttempt, result: 'active', code: undefined }
}

test('over a move there and back no sample is lost or overtaken, and each is stamped with the lane that carried it', async () => {
  await using unit = await bootUnit(bed, 'toggle-02', { environment: { TELEMETRY_INTERVAL: '1' } })
  await takeSamples(unit, 20)
  wish(unit, { mode: 'x509' })
  await reported(unit, ({ state }) => state === 'awaitingCertificate')
  await takeSamples(unit, 20)
  assert.deepEqual(new Set(arrivalsOf(unit).map(({ stamped }) => stamped)), new Set(['sas']))
  const there = bed.cloud.record.seq()
  await install(unit)
  // Samples are taken as fast as they can be counted while the device is neither here nor there.
  await takeSamples(unit, 20)
  await reported(unit, ({ mode, state }) => mode === 'x509' && state === 'active')
  await takeSamples(unit, 20)
  wish(unit, { mode: 'sas' })
  await takeSamples(unit, 20)
  await reported(unit, ({ mode, state }) => mode === 'sas' && state === 'active')
  await takeSamples(unit, 20)
  await steady(unit)

  assert.deepEqual(sessionsOf(unit), ['sas', 'x509', 'sas'])
  const { telemetry } = await unit.agent().status()
  const firsts = firstArrivals(unit)
  assert.equal(firsts.length, telemetry.acknowledged, 'what was acknowledged has arrived')
  assert.deepEqual(telemetry.dropped, { full: 0, expired: 0, refused: 0, torn: 0 })
  const created = firsts.map(({ createdAt }) => Date.parse(createdAt))
  assert.deepEqual(
    created,
    created.toSorted((a, b) => a - b),
    'in the order in which they were taken',
  )
  const grid = new Set(created)
  const from = created[0] ?? assert.fail()
  for (let second = 0; second < 120; second += 1) assert.ok(grid.has(from + second * SECOND), `second ${second}`)
  const stamps = firsts.map(({ stamped }) => stamped)
  const switched = [stamps.indexOf('x509'), stamps.lastIndexOf('x509')]
  assert.ok(stamps.slice(0, switched[0]).every((stamp) => stamp === 'sas'))
  assert.ok(stamps.slice(switched[0], (switched[1] ?? 0) + 1).every((stamp) => stamp === 'x509'))
  assert.ok(arrivalsOf(unit, there).some(({ stamped }) => stamped === 'x509'))
  assertOneAtATime(unit)
})

/** Each message once, in the order of the first arrivals. */
function firstArrivals(unit: Unit) {
  const seenIds = new Set<string>()
  return arrivalsOf(unit).filter(({ messageId }) => !seenIds.has(messageId) && seenIds.add(messageId))
}

const taken = ({ telemetry }: Pick<Status, 'telemetry'>) => telemetry.acknowledged + telemetry.buffered

/** Lets one second after the other pass, each when the sample of the one before is there. */
async function takeSamples({ clock, agent }: Unit, count: number): Promise<void> {
  for (let one = 0; one < count; one += 1) {
    const before = taken(await agent().status())
    await clock.advance(SECOND)
    await agent().until((status) => taken(status) > before)
  }
}

test('back to SAS and to X.509 again goes with the same certificate: no new request, no new key', async () => {
  await using unit = await bootUnit(bed, 'toggle-03')
  await toX509(unit)
  const { certificate } = await reported(unit, () => true)
  const key = await unit.device.read('credentials/gen-0001/key.pem')
  const back = await ended(unit, wish(unit, { mode: 'sas' }))
  assert.deepEqual([back.mode, back.certificate], ['sas', undefined])
  const again = await ended(unit, wish(unit, { mode: 'x509' }))
  assert.equal(again.mode, 'x509')
  assert.equal(again.certificate?.thumbprintSha256, certificate?.thumbprintSha256)
  assert.equal(await unit.device.read('credentials/gen-0001/key.pem'), key)
  assert.equal(await unit.device.has('requests/toggle-03.csr'), false)
  assert.equal(await unit.device.has('credentials/gen-0002'), false)
  assert.deepEqual(sessionsOf(unit), ['sas', 'x509', 'sas', 'x509'])
  assert.deepEqual(registrationsOf(unit), ['fleet-sas', 'fleet-x509', 'fleet-sas', 'fleet-x509'])
  assert.deepEqual(
    again.history.map(({ to, result }) => `${to} ${result}`),
    ['x509 active', 'sas active', 'x509 active'],
  )
  assertOneAtATime(unit)
})

test('a new text in auth.renew makes a new key and certificate, the same text nothing, and another one makes the next', async () => {
  await using unit = await bootUnit(bed, 'toggle-04', { holds: ['sas'] })
  await toX509(unit)
  const versions = [wish(unit, { mode: 'x509', renew: '2026-spring' })]
  await install(unit)
  await ended(unit, versions[0] ?? 0)
  const since = bed.cloud.record.seq()
  const same = wish(unit, { renew: '2026-spring' })
  await reported(unit, ({ requested }) => requested?.version === same)
  await pass(unit, MINUTE)
  assert.deepEqual(registrationsOf(unit, since), [])
  assert.equal(await unit.device.has('requests/toggle-04.csr'), false)
  const other = wish(unit, { renew: '2026-autumn' })
  await install(unit)
  const { mode } = await ended(unit, other)
  assert.equal(mode, 'x509')
  const keys = await Promise.all(
    ['gen-0001', 'gen-0002', 'gen-0003'].map(async (name) =>
      (await unit.device.has(`credentials/${name}/key.pem`)) ? unit.device.read(`credentials/${name}/key.pem`) : name,
    ),
  )
  assert.equal(new Set(keys).size, 3)
  assert.deepEqual(registrationsOf(unit, since), ['fleet-x509'])
  assertOneAtATime(unit)
})

test('a renewal while X.509 is in use leaves the session alone until DPS has taken the new certificate', async () => {
  await using unit = await bootUnit(bed, 'toggle-05', { holds: ['x509'] })
  const since = bed.cloud.record.seq()
  const version = wish(unit, { renew: 'now' })
  await requestOf(unit)
  await reported(unit, ({ state }) => state === 'awaitingCertificate')
  assert.deepEqual(eventsOf(bed.cloud, 'disconnected', 'toggle-05', since), [])
  await install(unit)
  const { certificate } = await ended(unit, version)
  const now = await seen(bed.cloud, 'connected', 'toggle-05', {
    since,
    fits: ({ host }) => host === bed.cloud.hub.host,
  })
  assert.equal(now.thumbprint, certificate?.thumbprintSha256)
  assertOneAtATime(unit)
})

test('a token is renewed under the whole agent, and every sample before and after it arrives once, in order', async () => {
  await using unit = await bootUnit(bed, 'toggle-06', { environment: { TELEMETRY_INTERVAL: '60' } })
  for (let minute = 0; minute < 55; minute += 1) await takeAfter(unit, MINUTE)
  await steady(unit)
  assert.deepEqual(sessionsOf(unit), ['sas', 'sas'])
  assert.deepEqual(registrationsOf(unit), ['fleet-sas'])
  const arrived = arrivalsOf(unit)
  assert.equal(new Set(arrived.map(({ messageId }) => messageId)).size, arrived.length, 'none came twice')
  const from = Date.parse(arrived[0]?.createdAt ?? '')
  assert.deepEqual(
    arrived.map(({ createdAt }) => Date.parse(createdAt) - from),
    Array.from({ length: 56 }, (_, minute) => minute * MINUTE),
  )
  assert.ok(unit.agent().journal.text().includes('the session goes on with a new token'))
})

async function takeAfter(unit: Unit, ms: number): Promise<void> {
  const { telemetry } = await unit.agent().status()
  await pass(unit, ms)
  await unit.agent().until((now) => now.telemetry.acknowledged > telemetry.acknowledged)
}
