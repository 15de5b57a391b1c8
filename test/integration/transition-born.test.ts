/** A device may be born on either lane; the twin moves it from there. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { eventsOf } from './agent-kit.ts'
import { bootUnit, makeUnit, reported, startBed, steady, toX509 } from './transition-kit.ts'
import type { Bed } from './transition-kit.ts'
import { arrivalsOf, assertOneAtATime, registrationsOf, sessionsOf } from './transition-record.ts'

let bed: Bed

before(async () => {
  bed = await startBed()
})
after(() => bed[Symbol.asyncDispose]())

test('a device that holds only its derived key is born on SAS through DPS', async () => {
  await using unit = await bootUnit(bed, 'born-sas')
  assert.deepEqual(registrationsOf(unit), ['fleet-sas'])
  assert.deepEqual(sessionsOf(unit), ['sas'])
  assert.equal(bed.cloud.hub.identity('born-sas')?.authentication.type, 'sas')
  const { mode, lane, state } = await reported(unit, () => true)
  assert.deepEqual([mode, lane, state], ['sas', 'sas', 'active'])
  assert.deepEqual(
    arrivalsOf(unit).map(({ stamped }) => stamped),
    ['sas'],
  )
  // A certificate was neither asked for nor awaited: nobody has wished for one.
  assert.equal(await unit.device.has('requests'), false)
})

test('a device that holds only its certificate is born on X.509', async () => {
  await using unit = await bootUnit(bed, 'born-x509', { holds: ['x509'] })
  assert.deepEqual(registrationsOf(unit), ['fleet-x509'])
  assert.deepEqual(sessionsOf(unit), ['x509'])
  const { mode, lane } = await reported(unit, () => true)
  assert.deepEqual([mode, lane], ['x509', 'x509'])
})

for (const mode of ['sas', 'x509'] as const) {
  test(`a device that holds both is born on ${mode} when auth.mode says so, and the other lane is not touched`, async () => {
    const toml = `[auth]\nmode = "${mode}"\n`
    await using unit = await bootUnit(bed, `born-both-${mode}`, { holds: ['sas', 'x509'], toml })
    assert.deepEqual(registrationsOf(unit), [`fleet-${mode}`])
    assert.deepEqual(sessionsOf(unit), [mode])
  })
}

test('a device that holds both and is not told otherwise is born on SAS', async () => {
  await using unit = await bootUnit(bed, 'born-both', { holds: ['sas', 'x509'] })
  assert.deepEqual(sessionsOf(unit), ['sas'])
})

test('auth.mode decides at birth only: a device that was moved by its twin stays where it is over a restart', async () => {
  await using unit = await bootUnit(bed, 'born-once', { toml: '[auth]\nmode = "sas"\n' })
  await toX509(unit)
  await unit.agent().stop()
  const since = bed.cloud.record.seq()
  unit.boot()
  await steady(unit)
  assert.deepEqual([sessionsOf(unit, since), registrationsOf(unit, since)], [['x509'], []])
})

test('a device with a connection string is born on SAS at its hub, and DPS never hears of it', async () => {
  await using unit = await bootUnit(bed, 'born-direct', { holds: ['direct'] })
  assert.deepEqual(sessionsOf(unit), ['sas'])
  const hosts = eventsOf(bed.cloud, 'connected', 'born-direct').map(({ host }) => host)
  assert.deepEqual(hosts, [bed.cloud.hub.host])
  const { mode, lane } = await reported(unit, () => true)
  assert.deepEqual([mode, lane], ['sas', 'sasDirect'])
})

test('a device with a connection string moves to X.509 through DPS when its twin wishes it', async () => {
  await using unit = await bootUnit(bed, 'born-direct-2', { holds: ['direct'] })
  await toX509(unit)
  assert.deepEqual([sessionsOf(unit), registrationsOf(unit)], [['sas', 'x509'], ['fleet-x509']])
  assertOneAtATime(unit)
})

test('a device whose key is another one than that of its enrollment does not come in, and says so', async () => {
  await using unit = await makeUnit(bed, 'born-wrong')
  await bed.sas.writeKey(unit.device.variables['IOT_AGENT_SAS_KEY_FILE'] ?? '', 'somebody-else')
  const agent = unit.boot()
  await agent.journal.heard('DPS_UNAUTHORIZED')
  const { connection, auth } = await agent.until(
    ({ connection }) => connection.state === 'disconnected' && connection.failure !== undefined,
  )
  assert.equal(connection.state === 'disconnected' && connection.failure?.code, 'DPS_UNAUTHORIZED')
  assert.equal(auth.mode, 'sas')
  assert.deepEqual(sessionsOf(unit), [])
})
