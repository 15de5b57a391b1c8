import { mkdir, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Failure } from '../failure.ts'
import { errorCode, PRIVATE_FOLDER, syncFolder, writeDurably } from '../system/files.ts'
import { temporaryName } from '../system/temporary.ts'

/**
 * Makes a folder with its files so that after a power cut it is there whole or not at all.
 *
 * @returns false when a folder with content had this name already; that one is untouched
 * @throws Failure DISK_FULL, STATE_UNWRITABLE
 */
export async function makeFolderDurably(path: string, files: Readonly<Record<string, string>>): Promise<boolean> {
  using temporary = temporaryName(path)
  try {
    await mkdir(temporary.path, { mode: PRIVATE_FOLDER })
    for (const [name, content] of Object.entries(files)) await writeDurably(join(temporary.path, name), content)
    await renameDurably(temporary.path, path)
    return true
  } catch (error) {
    await rm(temporary.path, { recursive: true, force: true })
    if (wasThereFirst(error)) return false
    throw folderFailure(path, error)
  }
}

/** Renames within one folder, and makes the new name survive a power cut. System errors come as they are. */
export async function renameDurably(from: string, to: string): Promise<void> {
  await rename(from, to)
  await syncFolder(dirname(to))
}

/** A system error as a failure of the table. */
export function folderFailure(path: string, cause: unknown): Failure {
  if (cause instanceof Failure) return cause
  const code = errorCode(cause)
  const full = code === 'ENOSPC' || code === 'EDQUOT'
  const fact = `cannot write ${path}: ${code ?? String(cause)}`
  return new Failure(full ? 'DISK_FULL' : 'STATE_UNWRITABLE', fact, { cause, context: { path } })
}

function wasThereFirst(error: unknown): boolean {
  return ['ENOTEMPTY', 'EEXIST'].includes(errorCode(error) ?? '')
}
