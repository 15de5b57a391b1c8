import assert from 'node:assert/strict'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'node:test'
import { nameOf } from '../../../agent/credential/credential-ref.ts'
import { openJournal } from '../../../agent/credential/journal.ts'
import type { AuthRecord } from '../../../agent/credential/journal.ts'
import { emptyMemory } from '../../../agent/credential/memory.ts'
import type { Memory } from '../../../agent/credential/memory.ts'
import type { AuthWishes } from '../../../agent/credential/rotation-ports.ts'
import { exists } from '../../../agent/system/files.ts'
import { systemClock } from '../../../agent/system/clock.ts'
import { filesBelow } from '../../kit/program.ts'
import { openSound } from './fixture.ts'
import { cutAfter } from './power-cut.ts'
import { generation, preparedState, waiting } from './prepared-vault.ts'
import { JOURNAL, live, namesIn, recordIn, SAS_KEY } from './rotation-device.ts'
import type { SmallCloud } from './rotation-device.ts'
import type { Loss } from './unsynced.ts'

const HOUR_MS = 3_600_000
const SAS = { lane: 'sas' } as const
const FIRST = generation('gen-0001')

/** A move of a device, how it begins and how it ends without a cut. */
interface Transition {
  readonly from: typeof SAS | typeof FIRST
  /** A request waits in the vault, and its certificate is at hand. */
  readonly requested?: true
  readonly wishes: AuthWishes
  readonly memory?: Memory
  /** The credential that DPS takes no more; it does again once the power is back. */
  readonly refuses?: string
  readonly isOver: (record: AuthRecord) => boolean
  readonly ends: string
}

const isTold = ({ memory }: AuthRecord) => memory.history.length > 0
const nowMs = Date.now()

const transitions: Readonly<Record<string, Transition>> = {
  'from SAS to a certificate that is asked for': {
    ...{ from: SAS, requested: true, wishes: { version: 2, mode: 'x509' }, isOver: isTold, ends: 'gen-0001' },
  },
  'from X.509 to SAS': { from: FIRST, wishes: { version: 2, mode: 'sas' }, isOver: isTold, ends: 'sas' },
  'to a certificate that DPS refuses, and back': {
    ...{ from: SAS, wishes: { version: 2, mode: 'x509' }, refuses: 'gen-0001', isOver: isTold, ends: 'sas' },
  },
  'to a new certificate': {
    ...{ from: FIRST, requested: true, wishes: { version: 2, renew: 'now' }, isOver: isTold, ends: 'gen-0002' },
  },
  'to SAS because the certificate is refused': {
    ...{ from: FIRST, wishes: { version: 1 }, refuses: 'gen-0001', isOver: () => true, ends: 'sas' },
  },
  'back to X.509 after a fallback': {
    ...{ from: SAS, wishes: { version: 1 }, isOver: isTold, ends: 'gen-0001' },
    memory: {
      ...emptyMemory,
      fallenBack: {
        ...{ from: FIRST, cause: 'DPS_UNAUTHORIZED', sinceMs: nowMs - HOUR_MS },
        ...{ returnAtMs: nowMs - 1, returnsFailed: 0 },
      },
    },
  },
  'away from SAS for good': {
    ...{ from: FIRST, wishes: { version: 2, sasRetired: true }, ends: 'gen-0001' },
    isOver: ({ memory }) => memory.retirement?.done === true,
    memory: { ...emptyMemory, x509ProvenSinceMs: nowMs - HOUR_MS },
  },
}

/** The disk forgets all that was not synced. A process that is only killed loses nothing (test/integration/killed-*). */
const everything: Loss = { content: true, names: true }

/** The device at the beginning of a move. */
async function deviceBefore({ from, requested, wishes, memory = emptyMemory, refuses }: Transition) {
  const state = await (requested === true ? preparedState(waiting) : preparedState())
  if (requested === true && from === SAS) await rm(join(state.vault, 'gen-0001'), { recursive: true })
  await writeFile(join(state.path, SAS_KEY), 'c2VjcmV0\n', { mode: 0o600 })
  await writeFile(join(state.vault, 'active'), `${nameOf(from)}\n`, { mode: 0o600 })
  const journal = openJournal(state.path, systemClock, () => undefined)
  await journal.save({ version: 1, lifecycle: { phase: 'steady', active: from }, memory })
  const cloud: SmallCloud = {
    ...{ identity: nameOf(from), refuses: new Set<string>(), wishes, registrations: [], wrong: [] },
  }
  if (refuses !== undefined) cloud.refuses.add(refuses)
  if (refuses === nameOf(from)) cloud.identity = undefined
  return { state, cloud, [Symbol.asyncDispose]: () => state[Symbol.asyncDispose]() }
}

type DeviceBefore = Awaited<ReturnType<typeof deviceBefore>>

/** What holds at every instant, before the power is back. */
async function assertLeadsHome({ state, cloud }: DeviceBefore, when: string): Promise<void> {
  const record = recordIn(state.path)
  const { identity } = cloud
  if (identity !== undefined)
    assert.ok(namesIn(record).includes(identity), `${when}: the record names what was registered`)
  if (record.lifecycle.phase !== 'steady') return
  const pointer = await (await openSound(state.path)).pointer()
  assert.deepEqual(pointer, record.lifecycle.active, `${when}: record and pointer agree`)
}

/** Where the device has come to rest. */
async function assertAtHome({ state, cloud }: DeviceBefore, record: AuthRecord, when: string): Promise<void> {
  assert.equal(record.lifecycle.phase, 'steady', when)
  const active = record.lifecycle.phase === 'steady' ? record.lifecycle.active : SAS
  assert.equal(cloud.identity, nameOf(active), when)
  assert.deepEqual(recordIn(state.path), record, `${when}: the record is on disk`)
  const vault = await openSound(state.path)
  assert.deepEqual(await vault.pointer(), active, `${when}: the pointer names it`)
  const isThere = active.lane === 'sas' ? await exists(join(state.path, SAS_KEY)) : await vault.load(active)
  assert.ok(isThere, `${when}: its key is there`)
  assert.deepEqual(cloud.wrong, [], when)
}

for (const [what, transition] of Object.entries(transitions)) {
  test(`wherever the power goes on the way ${what}, the device comes back to a credential that works`, async () => {
    let cuts = 0
    for (let cut = true; cut; cuts += 1) {
      const when = `cut after ${cuts} calls`
      await using device = await deviceBefore(transition)
      const { state, cloud } = device
      const keys = await keysOf(device)
      cut = await cutAfter(cuts, everything, () => live(state.path, cloud, transition.isOver))
      await assertLeadsHome(device, when)
      if (!cut) assert.equal(nameOf(activeIn(recordIn(state.path))), transition.ends)
      cloud.refuses.clear()
      const record = await live(state.path, cloud, transition.isOver)
      await assertAtHome(device, record, when)
      assert.deepEqual(await keysOf(device), keys, `${when}: no key is lost`)
      assert.ok(cloud.registrations.length <= 3, `${when}: ${cloud.registrations.join()}`)
    }
    // A record alone is seven calls: open, mode, content, sync, rename, and the folder opened and synced.
    assert.ok(cuts > 4 * 7, `${cuts} cuts`)
  })

  test(`a device that was moved ${what} has the right credential without its record, too`, async () => {
    await using device = await deviceBefore(transition)
    const { state, cloud } = device
    await cutAfter(Number.POSITIVE_INFINITY, everything, () => live(state.path, cloud, transition.isOver))
    await rm(join(state.path, JOURNAL))
    const record = await live(state.path, cloud, () => true)
    assert.equal(nameOf(activeIn(record)), transition.ends)
    assert.deepEqual(cloud.wrong, [])
  })
}

function activeIn({ lifecycle }: AuthRecord) {
  return 'active' in lifecycle ? lifecycle.active : SAS
}

/** Every private key in the vault, under whatever name it lies. */
async function keysOf({ state }: DeviceBefore): Promise<readonly string[]> {
  const files = await filesBelow(state.vault)
  return [...files].flatMap(([path, content]) => (path.endsWith('key.pem') ? [content.toString()] : [])).toSorted()
}
