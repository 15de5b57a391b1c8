/** X.509 that the cloud refuses for good: SAS for a while where policy allows it, said at once, and back. */
import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import { calm, eventsOf } from './agent-kit.ts'
import * as kit from './fallback-kit.ts'
import type { Actor, Stage } from './fallback-kit.ts'

const { HOUR, MINUTE, mark, pass, refusalsOf, sessionsOf, stampsOf, twinOf, untilSession } = kit

let stage: Stage

before(async () => {
  stage = await kit.startStage()
})
after(() => stage[Symbol.asyncDispose]())
afterEach(() => {
  calm(stage.cloud)
  kit.restore({ stage })
})

test('a device whose certificate is revoked falls back to SAS, says so, and returns when X.509 is restored', async () => {
  await using actor = await kit.bootActor(stage, 'fall-01')
  const since = mark(actor)
  const revokedAt = stage.time.now()
  kit.revoke(actor)
  await untilSession(actor, 'sas', since)

  // Three refusals over ten minutes, as the policy says, and not a session before.
  const refused = refusalsOf(actor, since)
  assert.ok(refused.length >= 3)
  assert.ok((refused.at(-1)?.at ?? 0) - (refused[0]?.at ?? 0) >= 10 * MINUTE)
  assert.deepEqual(sessionsOf(actor, since), ['sas'])
  const auth = await kit.reported(actor, ({ fallback }) => fallback.active)
  assert.match(auth.fallback.cause ?? '', /^(HUB_REFUSED_CREDENTIAL|DPS_UNAUTHORIZED)$/)
  const fellAt = Date.parse(auth.fallback.since ?? '')
  assert.equal(fellAt, refused.at(-1)?.at)
  assert.equal(auth.fallback.leftToday, 1)
  assert.deepEqual(auth.history, [
    { to: 'sas', cause: 'fallback', result: 'active', at: new Date(fellAt).toISOString() },
  ])
  assert.ok(twinOf(actor).warnings?.some(({ code }) => code === 'FALLEN_BACK_TO_SAS'))
  // Said at once: the first report after the fallback came at the same instant.
  const [told] = eventsOf(stage.cloud, 'reported', actor.id, since).filter(({ patch }) =>
    JSON.stringify(patch).includes('FALLEN_BACK_TO_SAS'),
  )
  assert.equal(told?.at, fellAt)
  assert.deepEqual([...new Set(stampsOf(actor, since))], ['sas'])

  const back = mark(actor)
  kit.restore(actor)
  await untilSession(actor, 'x509', back)
  const [returned] = eventsOf(stage.cloud, 'registered', actor.id, back).filter(
    ({ enrollment }) => enrollment === 'fleet-x509',
  )
  const waited = (returned?.at ?? 0) - fellAt
  assert.ok(waited >= HOUR && waited <= HOUR + MINUTE, `${waited} ms until the return`)
  assert.deepEqual([...new Set(stampsOf(actor, back))].at(-1), 'x509')
  const again = await kit.reported(actor, ({ fallback }) => !fallback.active)
  assert.equal(again.fallback.cause, undefined)
  assert.deepEqual(
    again.history.map(({ cause, to, result }) => [cause, to, result]),
    [
      ['fallback', 'sas', 'active'],
      ['return', 'x509', 'active'],
    ],
  )
  assert.ok(!twinOf(actor).warnings?.some(({ code }) => code === 'FALLEN_BACK_TO_SAS'))
  assertNothingLost(actor)
  assert.ok(revokedAt < fellAt)
})

test('however DPS words a revocation, the device falls back', async () => {
  const words = [
    ['deleted', () => kit.revoke({ stage, id: 'fall-02-deleted' }, 'deleted')],
    ['status', () => stage.cloud.faults.set('disabledEnrollment', 'status')],
    ['connack', () => stage.cloud.faults.set('dpsCredentialRefusal', 'connack')],
  ] as const
  for (const [word, say] of words) {
    await using actor = await kit.bootActor(stage, `fall-02-${word}`)
    const since = mark(actor)
    if (word !== 'deleted') kit.revoke(actor)
    say()
    await untilSession(actor, 'sas', since)
    assert.equal((await kit.reported(actor, ({ mode }) => mode === 'sas')).fallback.active, true, word)
    calm(stage.cloud)
    kit.restore({ stage })
  }
})

test('returns that fail come after one, two, four and then every eight hours, and cost SAS no more than a registration', async () => {
  await using actor = await kit.bootActor(stage, 'fall-03')
  const since = mark(actor)
  kit.revoke(actor)
  await untilSession(actor, 'sas', since)
  const fellAt = stage.time.now()
  const fallen = mark(actor)
  await pass(actor, 33 * HOUR)
  await kit.connected(actor, 'sas')

  const tries = refusalsOf(actor, fallen)
  const hours = tries.map(({ at }, index) => Math.round((at - (tries[index - 1]?.at ?? fellAt)) / HOUR))
  assert.deepEqual(hours, [1, 2, 4, 8, 8, 8])
  assert.ok(tries.every(({ host }) => host === stage.cloud.dps.host))
  // A return that DPS refuses never reaches the hub, and the hub never lacks the device while time goes by.
  assert.ok(sessionsOf(actor, fallen).every((lane) => lane === 'sas'))
  assert.equal(longestGapMs(actor, fallen), 0)
  const registrations = eventsOf(stage.cloud, 'registered', actor.id, fallen)
  assert.deepEqual([...new Set(registrations.map(({ enrollment }) => enrollment))], ['fleet-sas'])
  assert.equal(registrations.length, tries.length)
  const { fallback, history } = await kit.reported(actor, ({ lastAttempt }) => lastAttempt?.cause === 'return')
  assert.equal(fallback.active, true)
  assert.equal(Date.parse(fallback.returnAt ?? '') - (tries.at(-1)?.at ?? 0), 8 * HOUR)
  assert.equal(history.at(-1)?.code, 'DPS_UNAUTHORIZED')
  assert.deepEqual([...new Set(stampsOf(actor, fallen))], ['sas'])
  assertNothingLost(actor)

  const back = mark(actor)
  kit.restore(actor)
  await untilSession(actor, 'x509', back)
  await kit.reported(actor, (auth) => !auth.fallback.active)
})

test('a twin that wishes X.509 all the time hastens no return, and a technician on the device may', async () => {
  await using actor = await kit.bootActor(stage, 'fall-04')
  stage.cloud.hub.patchTwin(actor.id, { desired: { auth: { mode: 'x509' } } })
  const since = mark(actor)
  kit.revoke(actor)
  await untilSession(actor, 'sas', since)
  const back = mark(actor)
  await pass(actor, HOUR / 2)
  assert.deepEqual(sessionsOf(actor, back), [])
  assert.deepEqual(refusalsOf(actor, back), [])
  kit.restore(actor)
  const ordered = await actor.device.run('auth', 'x509')
  assert.equal(ordered.status, 0, ordered.stderr)
  await kit.connected(actor, 'x509')
  const auth = await kit.reported(actor, ({ fallback }) => !fallback.active)
  assert.equal(auth.lastAttempt?.cause, 'command')
  await pass(actor, 3 * HOUR)
  assert.deepEqual(sessionsOf(actor, back), ['x509'])
})

test('a device that is switched off while fallen back is on SAS at its next start, and returns on schedule', async () => {
  await using actor = await kit.bootActor(stage, 'fall-05')
  const since = mark(actor)
  kit.revoke(actor)
  await untilSession(actor, 'sas', since)
  const fellAt = stage.time.now()
  await actor.agent().stop()
  await stage.time.leap(30 * MINUTE)
  const restarted = mark(actor)
  actor.boot()
  await kit.connected(actor, 'sas')
  kit.restore(actor)
  await untilSession(actor, 'x509', restarted)
  assert.deepEqual(sessionsOf(actor, restarted).at(0), 'sas')
  const waited = stage.time.now() - fellAt
  assert.ok(waited >= HOUR && waited <= HOUR + MINUTE, `${waited} ms until the return`)
})

/** Every sample that the device took has arrived, and none was given up. */
function assertNothingLost(actor: Actor): void {
  const ids = eventsOf(stage.cloud, 'telemetry', actor.id).map(({ message }) => message.system['message-id'])
  assert.equal(new Set(ids).size, ids.length, 'none came twice')
  const { outbox } = twinOf(actor)
  assert.deepEqual([outbox?.depth, outbox?.dropped], [0, 0])
}

/** The longest simulated time for which the hub had no connection of the device. */
function longestGapMs({ id }: Actor, since: number): number {
  let goneAt: number | undefined
  let longest = 0
  for (const event of stage.cloud.record.events(since)) {
    if (event.kind !== 'connected' && event.kind !== 'disconnected') continue
    if (event.clientId !== id || event.host === stage.cloud.dps.host) continue
    if (event.kind === 'connected' && goneAt !== undefined) longest = Math.max(longest, event.at - goneAt)
    goneAt = event.kind === 'disconnected' ? event.at : undefined
  }
  return longest
}
