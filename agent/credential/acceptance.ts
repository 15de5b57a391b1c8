import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { Failure } from '../failure.ts'
import type { CheckedChain } from '../pki/chain.ts'
import { errorCode, exists, readIfThere, syncFolder, writeDurably } from '../system/files.ts'
import { folderFailure, renameDurably } from './durable-folder.ts'
import { nextName, tryPairing } from './generation.ts'
import { writeAcceptanceNote } from './acceptance-note.ts'
import type { AcceptanceNote } from './acceptance-note.ts'
import { CHAIN_FILE, readPending } from './pending.ts'
import type { PendingState } from './pending.ts'
import type { OpenKeyPem } from './token-key.ts'

/** Where the vault keeps what. */
export interface Places {
  readonly folder: string
  readonly pending: string
  readonly pointer: string
  readonly openKey: OpenKeyPem
}

/**
 * A request whose chain lies beside it was accepted, and only lacks its name. Earlier versions let the pointer name the
 * next generation before it was there: it gets just that name.
 */
export async function finishAcceptance(places: Places): Promise<void> {
  if (!(await exists(join(places.pending, CHAIN_FILE)))) return
  // Before the look: whoever else finishes it takes this very name, so that no other request can be given it.
  const name = nextName(await readdir(places.folder))
  const pending = await readPending(places.pending, places.openKey).catch(laterInToken)
  if (pending?.state !== 'whole') return
  const chainPem = await readIfThere(join(places.pending, CHAIN_FILE))
  if (chainPem === undefined || !tryPairing(pending.keyPem, pending.request.keyFile, chainPem).ok) return
  await becomeGeneration(places, name)
}

/** A token that does not answer now keeps nothing else from its work: this is finished at a later look. */
function laterInToken(error: unknown): undefined {
  if (!(error instanceof Failure) || error.code !== 'KEY_STORE_UNAVAILABLE') throw error
}

/**
 * Accepts a chain: lays it beside its request, which then becomes a generation of this name.
 *
 * @throws Failure CHAIN_KEY_MISMATCH, DISK_FULL, STATE_UNWRITABLE
 */
export async function layChain(
  places: Places,
  { keyPem, request }: Extract<PendingState, { state: 'whole' }>,
  name: string,
  chain: CheckedChain,
  note: AcceptanceNote | undefined,
): Promise<void> {
  const pairing = tryPairing(keyPem, request.keyFile, chain.pem)
  if (!pairing.ok) throw new Failure('CHAIN_KEY_MISMATCH', `the chain is not for the open request: ${pairing.why}`)
  if (note !== undefined) await writeAcceptanceNote(places.pending, note)
  // The chain is the point of no return: from here on, the next look at the vault finishes the move.
  await writeDurably(join(places.pending, CHAIN_FILE), chain.pem)
  await becomeGeneration(places, name)
}

/** Another process that looks at the vault at this moment may have made the same move. */
async function becomeGeneration(places: Places, name: string): Promise<void> {
  try {
    await renameDurably(places.pending, join(places.folder, name))
  } catch (error) {
    if (!['ENOENT', 'ENOTEMPTY', 'EEXIST'].includes(errorCode(error) ?? '')) throw folderFailure(places.pending, error)
    await syncVault(places)
  }
}

/** Whoever wrote what is there may have been cut off before it was durable. */
export async function syncVault({ folder }: Places): Promise<void> {
  try {
    await syncFolder(folder)
  } catch (error) {
    throw folderFailure(folder, error)
  }
}
