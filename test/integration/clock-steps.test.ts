/** A clock that a server contradicts, or that is set while the device runs: told, and no reason to change a credential. */
import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import type { Status } from '../../agent/control/status.ts'
import { calm, cutOff, eventsOf } from './agent-kit.ts'
import { clockBeside, watchOf, worldOf } from './clock-kit.ts'
import * as kit from './fallback-kit.ts'
import type { Actor, Stage } from './fallback-kit.ts'

const { DAY, HOUR, MINUTE, SECOND, mark, pass, policyToml, sessionsOf, stampsOf } = kit

const YEAR = 365 * DAY

let stage: Stage

// The stand-in tells the real time over HTTPS, so that each test begins with a simulated time that is just that.
before(async () => {
  stage = await kit.startStage()
})
after(() => stage[Symbol.asyncDispose]())
afterEach(async () => {
  calm(stage.cloud)
  kit.restore({ stage })
  stage.time.stepWall(Date.now() - stage.time.now())
})

const unmeasured = `${policyToml()}\n[clock]\nskewSource = "off"\n`

/** The configuration of a device that asks this server of the stand-in for its time. */
const asking = (host: string) =>
  `${policyToml()}\n[clock]\nskewSource = "${host}:${stage.cloud.httpsPort}"\nsyncWaitSeconds = 0\n`

const clockOf = (actor: Actor) => kit.twinOf(actor).clock

test('a device that nobody keeps in time hears from DPS how far its clock is off, and says so in twin and status', async () => {
  for (const [id, aheadMs] of [
    ['skew-ahead', 2 * HOUR],
    ['skew-behind', -3 * HOUR],
  ] as const) {
    await using actor = await kit.makeActor(stage, id, { toml: asking('dps.localhost'), chance: 0 })
    actor.boot(worldOf(clockBeside(stage.time, aheadMs)))
    await kit.connected(actor, 'x509')
    await pass(actor, 2 * MINUTE, () => clockOf(actor)?.skewSeconds !== undefined)
    const { trusted, skewSeconds = 0 } = clockOf(actor) ?? {}
    assert.equal(trusted, false)
    assert.ok(Math.abs(skewSeconds - aheadMs / SECOND) < 200, `${skewSeconds} s`)
    const { clock, warnings } = await actor.agent().status()
    assert.equal(clock?.trust, 'wrong')
    assert.equal(clock.skewSeconds, skewSeconds)
    const warned = warnings.find(({ code }) => code === 'CLOCK_WRONG')
    assert.match(warned?.text ?? '', aheadMs > 0 ? /ahead of the servers/ : /behind the servers/)
    assert.match((await actor.device.run('status')).stdout, /CLOCK_WRONG/)
    stage.time.stepWall(Date.now() - stage.time.now())
  }
})

test('a device that nobody keeps in time, and that a server finds right, is trusted and may fall back', async () => {
  await using actor = await kit.makeActor(stage, 'skew-none', { toml: asking('hub-1.localhost'), chance: 0 })
  actor.boot(worldOf(clockBeside(stage.time)))
  await kit.connected(actor, 'x509')
  await pass(actor, 2 * MINUTE, () => clockOf(actor)?.trusted === true)
  assert.equal(clockOf(actor)?.trusted, true)
  assert.ok(Math.abs(clockOf(actor)?.skewSeconds ?? 999) < 200)
})

test('a server that lies about its name tells a device nothing about its clock', async () => {
  await using actor = await kit.makeActor(stage, 'skew-liar', { toml: asking('elsewhere.localhost'), chance: 0 })
  actor.boot(worldOf(clockBeside(stage.time, 2 * HOUR)))
  await kit.connected(actor, 'x509')
  await pass(actor, 3 * HOUR)
  const { clock } = await actor.agent().status()
  assert.deepEqual(clock, { trust: 'plausible' })
})

test('steps by years and back, while the device runs, change no credential and cost no session', async () => {
  await using actor = await kit.makeActor(stage, 'steps-01', { toml: unmeasured })
  const clock = clockBeside(stage.time)
  clock.synchronised = true
  actor.boot(worldOf(clock))
  await kit.connected(actor, 'x509')
  const before = await actor.agent().status()
  const since = mark(actor)
  for (const aheadMs of [10 * YEAR, -20 * YEAR, 40 * YEAR, -1 * YEAR, 90 * DAY, 0]) {
    clock.set(aheadMs)
    await pass(actor, 2 * HOUR)
  }
  assert.deepEqual(eventsOf(stage.cloud, 'disconnected', actor.id, since), [])
  assert.deepEqual(eventsOf(stage.cloud, 'connected', actor.id, since), [])
  assert.ok(stampsOf(actor, since).length >= 11)
  const after = await actor.agent().until(({ auth }) => auth.state === 'active')
  assert.deepEqual(credentialsIn(after), credentialsIn(before))
  assert.equal(after.clock?.trust, 'trusted')
})

test('steps by years change no credential even where the device believes each of them and its session ends', async () => {
  await using actor = await kit.makeActor(stage, 'steps-02', { toml: unmeasured })
  const clock = clockBeside(stage.time)
  // Nothing judges this clock: it is trusted wherever it stands.
  actor.boot({ clock })
  await kit.connected(actor, 'x509')
  const before = await actor.agent().status()
  const since = mark(actor)
  for (const aheadMs of [10 * YEAR, -20 * YEAR, 0]) {
    clock.set(aheadMs)
    await pass(actor, HOUR)
    cutOff(stage.cloud, actor.id)
    await pass(actor, HOUR)
  }
  assert.deepEqual(sessionsOf(actor, since), ['x509', 'x509', 'x509'])
  const after = await actor.agent().until(({ auth }) => auth.state === 'active')
  assert.deepEqual(credentialsIn(after), credentialsIn(before))
})

test('a fallback that lies ahead after a step of the clock is no reason to stay on SAS', async () => {
  await using actor = await kit.makeActor(stage, 'steps-03', { toml: unmeasured })
  const clock = clockBeside(stage.time, 5 * YEAR)
  const watchClock = watchOf(clock)
  clock.synchronised = true
  actor.boot({ clock, watchClock })
  await kit.connected(actor, 'x509')
  const since = mark(actor)
  kit.revoke(actor)
  await kit.untilSession(actor, 'sas', since)
  clock.set(0)
  const back = mark(actor)
  kit.restore(actor)
  const from = stage.time.now()
  await kit.untilSession(actor, 'x509', back)
  assert.ok(stage.time.now() - from <= 10 * HOUR, `${(stage.time.now() - from) / HOUR} h`)
})

/** What a step of the clock must not touch. */
function credentialsIn({ auth }: Status) {
  const { mode, lane, certificate, history, fallback } = auth
  return { mode, lane, certificate, history, active: fallback?.active }
}
