/** A move under each thing that the cloud may or may not do. */
import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import { calm, eventsOf, seen } from './agent-kit.ts'
import {
  bootUnit,
  ended,
  install,
  MINUTE,
  pass,
  reported,
  SECOND,
  startBed,
  steady,
  toX509,
  untilRetry,
  wish,
} from './transition-kit.ts'
import type { Bed } from './transition-kit.ts'
import { arrivalsOf, assertOneAtATime, registrationsOf, sessionsOf } from './transition-record.ts'

let bed: Bed

before(async () => {
  bed = await startBed()
})
after(() => bed[Symbol.asyncDispose]())
afterEach(() => calm(bed.cloud))

for (const change of ['cut', 'expiry', 'nextConnect'] as const) {
  test(`a move there and back succeeds where the hub lets a session feel the change of its identity: ${change}`, async () => {
    bed.cloud.faults.set('identityChange', change)
    await using unit = await bootUnit(bed, `switch-${change.toLowerCase()}`)
    await toX509(unit)
    await ended(unit, wish(unit, { mode: 'sas' }))
    assert.deepEqual(sessionsOf(unit), ['sas', 'x509', 'sas'])
    assert.deepEqual(registrationsOf(unit), ['fleet-sas', 'fleet-x509', 'fleet-sas'])
    assertOneAtATime(unit)
    const ends = eventsOf(bed.cloud, 'disconnected', unit.id)
      .filter(({ host }) => host === bed.cloud.hub.host)
      .map(({ reason }) => reason.startsWith('the identity changed'))
    assert.deepEqual(ends, change === 'cut' ? [true, true] : [false, false])
  })
}

test('where DPS refuses the other enrollment group, the device goes on with SAS, says why, and tries only a new version', async () => {
  bed.cloud.faults.set('crossGroup', 'refuse')
  await using unit = await bootUnit(bed, 'switch-group')
  const version = wish(unit, { mode: 'x509' })
  await install(unit)
  const { mode, lane, lastAttempt, waiting } = await ended(unit, version)
  assert.deepEqual([mode, lane], ['sas', 'sas'])
  // The same answer comes while DPS remembers another credential, and so it is no verdict yet.
  assert.deepEqual([lastAttempt?.result, lastAttempt?.code], ['rolledBack', 'DPS_UNAUTHORIZED'])
  assert.ok(waiting?.until !== undefined)
  assertOneAtATime(unit)

  // When that memory must be over, the refusal is one.
  await untilRetry(unit)
  const refused = await reported(
    unit,
    ({ state, lastAttempt: last }) => state === 'active' && last?.result === 'refused',
  )
  assert.deepEqual([refused.mode, refused.lastAttempt?.version, refused.waiting], ['sas', version, undefined])
  assert.match(refused.lastAttempt?.reason ?? '', /401/)
  const since = bed.cloud.record.seq()
  await pass(unit, 20 * MINUTE)
  assert.deepEqual(eventsOf(bed.cloud, 'refused', 'switch-group', since), [])
  await steady(unit)

  bed.cloud.faults.set('crossGroup', 'allow')
  const next = wish(unit, { mode: 'x509' })
  const moved = await ended(unit, next)
  assert.deepEqual([moved.mode, moved.lastAttempt?.result], ['x509', 'active'])
  assert.deepEqual(arrivalsOf(unit).at(-1)?.stamped, 'x509')
})

test('while DPS remembers the other credential its 401 is no verdict: rolled back, and active by itself when that is over', async () => {
  bed.cloud.faults.set('credentialCacheMinutes', 30)
  await using unit = await bootUnit(bed, 'switch-cache')
  const version = wish(unit, { mode: 'x509' })
  await install(unit)
  const back = await ended(unit, version)
  assert.deepEqual([back.mode, back.lastAttempt?.result], ['sas', 'rolledBack'])
  assert.match(back.lastAttempt?.reason ?? '', /no verdict/)
  await untilRetry(unit)
  const moved = await reported(unit, ({ state, mode }) => state === 'active' && mode === 'x509')
  assert.deepEqual([moved.lastAttempt?.result, moved.lastAttempt?.version], ['active', version])
  assert.deepEqual(
    moved.history.map(({ result }) => result),
    ['rolledBack', 'active'],
  )
  assertOneAtATime(unit)
})

test('a hub that takes no SAS of devices any more refuses the way back, and the device stays on X.509', async () => {
  await using unit = await bootUnit(bed, 'switch-nosas')
  await toX509(unit)
  bed.cloud.faults.set('disableDeviceSAS', 'true')
  const version = wish(unit, { mode: 'sas' })
  // The first refusal of the hub may be older than the registration, and DPS is asked once more before it counts.
  await seen(bed.cloud, 'refused', unit.id)
  await pass(unit, 2 * MINUTE)
  const { mode, lastAttempt } = await ended(unit, version)
  assert.deepEqual([mode, lastAttempt?.result, lastAttempt?.code], ['x509', 'refused', 'HUB_REFUSED_CREDENTIAL'])
  assert.deepEqual(registrationsOf(unit).slice(2), ['fleet-sas', 'fleet-sas', 'fleet-x509'])
  assert.equal(bed.cloud.hub.identity(unit.id)?.authentication.type, 'selfSigned')
  assert.deepEqual(sessionsOf(unit), ['sas', 'x509', 'x509'])
  assertOneAtATime(unit)
})

test('an assignment of which the answer is lost is asked for once more, and the move goes on', async () => {
  await using unit = await bootUnit(bed, 'switch-answer')
  bed.cloud.faults.set('answerLost', 'once')
  const version = wish(unit, { mode: 'x509' })
  await install(unit)
  await unit.agent().journal.heard(({ event }) => event === 'the candidate is not registered')
  await pass(unit, 2 * MINUTE)
  const { mode, lastAttempt } = await ended(unit, version)
  assert.deepEqual([mode, lastAttempt?.result], ['x509', 'active'])
  assert.deepEqual(registrationsOf(unit), ['fleet-sas', 'fleet-x509', 'fleet-x509'])
  assertOneAtATime(unit)
})

test('assignments of which every answer is lost lead back to SAS, and the move succeeds when answers arrive again', async () => {
  await using unit = await bootUnit(bed, 'switch-lost')
  bed.cloud.faults.set('answerLost', 'always')
  const version = wish(unit, { mode: 'x509' })
  await install(unit)
  await unit.agent().journal.heard(({ event }) => event === 'the candidate is not registered')
  // The identity is that of the certificate by now, and each registration is lost on its way.
  assert.equal(bed.cloud.hub.identity(unit.id)?.authentication.type, 'selfSigned')
  await pass(unit, 11 * MINUTE)
  await unit.agent().journal.heard(({ event }) => event === 'failed')
  calm(bed.cloud)
  await pass(unit, 5 * MINUTE)
  const { mode, lastAttempt } = await ended(unit, version)
  assert.deepEqual([mode, lastAttempt?.result], ['sas', 'unreachable'])
  assert.equal(sessionsOf(unit).at(-1), 'sas')
  await untilRetry(unit)
  await reported(unit, (auth) => auth.state === 'active' && auth.mode === 'x509')
  assertOneAtATime(unit)
})

test('an identity that DPS forgot to rewrite is registered again, and the move goes on', async () => {
  await using unit = await bootUnit(bed, 'switch-forget')
  bed.cloud.faults.set('forgetAfterAssignment', 'once')
  const version = wish(unit, { mode: 'x509' })
  await install(unit)
  await seen(bed.cloud, 'refused', unit.id)
  await pass(unit, 90 * SECOND)
  const { mode, lastAttempt } = await ended(unit, version)
  assert.deepEqual([mode, lastAttempt?.result], ['x509', 'active'])
  assert.deepEqual(registrationsOf(unit), ['fleet-sas', 'fleet-x509', 'fleet-x509'])
  assertOneAtATime(unit)
})

test('identities that DPS never rewrites lead back to SAS, which the hub still takes', async () => {
  await using unit = await bootUnit(bed, 'switch-never')
  bed.cloud.faults.set('forgetAfterAssignment', 'always')
  const version = wish(unit, { mode: 'x509' })
  await install(unit)
  await seen(bed.cloud, 'refused', unit.id)
  await pass(unit, 2 * MINUTE)
  const { mode, lastAttempt } = await ended(unit, version)
  assert.deepEqual([mode, lastAttempt?.result, lastAttempt?.code], ['sas', 'refused', 'HUB_REFUSED_CREDENTIAL'])
  assert.deepEqual(sessionsOf(unit), ['sas', 'sas'])
  assertOneAtATime(unit)
})
