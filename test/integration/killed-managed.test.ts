/** The process is killed while DPS issues the next certificate with a registration, at each step of disk and cloud. */
import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { Cloud } from '../cloud/cloud.ts'
import { startFleetCloud } from './agent-kit.ts'
import { makeMortal } from './killed-kit.ts'
import type { KillPoint, Mortal } from './killed-kit.ts'

let cloud: Cloud
let device: Mortal
const ID = 'killed-managed'
const POLICY = 'thirty-days'

before(async () => {
  cloud = await startFleetCloud()
  await cloud.namespace.putPolicy(POLICY)
  const fleet = cloud.enrollSasFleet('fleet-managed', { credentialPolicyName: POLICY })
  device = await makeMortal(cloud, fleet, ID, '[auth]\nmovesPerDay = 96\n[issuer]\nkind = "dps"\n')
})
after(async () => {
  await device[Symbol.asyncDispose]()
  await cloud.close()
})

const pending = 'state/credentials/pending'
const journal = 'state/credentials/journal.json'

const newest = async () =>
  (await readdir(join(device.device.stateDir, 'credentials')))
    .filter((name) => name.startsWith('gen-'))
    .toSorted()
    .at(-1) ?? 'gen-0000'

/** What was issued and not proved because of the death before is used by the next move: no other is asked for. */
async function useWhatIsThere(): Promise<void> {
  const waiting = await newest()
  if ((await device.device.read('credentials/active')).trimEnd() === waiting) return
  const since = cloud.record.seq()
  const version = device.wish({ mode: null, renew: `use ${waiting}` })
  const auth = await device.told(({ state, lastAttempt }) => state === 'active' && lastAttempt?.version === version)
  assert.equal(auth.lastAttempt?.result, 'active')
  await device.atHome(auth, since)
  assert.equal((await device.device.read('credentials/active')).trimEnd(), waiting)
  assert.equal(device.registrations(since), 0)
}

/** Where it dies, by the name of the next generation; and what comes of the move by itself. */
const deaths: Readonly<Record<string, readonly [end: 'active' | 'unreachable', point: (next: string) => KillPoint]>> = {
  'before there is a key': ['active', () => `before ${pending}`],
  'after there is a key': ['active', () => `after ${pending}`],
  'after the registration is on record': ['unreachable', () => `after ${journal} registering`],
  'when DPS has issued the certificate': [
    'unreachable',
    () =>
      ({ kind }) =>
        kind === 'registered',
  ],
  'while the chain is written': ['unreachable', () => `content ${pending}/chain.pem`],
  'after the chain is written': ['unreachable', () => `after ${pending}/chain.pem`],
  'before the generation has its name': ['unreachable', (next) => `before state/credentials/${next}`],
  'after the generation has its name': ['unreachable', (next) => `after state/credentials/${next}`],
  'after the proof is on record': ['active', () => `after ${journal} committing`],
  'after the pointer is written': ['active', () => 'after state/credentials/active'],
}

test('a device that is killed at any step of what DPS issues has one certificate or the other, and is at home', async (t) => {
  device.start()
  await device.told(({ state }) => state === 'active')
  device.wish({ mode: 'x509' })
  const first = await device.told(({ state, mode }) => state === 'active' && mode === 'x509')
  assert.equal((first.certificate as unknown as { readonly issuedBy: string }).issuedBy, 'dps')
  for (const [when, [end, point]] of Object.entries(deaths))
    await t.test(`killed ${when}`, async () => {
      await useWhatIsThere()
      const next = `gen-${String(Number((await newest()).slice('gen-'.length)) + 1).padStart(4, '0')}`
      device.doom(point(next))
      const version = device.wish({ mode: null, renew: when })
      await device.killed()

      const again = cloud.record.seq()
      device.start()
      const auth = await device.told(({ state, lastAttempt }) => state === 'active' && lastAttempt?.version === version)
      assert.equal(auth.lastAttempt?.result, end)
      assert.equal(auth.mode, 'x509')
      await device.atHome(auth, again)
      assert.equal(cloud.hub.identity(ID)?.authentication.type, 'certificateAuthority')
    })
})
