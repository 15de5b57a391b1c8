/** A certificate whose key is gone or laid open on the device itself: nobody's refusal, and no way to SAS by itself. */
import assert from 'node:assert/strict'
import { chmod, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { after, afterEach, before, test } from 'node:test'
import { calm, cutOff } from './agent-kit.ts'
import * as kit from './fallback-kit.ts'
import type { Actor, ActorOptions, Stage } from './fallback-kit.ts'

const { FALLBACK, HOUR, MINUTE, mark, pass, policyToml, sessionsOf, stampsOf, untilSession } = kit

let stage: Stage

before(async () => {
  stage = await kit.startStage()
})
after(() => stage[Symbol.asyncDispose]())
afterEach(() => {
  calm(stage.cloud)
  kit.restore({ stage })
})

const keyOf = ({ device }: Actor, generation: string) => join(device.stateDir, 'credentials', generation, 'key.pem')

/** A device that was connected with X.509 and is switched off. */
async function switchedOff(id: string, options?: ActorOptions): Promise<Actor> {
  const actor = await kit.bootActor(stage, id, options)
  await actor.agent().stop()
  return actor
}

test('a device whose key is gone and that may not fall back asks for a certificate, and does not use SAS', async () => {
  await using actor = await switchedOff('gone-01', { toml: policyToml({ ...FALLBACK, enabled: 'false' }) })
  await rm(keyOf(actor, 'gen-0001'))
  const since = mark(actor)
  actor.boot()
  await actor.agent().journal.heard('waiting for a certificate')
  await pass(actor, 12 * HOUR)
  assert.deepEqual(sessionsOf(actor, since), [])
  const { connection } = await actor.agent().status()
  assert.equal(connection.state === 'disconnected' && connection.doing, 'awaitingCertificate')
  await kit.install(actor)
  await untilSession(actor, 'x509', since)
  assert.deepEqual(sessionsOf(actor, since), ['x509'])
  // What was torn is kept for whoever wants to know why, and its name is not used twice.
  assert.equal(await actor.device.has('credentials/gen-0002/key.pem'), true)
})

test('a device whose key is gone and that may fall back is on SAS at once, says why, and asks for a certificate to return with', async () => {
  await using actor = await switchedOff('gone-02')
  await rm(keyOf(actor, 'gen-0001'))
  const since = mark(actor)
  const fellAt = stage.time.now()
  actor.boot()
  await kit.connected(actor, 'sas')
  const fallen = await kit.reported(actor, ({ fallback }) => fallback.active)
  assert.deepEqual([fallen.fallback.cause, fallen.fallback.leftToday], ['KEY_UNREADABLE', 1])
  assert.deepEqual(
    fallen.history.map(({ to, cause, result }) => [to, cause, result]),
    [['sas', 'fallback', 'active']],
  )
  assert.match(await actor.device.read('audit.ndjson'), /"active":"sas"/)
  await pass(actor, HOUR + MINUTE)
  const asking = await kit.reported(actor, ({ state }) => state === 'awaitingCertificate')
  assert.equal(asking.mode, 'sas')
  assert.equal(stage.cloud.hub.isConnected(actor.id), true)
  await kit.install(actor)
  await untilSession(actor, 'x509', since)
  assert.equal((await kit.reported(actor, ({ fallback }) => !fallback.active)).lastAttempt?.cause, 'return')
  assert.deepEqual([...new Set(stampsOf(actor, since))], ['sas', 'x509'])
  assert.ok(stage.time.now() - fellAt >= HOUR)
})

test('a device whose newest key is gone goes on with the generation before it, and never with SAS', async () => {
  await using actor = await switchedOff('gone-03', { certificates: [{}, {}] })
  await rm(keyOf(actor, 'gen-0002'))
  const since = mark(actor)
  actor.boot()
  await untilSession(actor, 'x509', since)
  await pass(actor, 6 * HOUR)
  assert.deepEqual(sessionsOf(actor, since), ['x509'])
  assert.deepEqual((await kit.reported(actor, ({ mode }) => mode === 'x509')).history, [])
  assert.match(await actor.device.read('audit.ndjson'), /"active":"gen-0001"/)
})

test('a key that others can read ends the start with the command that mends it, however much SAS is allowed', async () => {
  await using actor = await switchedOff('open-01')
  const key = keyOf(actor, 'gen-0001')
  await chmod(key, 0o644)
  const since = mark(actor)
  for (let start = 0; start < 3; start += 1) {
    const failure = await actor.boot().over
    assert.equal(failure?.code, 'KEY_EXPOSED')
    assert.ok(failure.message.endsWith(`chmod 600 ${key}`), failure.message)
  }
  assert.deepEqual(sessionsOf(actor, since), [])
  await chmod(key, 0o600)
  actor.boot()
  await kit.connected(actor, 'x509')
})

test('an older key that others can read keeps nobody from the newest', async () => {
  await using actor = await switchedOff('open-02', { certificates: [{}, {}] })
  await chmod(keyOf(actor, 'gen-0001'), 0o644)
  const since = mark(actor)
  actor.boot()
  await kit.connected(actor, 'x509')
  assert.match((await actor.agent().journal.heard('KEY_EXPOSED')).msg, /gen-0001/)
  assert.deepEqual(sessionsOf(actor, since), ['x509'])
})

test('a key that goes away or is laid open while the device lives costs neither session nor reconnection, and is told', async () => {
  await using open = await kit.bootActor(stage, 'live-01')
  await using gone = await kit.bootActor(stage, 'live-02')
  await chmod(keyOf(open, 'gen-0001'), 0o644)
  await rm(keyOf(gone, 'gen-0001'))
  const since = mark(open)
  const isTold = () => kit.twinOf(open).warnings?.some(({ code }) => code === 'KEY_EXPOSED') === true
  assert.ok(await pass({ stage }, 5 * MINUTE, isTold))
  for (const actor of [open, gone]) {
    cutOff(stage.cloud, actor.id)
    await untilSession(actor, 'x509', since)
  }
  await pass({ stage }, 6 * HOUR)
  for (const actor of [open, gone]) assert.deepEqual([...new Set(stampsOf(actor, since))], ['x509'], actor.id)
  assert.match(gone.agent().journal.text(), /"code":"KEY_/)
})
