import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { asFailure, Failure } from '../failure.ts'
import type { CheckedChain } from '../pki/chain.ts'
import type { Clock } from '../system/clock.ts'
import { errorCode, exists, makePrivateFolder, readIfThere, setAside, writeDurably } from '../system/files.ts'
import { removeLeftovers } from '../system/temporary.ts'
import { finishAcceptance, layChain, syncVault } from './acceptance.ts'
import type { Places } from './acceptance.ts'
import { FILES, isPending, nameOf, parseRef } from './credential-ref.ts'
import type { CredentialRef } from './credential-ref.ts'
import { folderFailure, renameDurably } from './durable-folder.ts'
import { newestFirst, nextName, readGeneration } from './generation.ts'
import { makePending, mendPending, readPending } from './pending.ts'
import type { PendingRequest, PendingState, Wanted } from './pending.ts'
import { requirePrivate } from './private-file.ts'
import { finishRemovals, removeGeneration } from './prune.ts'
import type { VaultKeys } from './token-key.ts'
import type { X509Credential } from './x509-credential.ts'

export type { PendingRequest, Wanted } from './pending.ts'

/**
 * The keys and certificates that were made for this device, and the pointer that names the credential in use.
 *
 *     credentials/gen-0001/{key.pem, chain.pem, request.csr, meta.json}   never changed once it has this name
 *     credentials/gen-0001.removed/                                       on its way out
 *     credentials/pending/{key.pem, request.csr, meta.json}               while a certificate is awaited
 *     credentials/pending/chain.pem                                       accepted, and only the new name is missing
 *     credentials/active                                                  `sas`, `files` or the name of a generation
 *
 * The agent and a technician's commands may have it open at the same time.
 */
export interface Vault {
  /**
   * The credential that the pointer names; undefined when it names none. A pointer that is torn, or that names a
   * generation that is not there, is set aside and reported.
   */
  pointer(): Promise<CredentialRef | undefined>
  /**
   * Lets the pointer name this credential. Durable when it resolves, and idempotent.
   *
   * @throws Failure UNEXPECTED for a generation that is not there; DISK_FULL, STATE_UNWRITABLE
   */
  activate(ref: CredentialRef): Promise<void>
  /**
   * Every whole generation, newest first. A torn one is set aside and reported; one that may not or cannot be read, as
   * when others can reach its key, is left out and reported once.
   */
  generations(): Promise<readonly X509Credential[]>
  /** Names of those that the last look left out since the place of their keys did not answer. */
  outOfReach(): readonly string[]
  /**
   * A generation; undefined for one that is not there or torn, and for what does not lie in the vault.
   *
   * @throws Failure KEY_EXPOSED, KEY_UNREADABLE
   */
  load(ref: CredentialRef): Promise<X509Credential | undefined>
  /**
   * The generation that the pointer names, or the newest whole one when it names none.
   *
   * @throws Failure KEY_EXPOSED, KEY_UNREADABLE
   */
  active(): Promise<X509Credential | undefined>
  /** The request that waits for its issuer. */
  pending(): Promise<PendingRequest | undefined>
  /**
   * The request that waits, made now if there is none. It is never made anew while one waits, not even for another
   * key type unless it is wanted exactly; one that does not do, as for another registration ID, is set aside.
   *
   * @throws Failure DISK_FULL, STATE_UNWRITABLE, KEY_EXPOSED
   */
  request(wanted: Wanted): Promise<PendingRequest>
  /** Puts the waiting request aside, so that the next one is of another key. @throws Failure STATE_UNWRITABLE, DISK_FULL */
  renounce(): Promise<void>
  /**
   * Turns the waiting request and its chain into the next generation; the pointer stays where it is. Durable when it
   * resolves; when it is cut off, the request still waits, or the next look at the vault finishes this. A chain that
   * was accepted before is accepted again.
   *
   * @param issuedBy the name of whoever gave it, to be noted
   * @throws Failure NO_PENDING_REQUEST, CHAIN_KEY_MISMATCH, DISK_FULL, STATE_UNWRITABLE
   */
  accept(chain: CheckedChain, issuedBy?: string): Promise<X509Credential>
  /**
   * Removes the whole generations beyond the newest three, but none of those named and never the one of the pointer;
   * without a pointer, none at all. The key is overwritten before, which means little on flash (`overwrite`). One that
   * is cut off is finished when the vault is opened.
   *
   * @returns the names of those that are gone
   * @throws Failure DISK_FULL, STATE_UNWRITABLE
   */
  prune(keep: readonly string[]): Promise<readonly string[]>
}

/** Whole generations that are always kept: the one in use, the one before it, and one that is on its way. */
const KEPT_GENERATIONS = 3

/** Most turns of `request`: somebody else may be first, and each kind of damage is mended once. */
const MAX_TURNS = 5

/**
 * Opens the vault in a state folder, makes it if there is none, and finishes or clears away what a crash left behind.
 *
 * @param onRepair told of everything that is found torn and set aside or mended, now or later, as STATE_TORN, and of the
 *   generations that are left out, with the reason: to be logged
 * @throws Failure KEY_EXPOSED      others can reach it; the message has the command that mends it
 * @param keys makes the key of each request, and opens what lies in the place of one
 * @throws Failure STATE_LINKED     its folder is a symbolic link
 * @throws Failure STATE_UNWRITABLE, DISK_FULL
 */
export async function openVault(
  stateDir: string,
  clock: Clock,
  onRepair: (failure: Failure) => void,
  keys: VaultKeys,
): Promise<Vault> {
  const folder = join(stateDir, 'credentials')
  const places = { folder, pending: join(folder, 'pending'), pointer: join(folder, 'active'), openKey: keys.open }
  const leftOut = new Set<string>()
  let outOfReach: readonly string[] = []

  /** Moves something torn out of the way; another process may have done so already. */
  async function repair(path: string, why: string): Promise<void> {
    try {
      const aside = await setAside(path, clock.now())
      onRepair(new Failure('STATE_TORN', `${path}: ${why}; it is now ${aside}`, { context: { path, aside } }))
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') throw folderFailure(path, error)
    }
  }

  /** Makes room for, makes or mends the request; what came of it shows at the next look. */
  async function advance(found: Exclude<PendingState, { state: 'absent' }>, wanted: Wanted): Promise<void> {
    switch (found.state) {
      case 'whole':
        return supersede(places.pending, clock.now())
      case 'keyOnly':
        await mendPending(places.pending, found.keyPem, wanted.registrationId, clock.now(), keys)
        return onRepair(new Failure('STATE_TORN', `${places.pending}: the request was made anew from its key`))
      case 'torn':
        return repair(places.pending, found.why)
    }
  }

  async function pointer(): Promise<CredentialRef | undefined> {
    await finishAcceptance(places)
    const text = await readPointer(places)
    if (text === undefined) return undefined
    const ref = parseRef(text.trimEnd())
    if (ref !== undefined && (await isThere(places, ref))) return ref
    await repair(places.pointer, 'it names no credential that is there')
    return undefined
  }

  async function load(ref: CredentialRef): Promise<X509Credential | undefined> {
    return isGeneration(ref) ? readWhole(places, nameOf(ref), repair) : undefined
  }

  async function active(): Promise<X509Credential | undefined> {
    const ref = await pointer()
    return (ref && (await load(ref))) ?? readNewest(places, repair)
  }

  async function generations(): Promise<readonly X509Credential[]> {
    await finishAcceptance(places)
    const found: X509Credential[] = []
    const unread: string[] = []
    for (const name of newestFirst(await readdir(folder))) {
      const credential = await readWhole(places, name, repair).catch((error: unknown) => {
        if (error instanceof Failure && error.code === 'KEY_STORE_UNAVAILABLE') unread.push(name)
        return leaveOut(name, error)
      })
      if (credential !== undefined) found.push(credential)
    }
    outOfReach = unread
    return found
  }

  function leaveOut(name: string, error: unknown): undefined {
    if (!leftOut.has(name)) onRepair(asFailure(error))
    leftOut.add(name)
  }

  /** A token may answer later: what it holds is not lost, and what does not need it works on. */
  function tolerateToken(error: unknown): undefined {
    if (!(error instanceof Failure) || error.code !== 'KEY_STORE_UNAVAILABLE') throw error
    onRepair(error)
  }

  /**
   * What to think of a request whose key cannot be read: where the place of new keys answers, and this key still is not
   * to be had, it is lost for good, as with a TPM that was cleared, and must not stand in the way of another one.
   */
  async function unlessLost(error: unknown, wanted: Wanted): Promise<PendingState> {
    if (!(error instanceof Failure) || error.code !== 'KEY_STORE_UNAVAILABLE') throw error
    await keys.make(wanted.keyType)
    try {
      return await readPending(places.pending, keys.open)
    } catch (again) {
      tolerateToken(again)
      await supersede(places.pending, clock.now())
      return { state: 'absent' }
    }
  }

  await makePrivateFolder(folder)
  await requirePrivate(folder)
  for (const each of [stateDir, folder, places.pending]) await removeLeftovers(each)
  await finishRemovals(folder).catch((error: unknown) => onRepair(asFailure(error)))
  await readPending(places.pending, keys.open).catch(tolerateToken)
  const inUse = await pointer().catch(tolerateToken)
  if (inUse === undefined || isGeneration(inUse)) await active().catch(tolerateToken)

  return {
    pointer,
    load,
    active,
    generations,
    outOfReach: () => outOfReach,
    async activate(ref) {
      if (!(await isThere(places, ref))) throw new Failure('UNEXPECTED', `${nameOf(ref)} is not in the vault`)
      const isNamed = (await readPointer(places))?.trimEnd() === nameOf(ref)
      await (isNamed ? syncVault(places) : writeDurably(places.pointer, `${nameOf(ref)}\n`))
    },
    async pending() {
      await finishAcceptance(places)
      const found = await readPending(places.pending, keys.open)
      return found.state === 'whole' ? found.request : undefined
    },
    async request(wanted) {
      for (let turn = 0; turn < MAX_TURNS; turn += 1) {
        await finishAcceptance(places)
        const found = await readPending(places.pending, keys.open).catch((error: unknown) => unlessLost(error, wanted))
        if (found.state === 'whole' && isWanted(found.request, wanted, keys)) return found.request
        if (found.state === 'absent') await makePending(places.pending, wanted, clock.now(), keys)
        else await advance(found, wanted)
      }
      throw new Failure('UNEXPECTED', `${places.pending} is changed by somebody else all the time`)
    },
    renounce: () => supersede(places.pending, clock.now()),
    async accept(chain, issuedBy) {
      // Sets aside a pointer to nothing: the new generation must not be in use because of the name that it is given.
      await pointer()
      const name = nextName(await readdir(folder))
      const found = await readPending(places.pending, keys.open)
      if (found.state === 'whole')
        await layChain(
          places,
          found,
          name,
          chain,
          issuedBy === undefined ? undefined : { issuedBy, acceptedAtMs: clock.now() },
        )
      return requireAccepted(await generations(), chain, found.state)
    },
    async prune(keep) {
      const named = await pointer()
      if (named === undefined) return []
      const old = (await generations()).slice(KEPT_GENERATIONS).flatMap(({ generation }) => generation ?? [])
      const gone = old.filter((name) => name !== nameOf(named) && !keep.includes(name))
      for (const name of gone) await removeGeneration(folder, name)
      return gone
    },
  }
}

type Repair = (path: string, why: string) => Promise<void>

/** A pointer that cannot be read says as little as an empty one. */
async function readPointer({ pointer }: Places): Promise<string | undefined> {
  try {
    return await readIfThere(pointer)
  } catch (error) {
    if (errorCode(error) === undefined) throw error
    return ''
  }
}

/** Whether it is a credential that lies in the vault. */
function isGeneration(ref: CredentialRef): boolean {
  return ref.lane === 'x509' && ref.generation !== FILES && !isPending(ref)
}

/** What does not lie in the vault is not asked for. */
async function isThere({ folder }: Places, ref: CredentialRef): Promise<boolean> {
  return !isGeneration(ref) || exists(join(folder, nameOf(ref)))
}

async function readNewest(places: Places, repair: Repair): Promise<X509Credential | undefined> {
  for (const name of newestFirst(await readdir(places.folder))) {
    const found = await readWhole(places, name, repair)
    if (found !== undefined) return found
  }
  return undefined
}

async function readWhole(places: Places, name: string, repair: Repair): Promise<X509Credential | undefined> {
  const found = await readGeneration(places.folder, name, places.openKey)
  if (found.state === 'torn') await repair(join(places.folder, name), found.why)
  return found.state === 'whole' ? found.credential : undefined
}

function isWanted({ registrationId, keyKind, keyStore }: PendingRequest, wanted: Wanted, keys: VaultKeys): boolean {
  const isOfThisKind = keyKind === wanted.keyType && keyStore === keys.keyStore
  return registrationId === wanted.registrationId && (wanted.exactly !== true || isOfThisKind)
}

/** A request that does not do any more, as for a registration ID that this device no longer has; its key is kept, as everything in the vault is. */
async function supersede(pending: string, nowMs: number): Promise<void> {
  try {
    await renameDurably(pending, `${pending}.superseded-${new Date(nowMs).toISOString().replaceAll(':', '')}`)
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw folderFailure(pending, error)
  }
}

function requireAccepted(
  generations: readonly X509Credential[],
  { facts }: CheckedChain,
  pending: PendingState['state'],
): X509Credential {
  const accepted = generations.find((each) => each.facts.thumbprintSha256 === facts.thumbprintSha256)
  if (accepted !== undefined) return accepted
  if (pending !== 'whole') throw new Failure('NO_PENDING_REQUEST', 'no certificate request is open')
  throw new Failure('UNEXPECTED', 'the chain was written but no generation has it')
}
