/** A DPS that says nothing, throttles or is not there: the device goes on as it is, and the wish is not lost. */
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

for (const [fault, value, code] of [
  ['dpsAnswer', 'silence', 'DPS_NO_ANSWER'],
  ['connectSilence', 'dps', 'DPS_NO_ANSWER'],
  ['closeAfterHandshake', 'dps', 'DPS_CLOSED'],
  ['dpsAnswer', '503', 'DPS_SERVICE_FAULT'],
] as const) {
  test(`a DPS that cannot be asked (${fault} ${value}) is waited for as long as a move may last; then SAS goes on, and the move is tried again`, async () => {
    await using unit = await bootUnit(bed, `out-${fault.toLowerCase()}-${value}`)
    const version = wish(unit, { mode: 'x509' })
    bed.cloud.faults.setText(fault, value)
    await install(unit)
    await unit.agent().journal.heard('registering the candidate with DPS')
    // The old session lives while DPS is asked, since nothing has been assigned.
    await pass(unit, 9 * MINUTE)
    await unit.agent().journal.heard(({ event }) => event === 'the candidate is not registered')
    assert.deepEqual(sessionsOf(unit), ['sas'])
    await pass(unit, MINUTE + 5 * SECOND)
    await unit.agent().journal.heard(({ event }) => event === 'failed')
    calm(bed.cloud)
    await pass(unit, 3 * MINUTE)
    const back = await ended(unit, version)
    assert.deepEqual([back.mode, back.lastAttempt?.result, back.lastAttempt?.code], ['sas', 'unreachable', code])
    assert.deepEqual(back.waiting?.code, code)
    await untilRetry(unit)
    const moved = await reported(unit, ({ state, mode }) => state === 'active' && mode === 'x509')
    assert.deepEqual(
      moved.history.map(({ result, version: of }) => [result, of]),
      [
        ['unreachable', version],
        ['active', version],
      ],
    )
    assertOneAtATime(unit)
  })
}

test('a DPS that throttles is asked no sooner than it wishes, and takes the candidate then', async () => {
  await using unit = await bootUnit(bed, 'out-throttled')
  const version = wish(unit, { mode: 'x509' })
  bed.cloud.faults.set('dpsAnswer', '429')
  await install(unit)
  await unit.agent().journal.heard('DPS_THROTTLED')
  const since = bed.cloud.record.seq()
  await pass(unit, 30 * SECOND)
  assert.deepEqual(eventsOf(bed.cloud, 'refused', unit.id, since), [])
  calm(bed.cloud)
  await pass(unit, 4 * MINUTE)
  const { mode, lastAttempt } = await ended(unit, version)
  assert.deepEqual([mode, lastAttempt?.result], ['x509', 'active'])
  assert.deepEqual(registrationsOf(unit), ['fleet-sas', 'fleet-x509'])
  assertOneAtATime(unit)
})

test('an outage of hours costs the wish nothing: it is tried again, later each time, and telemetry flows by SAS meanwhile', async () => {
  await using unit = await bootUnit(bed, 'out-hours')
  const version = wish(unit, { mode: 'x509' })
  bed.cloud.faults.set('dpsAnswer', '500')
  let since = unit.agent().journal.lines().length
  await install(unit)
  const waits: number[] = []
  for (let attempt = 1; attempt <= 3; attempt += 1) {
    await unit.agent().journal.heard('registering the candidate with DPS', { since })
    await pass(unit, 10 * MINUTE + 5 * SECOND)
    // The way back begins with DPS as well, and goes on with the assignment that is known.
    await unit.agent().until(({ auth }) => auth.state === 'rollingBack')
    await pass(unit, 30 * SECOND)
    await unit.agent().until(({ auth }) => auth.history?.length === attempt && auth.state === 'active')
    const { auth } = await unit.agent().until(({ auth: { waiting } }) => waiting?.untilMs !== undefined)
    const last = auth.history?.at(-1) ?? assert.fail()
    assert.deepEqual([last.result, last.version], ['unreachable', version])
    waits.push((auth.waiting?.untilMs ?? 0) - last.atMs)
    since = unit.agent().journal.lines().length
    await untilRetry(unit)
  }
  // Half of the pause and half of the other half, by a chance of one half: 15 min doubled each time.
  assert.deepEqual(waits, [11.25 * MINUTE, 22.5 * MINUTE, 45 * MINUTE])
  calm(bed.cloud)
  await unit.agent().until(({ auth }) => auth.state !== 'active')
  await pass(unit, 11 * MINUTE)
  await reported(unit, ({ state, mode }) => state === 'active' && mode === 'x509')
  const stamps = arrivalsOf(unit).map(({ stamped }) => stamped)
  assert.deepEqual([stamps[0], stamps.at(-1)], ['sas', 'x509'])
  assertOneAtATime(unit)
})

test('a device that is on its way when the hub goes silent proves itself when the hub is back, within its time', async () => {
  await using unit = await bootUnit(bed, 'out-hub')
  const version = wish(unit, { mode: 'x509' })
  bed.cloud.faults.set('closeAfterHandshake', 'hub')
  await install(unit)
  await seen(bed.cloud, 'registered', unit.id, { fits: ({ enrollment }) => enrollment === 'fleet-x509' })
  await pass(unit, MINUTE)
  calm(bed.cloud)
  await pass(unit, 2 * MINUTE)
  const { mode, lastAttempt } = await ended(unit, version)
  assert.deepEqual([mode, lastAttempt?.result], ['x509', 'active'])
  assertOneAtATime(unit)
})
