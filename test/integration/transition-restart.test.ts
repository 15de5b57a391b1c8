/** The agent ends in the middle of a move, at each of its phases, and begins again. */
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, afterEach, before, test } from 'node:test'
import { makeRoot } from '../kit/openssl.ts'
import { calm } from './agent-kit.ts'
import {
  bootUnit,
  ended,
  install,
  MINUTE,
  pass,
  reported,
  requestOf,
  startBed,
  steady,
  untilRetry,
  wish,
} from './transition-kit.ts'
import type { Bed, Unit } from './transition-kit.ts'
import { assertOneAtATime, registrationsOf, sessionsOf } from './transition-record.ts'

let bed: Bed

before(async () => {
  bed = await startBed()
})
after(() => bed[Symbol.asyncDispose]())
afterEach(() => calm(bed.cloud))

/** Waits until the phase is on disk and told, ends the agent there, and looks at what it has left. */
async function stopIn(unit: Unit, phase: string): Promise<void> {
  await unit.agent().until(({ auth }) => auth.state === phase)
  await unit.agent().stop()
  const journal = JSON.parse(await unit.device.read('credentials/journal.json')) as { lifecycle: { phase: string } }
  assert.equal(journal.lifecycle.phase, phase === 'awaitingCertificate' ? 'preparing' : phase)
}

test('a restart while the certificate is awaited goes on with the same request and the same key', async () => {
  await using unit = await bootUnit(bed, 'restart-01')
  const version = wish(unit, { mode: 'x509' })
  const request = await requestOf(unit)
  const key = await unit.device.read('credentials/pending/key.pem')
  await stopIn(unit, 'awaitingCertificate')
  unit.boot()
  await unit
    .agent()
    .until(({ connection, auth }) => connection.state === 'connected' && auth.state === 'awaitingCertificate')
  assert.deepEqual([await requestOf(unit), await unit.device.read('credentials/pending/key.pem')], [request, key])
  await install(unit)
  const { mode, lastAttempt } = await ended(unit, version)
  assert.deepEqual([mode, lastAttempt?.result], ['x509', 'active'])
  assert.equal(await unit.device.read('credentials/gen-0001/key.pem'), key)
  assertOneAtATime(unit)
})

test('a restart while the candidate is registered rolls back, and the move is tried again by itself', async () => {
  await using unit = await bootUnit(bed, 'restart-02')
  const version = wish(unit, { mode: 'x509' })
  bed.cloud.faults.set('dpsAnswer', 'silence')
  await install(unit)
  await stopIn(unit, 'registering')
  calm(bed.cloud)
  await interrupted(unit, version)
  await unit.agent().until(({ auth }) => auth.mode === 'x509' && auth.state === 'active')
  assert.deepEqual(registrationsOf(unit), ['fleet-sas', 'fleet-sas', 'fleet-x509'])
  assertOneAtATime(unit)
})

test('a restart while the candidate proves itself registers the old credential again, and the move is tried again by itself', async () => {
  await using unit = await bootUnit(bed, 'restart-03')
  const version = wish(unit, { mode: 'x509' })
  bed.cloud.faults.set('closeAfterHandshake', 'hub')
  await install(unit)
  await stopIn(unit, 'proving')
  assert.equal(bed.cloud.hub.identity(unit.id)?.authentication.type, 'selfSigned')
  calm(bed.cloud)
  await interrupted(unit, version)
  await reported(unit, ({ mode, state }) => mode === 'x509' && state === 'active')
  assert.deepEqual(registrationsOf(unit), ['fleet-sas', 'fleet-x509', 'fleet-sas', 'fleet-x509'])
  assert.deepEqual(sessionsOf(unit), ['sas', 'sas', 'x509'])
  assertOneAtATime(unit)
})

/** Boots after an interruption: back on SAS, said so, and tried again when the time of the retry has passed. */
async function interrupted(unit: Unit, version: number): Promise<void> {
  unit.boot()
  const back = await ended(unit, version)
  assert.deepEqual(
    [back.mode, back.lastAttempt?.result, back.lastAttempt?.code],
    ['sas', 'unreachable', 'AUTH_INTERRUPTED'],
  )
  assert.equal(bed.cloud.hub.identity(unit.id)?.authentication.type, 'sas')
  assert.equal(back.waiting?.code, 'AUTH_INTERRUPTED')
  await untilRetry(unit)
}

test('a restart before the pointer could be written finishes the move: the candidate has proved itself', async () => {
  await using unit = await bootUnit(bed, 'restart-04')
  const version = wish(unit, { mode: 'x509' })
  bed.cloud.faults.set('closeAfterHandshake', 'hub')
  await install(unit)
  await stopIn(unit, 'proving')
  // As if the power had gone after the record of the proof, and before the pointer.
  const journal = await unit.device.read('credentials/journal.json')
  const proved = journal.replace('"phase": "proving"', '"phase": "committing"')
  assert.notEqual(proved, journal)
  await writeFile(join(unit.device.stateDir, 'credentials', 'journal.json'), proved, { mode: 0o600 })
  assert.equal(await unit.device.read('credentials/active'), 'sas\n')
  calm(bed.cloud)
  const since = bed.cloud.record.seq()
  unit.boot()
  const { mode, lastAttempt } = await ended(unit, version)
  assert.deepEqual([mode, lastAttempt?.result], ['x509', 'active'])
  assert.equal(await unit.device.read('credentials/active'), 'gen-0001\n')
  assert.deepEqual([sessionsOf(unit, since), registrationsOf(unit, since)], [['x509'], []])
  assertOneAtATime(unit)
})

test('a restart while a move is rolled back goes on with that, and keeps the verdict', async () => {
  await using unit = await bootUnit(bed, 'restart-05')
  const stranger = await makeRoot(bed.folder, 'Stranger')
  await pass(unit, 36 * MINUTE)
  const version = wish(unit, { mode: 'x509' })
  await requestOf(unit)
  // Neither DPS nor the hub lets the old credential in at first.
  bed.cloud.disableGroup('fleet-sas')
  await install(unit, async (csr) => {
    bed.cloud.faults.set('closeAfterHandshake', 'hub')
    return stranger.sign(csr)
  })
  await stopIn(unit, 'rollingBack')
  bed.cloud.enableGroup('fleet-sas')
  calm(bed.cloud)
  unit.boot()
  const { mode, lastAttempt } = await ended(unit, version)
  assert.deepEqual([mode, lastAttempt?.result, lastAttempt?.code], ['sas', 'refused', 'DPS_UNAUTHORIZED'])
  await steady(unit)
  assertOneAtATime(unit)
})

test('a stop and a start between any two steps never make a second request, and end on X.509', async () => {
  await using unit = await bootUnit(bed, 'restart-06')
  wish(unit, { mode: 'x509' })
  const request = await requestOf(unit)
  for (let times = 0; times < 3; times += 1) {
    await unit.agent().stop()
    unit.boot()
    await unit.agent().until(({ auth }) => auth.state === 'awaitingCertificate')
  }
  assert.equal(await requestOf(unit), request)
  await install(unit)
  await reported(unit, ({ mode, state }) => mode === 'x509' && state === 'active')
  assert.equal(await unit.device.has('credentials/gen-0002'), false)
  assertOneAtATime(unit)
})
