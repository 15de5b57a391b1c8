import { readdir, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { errorCode, exists, syncFolder } from '../../system/files.ts'
import { storeFailure } from './errors.ts'

/** Beside the file while it is being mended. As long as this name is there, the mending is not finished. */
export function damagedPath(path: string): string {
  return `${path}.damaged`
}

/** Whether a mending was cut off: what lies under `path` is then a part of what is wanted, or nothing. */
export function isUnfinished(path: string): Promise<boolean> {
  return exists(damagedPath(path))
}

/**
 * Moves a damaged file and its -wal away, or takes up where that, or what came after it, was cut off.
 *
 * @throws Failure DISK_FULL, STATE_UNWRITABLE
 */
export async function moveAway(path: string): Promise<void> {
  try {
    if (!(await exists(damagedPath(path)))) {
      await rm(`${damagedPath(path)}-wal`, { force: true })
      await move(path, damagedPath(path))
    }
    // Cut off between the two, or nothing mended yet: the -wal is still that of the damaged file.
    if (!(await exists(path))) return await move(`${path}-wal`, `${damagedPath(path)}-wal`)
    for (const suffix of ['-wal', '-journal', '-shm', '']) await remove(`${path}${suffix}`)
  } catch (cause) {
    throw storeFailure(path, cause)
  }
}

/**
 * Keeps the damaged file under a name that says what it is, and no older one.
 *
 * @returns its name now
 * @throws Failure DISK_FULL, STATE_UNWRITABLE
 */
export async function finishRecovery(path: string, nowMs: number): Promise<string> {
  const aside = `${path}.unreadable-${new Date(nowMs).toISOString().replaceAll(':', '')}`
  try {
    const older = await readdir(dirname(path))
    for (const name of older)
      if (name.startsWith(`${basename(path)}.unreadable-`)) await rm(join(dirname(path), name), { force: true })
    await move(damagedPath(path), aside)
    await move(`${damagedPath(path)}-wal`, `${aside}-wal`)
    return aside
  } catch (cause) {
    throw storeFailure(path, cause)
  }
}

async function remove(path: string): Promise<void> {
  await rm(path, { force: true })
  await syncFolder(dirname(path))
}

/** A file that is not there needs no moving. */
async function move(from: string, to: string): Promise<void> {
  try {
    await rename(from, to)
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error
  }
  await syncFolder(dirname(to))
}
