/** A device that starts with a clock that is wrong: it waits for a while, tries, and judges no credential by it. */
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, afterEach, before, test } from 'node:test'
import { calm, eventsOf } from './agent-kit.ts'
import { clockBeside, standingAt, worldOf } from './clock-kit.ts'
import * as kit from './fallback-kit.ts'
import type { Actor, Stage } from './fallback-kit.ts'

const { FALLBACK, HOUR, MINUTE, SECOND, mark, pass, policyToml, refusalsOf, sessionsOf, untilSession } = kit

let stage: Stage

before(async () => {
  stage = await kit.startStage()
})
after(() => stage[Symbol.asyncDispose]())
afterEach(() => {
  calm(stage.cloud)
  kit.restore({ stage })
})

const unmeasured = `${policyToml()}\n[clock]\nskewSource = "off"\nsyncWaitSeconds = 300\n`

/** What the agent has written down about refusals. */
async function refusalsIn({ device }: Actor): Promise<unknown> {
  const text = await readFile(join(device.stateDir, 'credentials', 'journal.json'), 'utf8')
  return (JSON.parse(text) as { memory: { refusals?: unknown } }).memory.refusals
}

for (const instant of ['1970-01-01T00:00:00Z', '2000-01-01T00:00:00Z']) {
  const year = instant.slice(0, 4)

  test(`a device that starts in ${year} waits for its clock for as long as it is told, then tries, and judges nothing`, async () => {
    await using actor = await kit.makeActor(stage, `boot-${year}`, { toml: unmeasured })
    const clock = clockBeside(stage.time, standingAt(stage.time, instant))
    const since = mark(actor)
    actor.boot(worldOf(clock))
    await pass(actor, 295 * SECOND)
    assert.deepEqual(eventsOf(stage.cloud, 'connected', actor.id, since), [])
    await pass(actor, 10 * SECOND)
    await kit.connected(actor, 'x509')
    const { auth, warnings } = await actor.agent().status()
    assert.deepEqual([auth.mode, auth.state, auth.history], ['x509', 'active', []])
    const codes = warnings.map(({ code }) => code)
    assert.ok(codes.includes('CLOCK_WRONG') && codes.includes('CERTIFICATE_NOT_YET_VALID'), codes.join())
    assert.equal(kit.twinOf(actor).clock?.trusted, false)
  })

  test(`what the cloud refuses to a device in ${year} is held against nothing until its clock is right`, async () => {
    await using actor = await kit.makeActor(stage, `refused-${year}`, { toml: unmeasured })
    const clock = clockBeside(stage.time)
    clock.synchronised = true
    actor.boot(worldOf(clock))
    await kit.connected(actor, 'x509')
    await actor.agent().stop()
    const since = mark(actor)
    kit.revoke(actor)
    clock.set(standingAt(stage.time, instant))
    clock.synchronised = undefined
    actor.boot(worldOf(clock))
    await pass(actor, 12 * HOUR)
    assert.ok(refusalsOf(actor, since).length >= 20)
    assert.deepEqual(sessionsOf(actor, since), [])
    assert.equal(await refusalsIn(actor), undefined)
    assert.equal(await actor.device.has('requests'), false)

    clock.set(0)
    clock.synchronised = true
    const right = mark(actor)
    await untilSession(actor, 'sas', right)
    assert.ok(refusalsOf(actor, right).length >= 3)
  })
}

test('a device whose clock is put right while it waits goes on at once', async () => {
  await using actor = await kit.makeActor(stage, 'sync-01', { toml: unmeasured })
  const clock = clockBeside(stage.time, standingAt(stage.time, '1970-01-01T00:00:00Z'))
  const since = mark(actor)
  actor.boot(worldOf(clock))
  await pass(actor, 20 * SECOND)
  assert.deepEqual(eventsOf(stage.cloud, 'connected', actor.id, since), [])
  clock.set(0)
  clock.synchronised = true
  const from = stage.time.now()
  await untilSession(actor, 'x509', since, MINUTE)
  assert.ok(stage.time.now() - from <= 10 * SECOND, `${stage.time.now() - from} ms`)
  await kit.reported(actor, (_, all) => all.clock?.trusted === true)
})

test('a device that may not wait for its clock tries at once', async () => {
  const toml = unmeasured.replace('300', '0')
  await using actor = await kit.makeActor(stage, 'nowait-01', { toml })
  actor.boot(worldOf(clockBeside(stage.time, standingAt(stage.time, '1970-01-01T00:00:00Z'))))
  await kit.connected(actor, 'x509')
})

test('a SAS token by a clock that is behind is refused, named with its end, and not held against the key', async () => {
  const toml = policyToml({ ...FALLBACK }).replace('"x509"', '"sas"') + '[clock]\nskewSource = "off"\n'
  await using actor = await kit.makeActor(stage, 'token-01', { toml, certificates: [] })
  const clock = clockBeside(stage.time, -2 * HOUR)
  const since = mark(actor)
  actor.boot(worldOf(clock))
  await pass(actor, 6 * HOUR)
  const refused = refusalsOf(actor, since)
  assert.ok(refused.length >= 10)
  assert.match(refused[0]?.reason ?? '', /expired/)
  const { auth, connection } = await actor.agent().status()
  assert.deepEqual([auth.mode, auth.state, auth.history], ['sas', 'active', []])
  const said = connection.state === 'disconnected' ? connection.failure?.message : undefined
  assert.match(said ?? '', /by the clock of this device its token is good until \d{4}-/)
  assert.equal(await refusalsIn(actor), undefined)
  clock.set(0)
  await untilSession(actor, 'sas', since)
})
