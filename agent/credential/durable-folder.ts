import { randomUUID } from 'node:crypto'
import { mkdir, readdir, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Failure } from '../failure.ts'
import { errorCode, PRIVATE_FOLDER, syncFolder, writeDurably } from '../system/files.ts'

const TEMPORARY = /^\.new-(\d+)-/

/** Folders that this process is making at the moment. */
const making = new Set<string>()

/**
 * Makes a folder with its files so that after a power cut it is there whole or not at all.
 *
 * @returns false when a folder with content had this name already; that one is untouched
 * @throws Failure DISK_FULL, STATE_UNWRITABLE
 */
export async function makeFolderDurably(path: string, files: Readonly<Record<string, string>>): Promise<boolean> {
  const temporary = join(dirname(path), `.new-${process.pid}-${randomUUID()}`)
  making.add(temporary)
  try {
    await mkdir(temporary, { mode: PRIVATE_FOLDER })
    for (const [name, content] of Object.entries(files)) await writeDurably(join(temporary, name), content)
    await renameDurably(temporary, path)
    return true
  } catch (error) {
    await rm(temporary, { recursive: true, force: true })
    if (wasThereFirst(error)) return false
    throw folderFailure(path, error)
  } finally {
    making.delete(temporary)
  }
}

/** Renames within one folder, and makes the new name survive a power cut. System errors come as they are. */
export async function renameDurably(from: string, to: string): Promise<void> {
  await rename(from, to)
  await syncFolder(dirname(to))
}

/** Removes what a crashed run of `makeFolderDurably` left behind; another process that is still at it is let be. */
export async function removeLeftovers(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    const pid = TEMPORARY.exec(name)?.[1]
    const path = join(folder, name)
    if (pid === undefined || making.has(path) || isAnother(Number(pid))) continue
    await rm(path, { recursive: true, force: true })
  }
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

/** Whether another process lives under this number. Our own may have been an earlier run's: containers count from 1. */
function isAnother(pid: number): boolean {
  if (pid === process.pid) return false
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return errorCode(error) === 'EPERM'
  }
}
