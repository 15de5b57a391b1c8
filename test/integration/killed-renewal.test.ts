/** The process is killed while a certificate is asked for, while one takes the place of another, and while SAS is retired. */
import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { Cloud } from '../cloud/cloud.ts'
import type { RecordedEvent } from '../cloud/record.ts'
import { startFleetCloud } from './agent-kit.ts'
import { makeMortal } from './killed-kit.ts'
import type { KillPoint, Mortal } from './killed-kit.ts'

let cloud: Cloud
let device: Mortal
const ID = 'killed-renewal'

before(async () => {
  cloud = await startFleetCloud()
  const toml = '[auth]\nmovesPerDay = 96\nsoakSeconds = 0\n'
  device = await makeMortal(cloud, cloud.enrollSasFleet(), ID, toml)
})
after(async () => {
  await device[Symbol.asyncDispose]()
  await cloud.close()
})

const pending = 'state/credentials/pending'
const request = `state/requests/${ID}.csr`
const issued = `state/issued/${ID}.pem`
const journal = 'state/credentials/journal.json'

const generations = async () =>
  (await readdir(join(device.device.stateDir, 'credentials'))).filter((name) => name.startsWith('gen-')).toSorted()

test('a device that is killed at any step on the way to its certificate asks for one, once, with one key', async (t) => {
  device.start()
  await device.told(({ state }) => state === 'active')
  const since = cloud.record.seq()
  device.doom(`before ${pending}`)
  device.wish({ mode: 'x509' })
  await device.killed()
  assert.equal(await device.device.has('credentials/pending'), false)

  const later = [`after ${pending}`, `before ${request}`, `after ${request}`]
  const signed = [`content ${pending}/chain.pem`, `after ${pending}/chain.pem`]
  const keys = new Set<string>()
  for (const point of [...later, ...signed])
    await t.test(`killed ${point}`, async () => {
      device.doom(point)
      device.start()
      if (point === signed[0]) await device.sign()
      await device.killed()
      keys.add(await device.device.read('credentials/pending/key.pem'))
      assert.equal(device.registrations(since), 0)
    })
  assert.equal(keys.size, 1)
  const again = cloud.record.seq()
  device.start()
  const auth = await device.told(({ state, mode }) => state === 'active' && mode === 'x509')
  await device.atHome(auth, again)
  assert.equal(device.registrations(since), 1)
  assert.ok(keys.has(await device.device.read('credentials/gen-0001/key.pem')))
})

/** Where a process may die during a renewal, by the name of the next generation; and whether it goes on afterwards. */
type Death = readonly [end: 'reached' | 'rolledBack', point: (next: string) => KillPoint]

const isProving = (event: RecordedEvent) =>
  event.kind === 'reported' && JSON.stringify(event.patch['auth']).includes('"state":"proving"')

const deaths: Readonly<Record<string, Death>> = {
  'before the generation has its name': ['reached', (next) => `before state/credentials/${next}`],
  'before the request is taken away': ['reached', () => `before rm ${request}`],
  'after the issued chain is taken away': ['reached', () => `after rm ${issued}`],
  'after the registration is on record': ['rolledBack', () => `after ${journal} registering`],
  'when DPS has assigned the device': [
    'rolledBack',
    () =>
      ({ kind }) =>
        kind === 'registered',
  ],
  'when the twin says proving': ['rolledBack', () => isProving],
  'after the proof is on record': ['reached', () => `after ${journal} committing`],
  'after the pointer is written': ['reached', () => `after state/credentials/active`],
}

test('a device that is killed at any step of a renewal has one certificate or the other, and loses no key', async (t) => {
  for (const [when, [end, point]] of Object.entries(deaths))
    await t.test(`killed ${when}`, async () => {
      const [before] = (await generations()).slice(-1)
      const next = `gen-${String(Number(before?.slice('gen-'.length)) + 1).padStart(4, '0')}`
      const since = cloud.record.seq()
      device.doom(point(next))
      const version = device.wish({ mode: null, renew: when })
      await device.sign()
      await device.killed()

      const again = cloud.record.seq()
      device.start()
      const auth = await device.told(({ state, lastAttempt }) => state === 'active' && lastAttempt?.version === version)
      assert.equal(auth.lastAttempt?.result, end === 'reached' ? 'active' : 'unreachable')
      await device.atHome(auth, again)
      assert.equal((await device.device.read('credentials/active')).trimEnd(), end === 'reached' ? next : before)
      assert.ok(device.registrations(since) <= 2)
      if (end === 'reached') return
      // The certificate is there: it is used, and no other is asked for.
      const through = cloud.record.seq()
      assert.equal((await device.device.run('renew')).status, 0)
      const renewed = await device.told(
        ({ state, lastAttempt }) => state === 'active' && lastAttempt?.cause === 'command',
      )
      await device.atHome(renewed, through)
      assert.equal((await device.device.read('credentials/active')).trimEnd(), next)
      assert.deepEqual((await generations()).slice(-1), [next])
    })
})

test('a retirement that is killed at any step is finished, and SAS is never used again', async (t) => {
  const retiring = `${journal} steady, SAS retiring`
  const retired = `${journal} steady, SAS retired`
  const key = 'secrets/sas.key'
  const since = cloud.record.seq()
  device.doom(`before ${retiring}`)
  device.wish({ sasRetired: true })
  await device.killed()
  const points = [`after ${retiring}`, `content ${key}`, `before rm ${key}`, `after rm ${key}`, `before ${retired}`]
  for (const point of [...points, `after ${retired}`])
    await t.test(`killed ${point}`, async () => {
      device.doom(point)
      device.start()
      await device.killed()
    })
  const again = cloud.record.seq()
  device.start()
  const auth = await device.told(({ sas }) => sas.retired)
  await device.atHome(auth, again)
  assert.deepEqual([auth.mode, auth.sas.available], ['x509', false])
  await assert.rejects(device.device.read('../secrets/sas.key'), { code: 'ENOENT' })
  assert.equal(device.registrations(since), 0)
  const ran = await device.device.run('auth', 'sas')
  assert.equal(ran.status, 1)
  assert.match(ran.stderr, /^AUTH_SAS_RETIRED: /m)
})
