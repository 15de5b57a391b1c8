/** Wishes that are impossible, forbidden, repeated, lost on their way or taken back. */
import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import { chmod, writeFile } from 'node:fs/promises'
import { randomBytes } from 'node:crypto'
import { eventually } from '../kit/device.ts'
import { calm, eventsOf } from './agent-kit.ts'
import {
  bootUnit,
  ended,
  install,
  keyFile,
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
import type { Bed, Unit, UnitOptions } from './transition-kit.ts'
import { assertOneAtATime, registrationsOf, sessionsOf } from './transition-record.ts'

let bed: Bed

before(async () => {
  bed = await startBed()
})
after(() => bed[Symbol.asyncDispose]())
afterEach(() => calm(bed.cloud))

interface Impossible {
  readonly name: string
  readonly options: UnitOptions
  readonly wished: Readonly<Record<string, unknown>>
  readonly code: string
  readonly reason: RegExp
  /** What somebody does to the device before the wish comes. */
  readonly meddle?: (unit: Unit) => Promise<void>
}

const impossible: readonly Impossible[] = [
  {
    name: 'SAS without a secret',
    options: { holds: ['x509'] },
    wished: { mode: 'sas' },
    code: 'AUTH_NO_SAS',
    reason: /no SAS secret/,
  },
  {
    name: 'X.509 where it is turned off',
    options: { toml: '[auth.x509]\nenabled = false\n' },
    wished: { mode: 'x509' },
    code: 'AUTH_X509_OFF',
    reason: /auth\.x509\.enabled is false/,
  },
  {
    name: 'a downgrade that is forbidden',
    options: { holds: ['sas', 'x509'], toml: '[auth]\nmode = "x509"\nallowDowngrade = false\n' },
    wished: { mode: 'sas' },
    code: 'AUTH_FORBIDDEN',
    reason: /auth\.allowDowngrade is false/,
  },
  {
    name: 'a mode that does not exist',
    options: {},
    wished: { mode: 'X509' },
    code: 'AUTH_WISH_INVALID',
    reason: /auth\.mode must be one of x509, sas/,
  },
  {
    name: 'a new certificate for a device that is on SAS',
    options: {},
    wished: { renew: 'now' },
    code: 'AUTH_WISH_INVALID',
    reason: /renewed on X\.509/,
  },
  {
    name: 'SAS with a key that others may read',
    options: { holds: ['sas', 'x509'], toml: '[auth]\nmode = "x509"\n' },
    wished: { mode: 'sas' },
    code: 'SAS_SECRET_EXPOSED',
    reason: /chmod/,
    meddle: (unit) => chmod(keyFile(bed, unit.id), 0o644),
  },
  {
    name: 'SAS with the key of the whole group',
    options: { holds: ['sas', 'x509'], toml: '[auth]\nmode = "x509"\n' },
    wished: { mode: 'sas' },
    code: 'SAS_GROUP_KEY',
    reason: /64 bytes/,
    meddle: (unit) => writeFile(keyFile(bed, unit.id), randomBytes(64).toString('base64')),
  },
]

for (const [index, { name, options, wished, code, reason, meddle }] of impossible.entries()) {
  test(`an impossible wish is answered at once with the reason, and changes nothing: ${name}`, async () => {
    await using unit = await bootUnit(bed, `wish-no-${index}`, options)
    await meddle?.(unit)
    const since = bed.cloud.record.seq()
    const { mode } = await reported(unit, () => true)
    const version = wish(unit, wished)
    const answer = await ended(unit, version)
    assert.deepEqual([answer.lastAttempt?.result, answer.lastAttempt?.code], ['rejected', code])
    assert.match(answer.lastAttempt?.reason ?? '', reason)
    assert.equal(answer.mode, mode)
    await pass(unit, MINUTE)
    assert.deepEqual([sessionsOf(unit, since), registrationsOf(unit, since)], [[], []])
    assert.deepEqual(eventsOf(bed.cloud, 'disconnected', unit.id, since), [])
  })
}

test('a wish beyond the moves of a day waits, says until when, and is followed then', async () => {
  await using unit = await bootUnit(bed, 'wish-budget', { toml: '[auth]\nmovesPerDay = 1\n' })
  await toX509(unit)
  const since = bed.cloud.record.seq()
  const began = unit.clock.now()
  const version = wish(unit, { mode: 'sas' })
  const { mode, waiting } = await reported(unit, (auth) => auth.waiting !== undefined)
  assert.deepEqual([mode, waiting?.code], ['x509', 'AUTH_MOVES_SPENT'])
  const untilMs = Date.parse(waiting?.until ?? '')
  assert.ok(untilMs > began + 23 * 60 * MINUTE && untilMs <= began + 24 * 60 * MINUTE, waiting?.until)
  await pass(unit, 20 * MINUTE)
  assert.deepEqual(registrationsOf(unit, since), [])
  await pass(unit, untilMs - unit.clock.now() + 5 * SECOND)
  assert.equal((await ended(unit, version)).mode, 'sas')
})

test('a wish that is taken back while the certificate is awaited ends the move, and the same request waits for the next one', async () => {
  await using unit = await bootUnit(bed, 'wish-back')
  wish(unit, { mode: 'x509' })
  const request = await requestOf(unit)
  await reported(unit, ({ state }) => state === 'awaitingCertificate')
  const since = bed.cloud.record.seq()
  wish(unit, { mode: null })
  const { mode, requested, history } = await reported(unit, ({ state }) => state === 'active')
  assert.deepEqual([mode, requested, history], ['sas', undefined, []])
  assert.deepEqual(eventsOf(bed.cloud, 'disconnected', unit.id, since), [])
  // Signed or not, what comes now moves nobody.
  await pass(unit, MINUTE)
  assert.deepEqual(registrationsOf(unit, since), [])

  const version = wish(unit, { mode: 'x509' })
  await reported(unit, ({ state }) => state === 'awaitingCertificate')
  assert.equal(await requestOf(unit), request)
  await install(unit)
  assert.equal((await ended(unit, version)).mode, 'x509')
})

test('a wish for SAS while the certificate for X.509 is awaited ends the move as well', async () => {
  await using unit = await bootUnit(bed, 'wish-other')
  wish(unit, { mode: 'x509' })
  await requestOf(unit)
  await reported(unit, ({ state }) => state === 'awaitingCertificate')
  wish(unit, { mode: 'sas' })
  const { mode } = await reported(unit, ({ state }) => state === 'active')
  assert.equal(mode, 'sas')
  assert.deepEqual(registrationsOf(unit), ['fleet-sas'])
})

test('the same wish again under later versions, and patches of other programs, begin nothing', async () => {
  await using unit = await bootUnit(bed, 'wish-again')
  await toX509(unit)
  const since = bed.cloud.record.seq()
  for (let times = 0; times < 5; times += 1) {
    const version = wish(unit, { mode: 'x509' })
    await reported(unit, ({ requested }) => requested?.version === version)
    bed.cloud.hub.patchTwin(unit.id, { desired: { firmware: { channel: `beta-${times}` } } })
  }
  await pass(unit, MINUTE)
  assert.deepEqual([sessionsOf(unit, since), registrationsOf(unit, since)], [[], []])
  await steady(unit)
})

test('a wish of which the push was lost is noticed with the next version, and followed', async () => {
  await using unit = await bootUnit(bed, 'wish-lost')
  bed.cloud.faults.set('desiredPush', 'lost')
  wish(unit, { mode: 'x509' })
  calm(bed.cloud)
  bed.cloud.hub.patchTwin(unit.id, { desired: { firmware: { channel: 'beta' } } })
  // The gap in the versions has the twin read again, within a second.
  await unit.clock.advance(await eventually(async () => unit.clock.pending().find((leftMs) => leftMs <= SECOND)))
  const version = bed.cloud.hub.twin(unit.id)?.desiredVersion ?? 0
  await install(unit)
  assert.equal((await ended(unit, version)).mode, 'x509')
})

test('a wish that came while the device was away is followed when it is back, once, whatever comes twice', async () => {
  await using unit = await bootUnit(bed, 'wish-away')
  await unit.agent().stop()
  const version = wish(unit, { mode: 'x509' })
  unit.boot()
  await install(unit)
  await ended(unit, version)
  await unit.agent().stop()
  unit.boot()
  await steady(unit)
  await pass(unit, MINUTE)
  assert.deepEqual(registrationsOf(unit), ['fleet-sas', 'fleet-x509'])
  assert.deepEqual(sessionsOf(unit), ['sas', 'sas', 'x509', 'x509'])
  assertOneAtATime(unit)
})
