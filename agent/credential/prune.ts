import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { errorCode, syncFolder } from '../system/files.ts'
import { folderFailure, renameDurably } from './durable-folder.ts'
import { overwrite } from './overwrite.ts'
import { KEY_FILE } from './pending.ts'

/** What a generation is called from the moment on at which it is to go. */
const REMOVED = /^gen-\d{4,}\.removed$/

/**
 * Removes a generation for good. It loses its name first: what a power cut leaves behind is never mistaken for a torn
 * generation, and `finishRemovals` removes it.
 *
 * @throws Failure DISK_FULL, STATE_UNWRITABLE
 */
export async function removeGeneration(vault: string, name: string): Promise<void> {
  const removed = join(vault, `${name}.removed`)
  try {
    await renameDurably(join(vault, name), removed)
    await destroyFolder(removed)
    await syncFolder(vault)
  } catch (error) {
    throw folderFailure(removed, error)
  }
}

/**
 * Removes what an earlier removal has left.
 *
 * @throws Failure DISK_FULL, STATE_UNWRITABLE
 */
export async function finishRemovals(vault: string): Promise<void> {
  for (const name of (await readdir(vault)).filter((entry) => REMOVED.test(entry))) {
    const removed = join(vault, name)
    try {
      await destroyFolder(removed)
      await syncFolder(vault)
    } catch (error) {
      throw folderFailure(removed, error)
    }
  }
}

/** The key is overwritten as far as that can be done; one that cannot be written to goes all the same. */
async function destroyFolder(path: string): Promise<void> {
  try {
    await overwrite(join(path, KEY_FILE))
  } catch (error) {
    if (errorCode(error) === undefined) throw error
  }
  await rm(path, { recursive: true, force: true })
}
