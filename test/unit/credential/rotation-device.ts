/** A device whose journal and vault are real files, with a cloud in memory that takes whoever has registered last. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { nameOf, isSameRef } from '../../../agent/credential/credential-ref.ts'
import type { CredentialRef } from '../../../agent/credential/credential-ref.ts'
import { destroySecret } from '../../../agent/credential/destroy.ts'
import { openJournal, parseRecord } from '../../../agent/credential/journal.ts'
import type { AuthRecord } from '../../../agent/credential/journal.ts'
import type { AuthPolicy, Inventory } from '../../../agent/credential/policy.ts'
import type {
  AuthWishes,
  LinkEvents,
  LinkStart,
  Rotation,
  RotationPorts,
} from '../../../agent/credential/rotation-ports.ts'
import { createRotation } from '../../../agent/credential/rotation.ts'
import { openVault } from '../../../agent/credential/vault.ts'
import type { Vault } from '../../../agent/credential/vault.ts'
import { Failure } from '../../../agent/failure.ts'
import { exists } from '../../../agent/system/files.ts'
import { createFakeClock } from '../../kit/clock.ts'
import { vaultKeysFor } from '../../../agent/credential/token-key.ts'
import { keysInFile, wanted } from './fixture.ts'
import { openChain, refOf } from './prepared-vault.ts'

/** DPS and one hub, as far as credentials go; a credential is known by its name. */
export interface SmallCloud {
  /** The only one that the hub takes: the one that was registered last. */
  identity: string | undefined
  /** What DPS takes no more. */
  readonly refuses: Set<string>
  readonly wishes: AuthWishes
  /** Every registration that reached DPS, accepted or not. */
  readonly registrations: string[]
  /** What must never happen and has. */
  readonly wrong: string[]
}

const HOUR_MS = 3_600_000

export const policy: AuthPolicy = {
  ...{ born: 'sas', x509Enabled: true, downgradeAllowed: true, movesPerDay: 12, soakMs: 0 },
  renewal: { enabled: false, fraction: 0.7, spread: 0.1, floorMs: 3_600_000 },
  fallback: {
    ...{ enabled: true, untilMs: Date.UTC(2099, 0), refusals: 2, holdOffMs: 0, perDay: 2 },
    ...{ returnAfterMs: 4 * HOUR_MS, retireAfterMs: undefined },
  },
}

/** Where the record is, below the state folder. */
export const JOURNAL = join('credentials', 'journal.json')
export const SAS_KEY = 'sas.key'

/** The record on disk; a torn one fails. */
export function recordIn(state: string): AuthRecord {
  const parsed = parseRecord(readFileSync(join(state, JOURNAL), 'utf8'))
  assert.ok(parsed.ok)
  return parsed.value
}

/** One life of the agent, from the power to the end of what `isOver` waits for. Without power nothing goes on. */
export async function live(
  state: string,
  cloud: SmallCloud,
  isOver: (record: AuthRecord) => boolean,
): Promise<AuthRecord> {
  const over = Promise.withResolvers<undefined>()
  const dead = Promise.withResolvers<never>()
  dead.promise.catch(() => undefined)
  const off = new AbortController()
  const clock = createFakeClock(Date.now())
  over.promise.catch(() => undefined)
  let session: CredentialRef | undefined

  /** A call of a process that dies with it: the caller waits for ever. */
  const powered = <T>(work: Promise<T>): Promise<T> =>
    work.catch((error: unknown) => {
      if (!isOff(error)) throw error
      die(error)
      return new Promise<never>(() => undefined)
    })
  const die = (error: unknown) => {
    over.reject(error)
    dead.reject(error)
    off.abort(error)
  }
  const onTrouble = (failure: Failure) => {
    // A refusal is expected where the cloud refuses; anything torn is not.
    if (isOff(failure) || ['STATE_TORN', 'JOURNAL_TORN', 'UNEXPECTED'].includes(failure.code)) die(failure)
  }
  const look = () => {
    const record = rotation?.record()
    if (record === undefined || !isHome(record, session) || !isOver(record)) return
    over.resolve(undefined)
  }
  let rotation: Rotation | undefined
  const vault = await openVault(state, clock, onTrouble, vaultKeysFor(keysInFile, clock))
  const journal = openJournal(state, clock, onTrouble)

  const link = async (ref: CredentialRef, start: LinkStart, events: LinkEvents, signal: AbortSignal) => {
    await requireKey(vault, state, ref)
    let isAssigned = start === 'cached'
    for (;;) {
      await events.gate(signal)
      if (signal.aborted || off.signal.aborted) return
      if (!isAssigned) {
        if (!registerAt(cloud, state, ref)) {
          events.failed(new Failure('DPS_UNAUTHORIZED', `DPS refuses ${nameOf(ref)}`))
          await clock.wait(60_000, signal)
          continue
        }
        await events.registered()
        isAssigned = true
        continue
      }
      isAssigned = cloud.identity === nameOf(ref)
      if (!isAssigned) {
        events.failed(new Failure('HUB_REFUSED_CREDENTIAL', `the hub refuses ${nameOf(ref)}`))
        continue
      }
      session = ref
      events.connected(ref)
      events.twinRead()
      rotation?.wish(cloud.wishes)
      events.acknowledged()
      look()
      await clock.wait(HOUR_MS, signal)
    }
  }
  const ports: RotationPorts = {
    ...{ clock, policy, onTrouble, random: () => 0.5, limits: { registerMs: HOUR_MS, proveMs: HOUR_MS } },
    clockTrust: () => 'trusted',
    inventory: () => powered(inventoryOf(vault, state)),
    load: () => journal.load(),
    save: (record) => powered(journal.save(record)),
    pointer: () => vault.pointer(),
    activate: (ref) => powered(vault.activate(ref)),
    obtain: () => powered(vault.request(wanted).then(() => vault.accept(openChain).then(refOf))),
    link: (ref, start, events, signal) =>
      link(ref, start, events, signal).catch((error: unknown) => {
        if (!signal.aborted) throw error
      }),
    sendSomething: () => undefined,
    destroySas: () => powered(destroySecret([join(state, SAS_KEY)], {}).then(() => [])),
    onChange: look,
  }
  const tooLong = setTimeout(() => die(new Error(`not over: ${JSON.stringify(rotation?.record())}`)), 10_000)
  try {
    const created = await Promise.race([powered(createRotation(ports)), over.promise])
    if (created === undefined) throw new Error('it is over before it has begun')
    rotation = created
    const running = created.run(off.signal).catch((error: unknown) => {
      if (!off.signal.aborted) die(error)
    })
    await over.promise
    off.abort(new Error('switched off'))
    await Promise.race([running, dead.promise])
    return created.record()
  } finally {
    clearTimeout(tooLong)
  }
}

/** DPS judges a registration. Before it may come, the record on disk has to name the credential. */
function registerAt(cloud: SmallCloud, state: string, ref: CredentialRef): boolean {
  const name = nameOf(ref)
  const named = namesIn(recordIn(state))
  if (!named.includes(name)) cloud.wrong.push(`${name} is registered, and the record names only ${named.join()}`)
  cloud.registrations.push(name)
  if (cloud.refuses.has(name)) return false
  cloud.identity = name
  return true
}

/** The credentials that a record leads to. */
export function namesIn({ lifecycle }: AuthRecord): readonly string[] {
  return [
    ...('active' in lifecycle ? [nameOf(lifecycle.active)] : []),
    ...('candidate' in lifecycle ? [nameOf(lifecycle.candidate)] : []),
  ]
}

function isHome({ lifecycle }: AuthRecord, session: CredentialRef | undefined): boolean {
  return lifecycle.phase === 'steady' && isSameRef(lifecycle.active, session)
}

async function inventoryOf(vault: Vault, state: string): Promise<Inventory> {
  const held = await vault.generations()
  return {
    certificates: held.map(({ generation = '', facts }) => ({
      ref: { lane: 'x509', generation },
      notBeforeMs: Date.parse(facts.notBefore),
      notAfterMs: Date.parse(facts.notAfter),
    })),
    sas: (await exists(join(state, SAS_KEY))) ? 'ready' : 'absent',
  }
}

/** A credential whose key is gone cannot be presented. */
async function requireKey(vault: Vault, state: string, ref: CredentialRef): Promise<void> {
  const isThere = ref.lane === 'sas' ? await exists(join(state, SAS_KEY)) : (await vault.load(ref)) !== undefined
  if (!isThere) throw new Failure('KEY_UNREADABLE', `${nameOf(ref)} is not there`)
}

/** Whether the power went, whatever it was called on the way up. */
function isOff(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  return error.message.includes('the power is off') || isOff(error.cause)
}
