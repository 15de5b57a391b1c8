/** The process is killed while it falls back to SAS, and while it returns to X.509. */
import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { CredentialRef } from '../../agent/credential/credential-ref.ts'
import { openJournal } from '../../agent/credential/journal.ts'
import { emptyMemory } from '../../agent/credential/memory.ts'
import type { Memory } from '../../agent/credential/memory.ts'
import { systemClock } from '../../agent/system/clock.ts'
import type { Cloud } from '../cloud/cloud.ts'
import { startFleetCloud } from './agent-kit.ts'
import { makeMortal } from './killed-kit.ts'
import type { KillPoint, Mortal } from './killed-kit.ts'

let cloud: Cloud
let device: Mortal
const ID = 'killed-fallback'
const FROM: CredentialRef = { lane: 'x509', generation: 'gen-0001' }

const toml = `[auth]
movesPerDay = 96
[auth.fallback]
enabled = true
until = "2099-01-01"
refusals = 2
holdOffSeconds = 0
`

before(async () => {
  cloud = await startFleetCloud()
  device = await makeMortal(cloud, cloud.enrollSasFleet(), ID, toml)
  const { keyPem, chainPem } = await cloud.authority.makeDevice(ID)
  const generation = join(device.device.stateDir, 'credentials', 'gen-0001')
  await mkdir(generation, { recursive: true, mode: 0o700 })
  await writeFile(join(generation, 'key.pem'), keyPem, { mode: 0o600 })
  await writeFile(join(generation, 'chain.pem'), chainPem, { mode: 0o600 })
})
after(async () => {
  await device[Symbol.asyncDispose]()
  await cloud.close()
})

/** Lets the device stand where its record says, as if it had come there long ago. */
async function stand(active: CredentialRef, memory: Memory): Promise<void> {
  const { stateDir } = device.device
  await openJournal(stateDir, systemClock, assert.ifError).save({
    version: 1,
    lifecycle: { phase: 'steady', active },
    memory,
  })
  await writeFile(join(stateDir, 'credentials', 'active'), active.lane === 'sas' ? 'sas\n' : 'gen-0001\n', {
    mode: 0o600,
  })
}

type End = 'reached' | 'rolledBack'

const journal = (phase: string): KillPoint => `after state/credentials/journal.json ${phase}`
const deaths = (candidate: 'sas' | 'x509'): Readonly<Record<string, readonly [End, KillPoint]>> => ({
  'after the registration is on record': ['rolledBack', journal('registering')],
  'when DPS has assigned the device': [
    'rolledBack',
    (event) => event.kind === 'registered' && event.enrollment === `fleet-${candidate}`,
  ],
  'after the proof begins on record': ['rolledBack', journal('proving')],
  'after the proof is on record': ['reached', journal('committing')],
})

for (const [when, [end, point]] of Object.entries(deaths('sas')))
  test(`a fallback that is killed ${when} is ${end === 'reached' ? 'finished' : 'taken back'}, and the twin says so`, async () => {
    await stand(FROM, emptyMemory)
    device.start()
    await device.told(({ state, mode }) => state === 'active' && mode === 'x509')
    await device.kill()
    const since = cloud.record.seq()
    cloud.disableGroup('fleet-x509')
    cloud.hub.removeIdentity(ID)
    device.doom(point)
    device.start()
    await device.killed()
    // Whoever revoked the certificate thinks better of it.
    cloud.enableGroup('fleet-x509')

    const again = cloud.record.seq()
    device.start()
    const auth = await device.told(({ state, lastAttempt }) => state === 'active' && lastAttempt?.cause === 'fallback')
    assert.deepEqual(
      [auth.mode, auth.lastAttempt?.result, auth.fallback.active],
      end === 'reached' ? ['sas', 'active', true] : ['x509', 'unreachable', false],
    )
    await device.atHome(auth, again)
    assert.ok(device.registrations(since) <= 2, 'one of each credential')
    await device.kill()
  })

for (const [when, [end, point]] of Object.entries(deaths('x509')))
  test(`a return to X.509 that is killed ${when} is ${end === 'reached' ? 'finished' : 'tried again later'}, and the twin says so`, async () => {
    const nowMs = Date.now()
    const times = { sinceMs: nowMs - 60_000, returnAtMs: nowMs - 1, returnsFailed: 0 }
    await stand({ lane: 'sas' }, { ...emptyMemory, fallenBack: { from: FROM, cause: 'DPS_UNAUTHORIZED', ...times } })
    const since = cloud.record.seq()
    device.doom(point)
    device.start()
    await device.killed()

    const again = cloud.record.seq()
    device.start()
    const auth = await device.told(({ state, lastAttempt }) => state === 'active' && lastAttempt?.cause === 'return')
    assert.deepEqual(
      [auth.mode, auth.lastAttempt?.result, auth.fallback.active],
      end === 'reached' ? ['x509', 'active', false] : ['sas', 'unreachable', true],
    )
    await device.atHome(auth, again)
    assert.ok(device.registrations(since) <= 3, 'SAS at the start, the candidate, and SAS again')
    await device.kill()
  })
