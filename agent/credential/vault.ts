import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { Failure } from '../failure.ts'
import type { CheckedChain } from '../pki/chain.ts'
import type { Clock } from '../system/clock.ts'
import { errorCode, makePrivateFolder, readIfThere, setAside, writeDurably } from '../system/files.ts'
import { removeLeftovers } from '../system/temporary.ts'
import { folderFailure, renameDurably } from './durable-folder.ts'
import { newestFirst, nextName, parsePointer, readGeneration, tryPairing } from './generation.ts'
import { CHAIN_FILE, makePending, mendPending, readPending } from './pending.ts'
import type { PendingRequest, PendingState, Wanted } from './pending.ts'
import { requirePrivate } from './private-file.ts'
import type { X509Credential } from './x509-credential.ts'

export type { PendingRequest, Wanted } from './pending.ts'

/**
 * The keys and certificates that were made for this device.
 *
 *     credentials/gen-0001/{key.pem, chain.pem, request.csr, meta.json}   never changed once it has this name
 *     credentials/pending/{key.pem, request.csr, meta.json}               while a certificate is awaited
 *     credentials/active                                                  the name of the generation in use
 *
 * The agent and a technician's commands may have it open at the same time.
 */
export interface Vault {
  /**
   * The credential in use: the one that the pointer names, or the newest whole one when the pointer is of no use.
   *
   * @throws Failure KEY_EXPOSED, KEY_UNREADABLE
   */
  active(): Promise<X509Credential | undefined>
  /** The request that waits for its issuer. */
  pending(): Promise<PendingRequest | undefined>
  /**
   * The request that waits, made now if there is none. It is never made anew while one waits, not even for another
   * key type; one for another registration ID is set aside.
   *
   * @throws Failure DISK_FULL, STATE_UNWRITABLE, KEY_EXPOSED
   */
  request(wanted: Wanted): Promise<PendingRequest>
  /**
   * Turns the waiting request and its chain into the next generation and makes it the active one. Durable when it
   * resolves; when it is cut off, the old credential is active or the new one, and never neither.
   *
   * @throws Failure NO_PENDING_REQUEST, CHAIN_KEY_MISMATCH, DISK_FULL, STATE_UNWRITABLE
   */
  accept(chain: CheckedChain): Promise<X509Credential>
  /** The newest other generation of the same device, for when the cloud refuses this one. */
  alternative(credential: X509Credential): Promise<X509Credential | undefined>
  /** Makes a generation the active one, durably; what was active stays in the vault. */
  activate(credential: X509Credential): Promise<void>
}

/** Most turns of `request`: somebody else may be first, and each kind of damage is mended once. */
const MAX_TURNS = 5

/**
 * Opens the vault in a state folder, makes it if there is none, and finishes or clears away what a crash left behind.
 *
 * @param onRepair told of everything that is found torn and set aside or mended, now or later: each a STATE_TORN to be
 *   logged
 * @throws Failure KEY_EXPOSED      others can reach it; the message has the command that mends it
 * @throws Failure STATE_LINKED     its folder is a symbolic link
 * @throws Failure STATE_UNWRITABLE, DISK_FULL
 */
export async function openVault(stateDir: string, clock: Clock, onRepair: (failure: Failure) => void): Promise<Vault> {
  const folder = join(stateDir, 'credentials')
  const places = { folder, pending: join(folder, 'pending'), pointer: join(folder, 'active') }

  const active = () => readActive(places, repair)
  await makePrivateFolder(folder)
  await requirePrivate(folder)
  for (const each of [stateDir, folder, places.pending]) await removeLeftovers(each)
  await active()
  await readPending(places.pending)

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
        await mendPending(places.pending, found.key, wanted.registrationId, clock.now())
        return onRepair(new Failure('STATE_TORN', `${places.pending}: the request was made anew from its key`))
      case 'torn':
        return repair(places.pending, found.why)
    }
  }

  return {
    active,
    async pending() {
      const found = await readPending(places.pending)
      return found.state === 'whole' ? found.request : undefined
    },
    async request(wanted) {
      for (let turn = 0; turn < MAX_TURNS; turn += 1) {
        const found = await readPending(places.pending)
        if (found.state === 'whole' && found.request.registrationId === wanted.registrationId) return found.request
        if (found.state === 'absent') await makePending(places.pending, wanted, clock.now())
        else await advance(found, wanted)
      }
      throw new Failure('UNEXPECTED', `${places.pending} is changed by somebody else all the time`)
    },
    async accept(chain) {
      const found = await readPending(places.pending)
      if (found.state !== 'whole') throw new Failure('NO_PENDING_REQUEST', 'no certificate request is open')
      const pairing = tryPairing(found.keyPem, found.request.keyFile, chain.pem)
      if (!pairing.ok) throw new Failure('CHAIN_KEY_MISMATCH', `the chain is not for the open request: ${pairing.why}`)
      const name = nextName(await readdir(folder))
      await writeDurably(join(places.pending, CHAIN_FILE), chain.pem)
      // The pointer is the point of no return: from here on, the next look at the vault finishes the move.
      await writeDurably(places.pointer, `${name}\n`)
      await becomeGeneration(places, name)
      return requireWhole(await active(), name)
    },
    async alternative({ generation, facts }) {
      for (const name of newestFirst(await readdir(folder)).filter((other) => other !== generation)) {
        const other = await readWhole(places, name, repair)
        if (other?.facts.commonName === facts.commonName) return other
      }
      return undefined
    },
    async activate({ generation }) {
      if (generation === undefined || (await readIfThere(places.pointer))?.trim() === generation) return
      await writeDurably(places.pointer, `${generation}\n`)
    },
  }
}

interface Places {
  readonly folder: string
  readonly pending: string
  readonly pointer: string
}

type Repair = (path: string, why: string) => Promise<void>

async function readActive(places: Places, repair: Repair): Promise<X509Credential | undefined> {
  const pointer = await readIfThere(places.pointer)
  const named = pointer === undefined ? undefined : parsePointer(pointer)
  if (named !== undefined) {
    const credential = await readNamed(places, named, repair)
    if (credential !== undefined) return credential
  }
  if (pointer !== undefined) await repair(places.pointer, 'it names no whole generation')
  const newest = await readNewest(places, repair)
  if (newest?.generation !== undefined) await writeDurably(places.pointer, `${newest.generation}\n`)
  return newest
}

/** The generation of the pointer; if it is not there yet, an acceptance was cut off and is finished now. */
async function readNamed(places: Places, name: string, repair: Repair): Promise<X509Credential | undefined> {
  const found = await readWhole(places, name, repair)
  if (found !== undefined) return found
  const pending = await readPending(places.pending)
  if (pending.state !== 'whole') return undefined
  const chainPem = await readIfThere(join(places.pending, CHAIN_FILE))
  if (chainPem === undefined || !tryPairing(pending.keyPem, pending.request.keyFile, chainPem).ok) return undefined
  await becomeGeneration(places, name)
  return readWhole(places, name, repair)
}

async function readNewest(places: Places, repair: Repair): Promise<X509Credential | undefined> {
  for (const name of newestFirst(await readdir(places.folder))) {
    const found = await readWhole(places, name, repair)
    if (found !== undefined) return found
  }
  return undefined
}

async function readWhole(places: Places, name: string, repair: Repair): Promise<X509Credential | undefined> {
  const found = await readGeneration(places.folder, name)
  if (found.state === 'torn') await repair(join(places.folder, name), found.why)
  return found.state === 'whole' ? found.credential : undefined
}

/** Another process that looks at the vault at this moment may have made the same move. */
async function becomeGeneration(places: Places, name: string): Promise<void> {
  try {
    await renameDurably(places.pending, join(places.folder, name))
  } catch (error) {
    if (!['ENOENT', 'ENOTEMPTY', 'EEXIST'].includes(errorCode(error) ?? '')) throw folderFailure(places.pending, error)
  }
}

/** A request for a registration ID that this device no longer has; its key is kept, as everything in the vault is. */
async function supersede(pending: string, nowMs: number): Promise<void> {
  try {
    await renameDurably(pending, `${pending}.superseded-${new Date(nowMs).toISOString().replaceAll(':', '')}`)
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw folderFailure(pending, error)
  }
}

function requireWhole(credential: X509Credential | undefined, name: string): X509Credential {
  if (credential?.generation === name) return credential
  throw new Failure('UNEXPECTED', `${name} was written but is not the active generation`, { context: { name } })
}
