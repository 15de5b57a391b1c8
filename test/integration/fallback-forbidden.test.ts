/** Revoked X.509 without the right to SAS: for hours the device goes on to try its certificate, and nothing else. */
import assert from 'node:assert/strict'
import { chmod } from 'node:fs/promises'
import { after, afterEach, before, test } from 'node:test'
import type { ClockTrust } from '../../agent/credential/policy.ts'
import type { ClockTrustWatch } from '../../agent/time/watch.ts'
import { calm, eventsOf } from './agent-kit.ts'
import * as kit from './fallback-kit.ts'
import type { Actor, Stage } from './fallback-kit.ts'

const { DAY, FALLBACK, HOUR, MINUTE, mark, pass, policyToml, refusalsOf, sessionsOf, untilSession } = kit

let stage: Stage

before(async () => {
  stage = await kit.startStage()
})
after(() => stage[Symbol.asyncDispose]())
afterEach(() => {
  calm(stage.cloud)
  kit.restore({ stage })
})

test('disabled, over, without a usable key, retired, held off or by a clock that nobody vouches for: none of them uses SAS', async () => {
  await using stack = new AsyncDisposableStack()
  const enter = async (id: string, fallback: Readonly<Record<string, string>>) =>
    stack.use(await kit.bootActor(stage, id, { toml: policyToml({ ...FALLBACK, ...fallback }, 'soakSeconds = 0') }))
  const inFiveMinutes = new Date(stage.time.now() + 5 * MINUTE).toISOString()
  const forbidden = [
    await enter('stay-disabled', { enabled: 'false' }),
    await enter('stay-over', { until: '2026-01-31' }),
    await enter('stay-ending', { until: `"${inFiveMinutes}"` }),
    await enter('stay-exposed', {}),
    await enter('stay-retired', {}),
    await enter('stay-held', { holdOffSeconds: '86400' }),
    await enter('stay-count', { refusals: '100' }),
    await enter('stay-clock', {}),
  ]
  const [exposed, retired, unclear] = ['stay-exposed', 'stay-retired', 'stay-clock'].map((id) => {
    return forbidden.find((actor) => actor.id === id) ?? assert.fail()
  }) as [Actor, Actor, Actor]
  await chmod(exposed.sasKeyFile, 0o644)
  stage.cloud.hub.patchTwin(retired.id, { desired: { auth: { sasRetired: true } } })
  await kit.reported(retired, ({ sas }) => sas.retired)
  await stage.sas.writeKey(retired.sasKeyFile, retired.id)
  await unclear.agent().stop()
  unclear.boot({ watchClock: async () => judgedAs('plausible') })
  await kit.connected(unclear, 'x509')
  const free = await enter('falls', {})

  const since = mark(free)
  for (const actor of [...forbidden, free]) kit.revoke(actor)
  await pass({ stage }, 12 * HOUR)
  assert.deepEqual([...new Set(sessionsOf(free, since))], ['sas'], 'the same cloud lets a device fall back that may')
  for (const actor of forbidden) {
    assert.deepEqual(sessionsOf(actor, since), [], actor.id)
    assert.deepEqual(eventsOf(stage.cloud, 'registered', actor.id, since), [], actor.id)
    const tries = refusalsOf(actor, since)
    // The hub and DPS by turns, half an hour apart at most once it is clear that they refuse.
    assert.ok(tries.length >= 20, `${actor.id}: ${tries.length} tries`)
    assert.ok(stage.time.now() - (tries.at(-1)?.at ?? 0) <= HOUR, `${actor.id} goes on`)
    const { auth, connection } = await actor.agent().status()
    assert.deepEqual([auth.mode, auth.state, connection.state], ['x509', 'active', 'disconnected'], actor.id)
  }
})

test('a hold-off that ends lets the device fall back', async () => {
  const held = policyToml({ ...FALLBACK, holdOffSeconds: '36000' })
  await using actor = await kit.bootActor(stage, 'held-01', { toml: held })
  const since = mark(actor)
  kit.revoke(actor)
  await untilSession(actor, 'sas', since)
  const [first, ...others] = refusalsOf(actor, since)
  const span = (others.at(-1)?.at ?? 0) - (first?.at ?? 0)
  assert.ok(span >= 10 * HOUR && span <= 11 * HOUR, `${span / HOUR} h`)
})

test('the fallbacks of a day are as many as the policy says, and the next one comes when the day is over', async () => {
  const once = policyToml({ ...FALLBACK, perDay: '1' })
  await using actor = await kit.bootActor(stage, 'budget-01', { toml: once })
  const first = mark(actor)
  kit.revoke(actor)
  await untilSession(actor, 'sas', first)
  const fellAt = stage.time.now()
  assert.equal((await kit.reported(actor, ({ fallback }) => fallback.active)).fallback.leftToday, 0)
  kit.restore(actor)
  await untilSession(actor, 'x509', mark(actor))
  const again = mark(actor)
  kit.revoke(actor)
  await pass(actor, fellAt + DAY - 10 * MINUTE - stage.time.now())
  assert.deepEqual(sessionsOf(actor, again), [])
  assert.ok(refusalsOf(actor, again).length >= 40)
  await untilSession(actor, 'sas', again)
  assert.ok(stage.time.now() - fellAt >= DAY)
})

test('a refusal that X.509 outlives counts no more: refusals must come in a row', async () => {
  await using actor = await kit.bootActor(stage, 'row-01', { toml: policyToml({ ...FALLBACK, refusals: '4' }) })
  const since = mark(actor)
  for (let round = 0; round < 4; round += 1) {
    kit.revoke(actor)
    const refusedBefore = refusalsOf(actor, since).length
    await pass(actor, HOUR, () => refusalsOf(actor, since).length === refusedBefore + 2)
    kit.restore(actor)
    await untilSession(actor, 'x509', mark(actor))
    await pass(actor, 10 * MINUTE)
  }
  // Two while it was revoked, and the hub's word before the registration that mends it.
  assert.equal(refusalsOf(actor, since).length, 4 * 3)
  assert.deepEqual([...new Set(sessionsOf(actor, since))], ['x509'])
})

test('an individual enrollment that forbids the device shuts it out of SAS as well, and it goes on with both', async () => {
  await using actor = await kit.bootActor(stage, 'both-01')
  const since = mark(actor)
  kit.revoke(actor)
  stage.cloud.disableGroup('fleet-sas')
  await pass(actor, 6 * HOUR)
  assert.deepEqual(sessionsOf(actor, since), [])
  stage.cloud.enableGroup('fleet-sas')
  await untilSession(actor, 'sas', since)
})

function judgedAs(trust: ClockTrust): ClockTrustWatch {
  const current = () => ({ trust, reason: 'a test says so' })
  return {
    current,
    run: (signal) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error))),
    suspect: () => undefined,
    proven: () => Promise.resolve(),
    untilPlausible: () => Promise.resolve(current()),
    onChange: () => () => undefined,
  }
}
