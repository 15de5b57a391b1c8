/** The process is killed at each step of a move from one lane to the other, as by a power cut that spares the disk. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { Cloud } from '../cloud/cloud.ts'
import type { RecordedEvent } from '../cloud/record.ts'
import { startFleetCloud } from './agent-kit.ts'
import { makeMortal } from './killed-kit.ts'
import type { KillPoint, Mortal } from './killed-kit.ts'

let cloud: Cloud
let device: Mortal
const ID = 'killed-toggle'

before(async () => {
  cloud = await startFleetCloud()
  device = await makeMortal(cloud, cloud.enrollSasFleet(), ID, '[auth]\nmovesPerDay = 96\n')
})
after(async () => {
  await device[Symbol.asyncDispose]()
  await cloud.close()
})

type Lane = 'sas' | 'x509'

/** Where a process may die on its way to a lane, and what has to come of it. */
interface Death {
  readonly point: (to: Lane) => KillPoint
  /** Whether the move goes on after the restart, or is taken back: what was registered and is not proved. */
  readonly end: 'reached' | 'rolledBack'
  /** Registrations of the candidate that DPS has carried out by then. */
  readonly registered: 0 | 1
}

const journal = (at: 'before' | 'after', phase: string) => () => `${at} state/credentials/journal.json ${phase}`
/** A record of a device that stands still is written at other times, too. */
const ending = (at: 'before' | 'after') => () => `${journal('after', 'committing')()}\n${journal(at, 'steady')()}`
const pointer = (at: 'before' | 'after') => () => `${at} state/credentials/active`
const assignment = (to: Lane) => `after state/assignment${to === 'sas' ? '-sas' : ''}.json`
const seenByCloud = (fits: (event: RecordedEvent) => boolean) => () => fits
const told = (state: string) =>
  seenByCloud((event) => {
    if (event.kind !== 'reported') return false
    return (event.patch['auth'] as { readonly state?: string } | undefined)?.state === state
  })
const isConnected = (event: RecordedEvent, where: 'dps' | 'hub') =>
  event.kind === 'connected' && (event.host === cloud.dps.host) === (where === 'dps')

/** Every durable write of a move, and every event that the cloud sees of it, in order. */
const deaths: readonly (readonly [when: string, death: Death])[] = [
  ['before the wish is on record', { point: journal('before', 'preparing'), end: 'reached', registered: 0 }],
  ['after the wish is on record', { point: journal('after', 'preparing'), end: 'reached', registered: 0 }],
  ['before the registration is on record', { point: journal('before', 'registering'), end: 'reached', registered: 0 }],
  ['after the registration is on record', { point: journal('after', 'registering'), end: 'rolledBack', registered: 0 }],
  [
    'when DPS has taken the connection',
    { point: seenByCloud((event) => isConnected(event, 'dps')), end: 'rolledBack', registered: 0 },
  ],
  [
    'when DPS has assigned the device',
    { point: seenByCloud(({ kind }) => kind === 'registered'), end: 'rolledBack', registered: 1 },
  ],
  ['after the assignment is kept', { point: assignment, end: 'rolledBack', registered: 1 }],
  ['after the proof begins on record', { point: journal('after', 'proving'), end: 'rolledBack', registered: 1 }],
  [
    'when the hub has taken the candidate',
    { point: seenByCloud((event) => isConnected(event, 'hub')), end: 'rolledBack', registered: 1 },
  ],
  ['when the twin says proving', { point: told('proving'), end: 'rolledBack', registered: 1 }],
  ['before the proof is on record', { point: journal('before', 'committing'), end: 'rolledBack', registered: 1 }],
  ['after the proof is on record', { point: journal('after', 'committing'), end: 'reached', registered: 1 }],
  ['before the pointer is written', { point: pointer('before'), end: 'reached', registered: 1 }],
  ['after the pointer is written', { point: pointer('after'), end: 'reached', registered: 1 }],
  ['before the end is on record', { point: ending('before'), end: 'reached', registered: 1 }],
  ['after the end is on record', { point: ending('after'), end: 'reached', registered: 1 }],
  ['when the twin says active', { point: told('active'), end: 'reached', registered: 1 }],
]

test('a device that is killed at any step of a move keeps a working credential, and says what came of the move', async (t) => {
  device.start()
  await device.told(({ state }) => state === 'active')
  let version = device.wish({ mode: 'x509' })
  await device.sign()
  let auth = await device.told(({ state, mode }) => state === 'active' && mode === 'x509')
  for (const [when, { point, end, registered }] of deaths) {
    const from = auth.mode
    const to = from === 'sas' ? 'x509' : 'sas'
    await t.test(`${from} → ${to}, killed ${when}`, async () => {
      const since = cloud.record.seq()
      device.doom(point(to))
      version = device.wish({ mode: to })
      await device.killed()
      assert.equal(device.registrations(since), registered)

      const again = cloud.record.seq()
      device.start()
      if (end === 'rolledBack') {
        auth = await device.told(({ state, lastAttempt }) => state === 'active' && lastAttempt?.version === version)
        assert.deepEqual(
          [auth.mode, auth.lastAttempt?.result, auth.lastAttempt?.code],
          [from, 'unreachable', 'AUTH_INTERRUPTED'],
        )
        await device.atHome(auth, again)
        assert.equal(device.registrations(again), 1, 'the old credential is registered once')
        await bringThrough(to)
      }
      auth = await device.told(({ state, mode }) => state === 'active' && mode === to)
      assert.equal(auth.lastAttempt?.result, 'active')
      await device.atHome(auth, again)
      assert.equal(device.registrations(since), end === 'rolledBack' ? registered + 2 : 1)
    })
  }
})

/** What is tried again by itself in a quarter of an hour only, a technician has now. */
async function bringThrough(to: Lane): Promise<void> {
  const ran = await device.device.run('auth', to, '--wait')
  assert.equal(ran.status, 0, ran.stderr)
  assert.match(ran.stdout, new RegExp(`^active: the device is on ${to}$`, 'm'))
}

test('a device that is killed again and again on its way back gets there, with one registration in each life', async (t) => {
  const to = 'x509'
  const since = cloud.record.seq()
  device.doom(journal('after', 'proving')())
  const version = device.wish({ mode: to })
  await device.killed()
  const lives: readonly (readonly [when: string, point: KillPoint, registered: 0 | 1])[] = [
    ['after the rollback is on record', journal('after', 'rollingBack')(), 0],
    ['when DPS has assigned the old credential', ({ kind }) => kind === 'registered', 1],
    ['when the hub has taken the old credential', (event) => isConnected(event, 'hub'), 1],
    ['before the end is on record', journal('before', 'steady')(), 1],
  ]
  for (const [when, point, registered] of lives)
    await t.test(`killed ${when}`, async () => {
      const life = cloud.record.seq()
      device.doom(point)
      device.start()
      await device.killed()
      assert.equal(device.registrations(life), registered)
    })
  const again = cloud.record.seq()
  device.start()
  const auth = await device.told(({ state, lastAttempt }) => state === 'active' && lastAttempt?.version === version)
  assert.deepEqual([auth.mode, auth.lastAttempt?.result], ['sas', 'unreachable'])
  await device.atHome(auth, again)
  assert.equal(device.registrations(since), 1 + 3 + 1)
})
