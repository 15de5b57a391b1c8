import { constants } from 'node:fs'
import { mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { Failure } from '../failure.ts'
import { errorCode } from './error-code.ts'
import { temporaryName } from './temporary.ts'

export { errorCode } from './error-code.ts'

/** Mode of a file that only the agent's user may read. */
export const PRIVATE_FILE = 0o600

/** Mode of a folder that only the agent's user may enter. */
export const PRIVATE_FOLDER = 0o700

/**
 * Replaces a file so that after a power cut either the old or the new content is there, whole:
 * temporary name in the same folder, fsync, rename, fsync of the folder.
 *
 * @param mode permission bits of the new file
 * @throws Failure DISK_FULL     no space or quota left; the old content is untouched
 * @throws Failure STATE_UNWRITABLE any other refusal of the file system
 */
export async function writeDurably(path: string, content: string | Uint8Array, mode = PRIVATE_FILE): Promise<void> {
  using temporary = temporaryName(path)
  try {
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL
    {
      await using file = await open(temporary.path, flags, mode)
      await file.chmod(mode)
      await file.writeFile(content)
      await file.sync()
    }
    await rename(temporary.path, path)
    await syncFolder(dirname(path))
  } catch (cause) {
    await rm(temporary.path, { force: true })
    throw writeFailure(path, cause)
  }
}

/** Makes renames and new names in a folder survive a power cut. */
export async function syncFolder(folder: string): Promise<void> {
  await using handle = await open(folder, constants.O_RDONLY | constants.O_DIRECTORY)
  await handle.sync()
}

/**
 * Makes a folder, and those above it, that only the agent's user may enter, so that they survive a power cut; an
 * existing one keeps its mode.
 *
 * @throws Failure DISK_FULL, STATE_UNWRITABLE
 */
export async function makePrivateFolder(folder: string): Promise<void> {
  try {
    const topmost = await mkdir(folder, { recursive: true, mode: PRIVATE_FOLDER })
    if (topmost === undefined) return
    const above = dirname(resolve(topmost))
    for (let made = resolve(folder); made !== above; made = dirname(made)) await syncFolder(dirname(made))
  } catch (cause) {
    throw writeFailure(folder, cause)
  }
}

/** The text of a file, or undefined when there is none. Every other refusal is thrown as it came. */
export async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined
    throw error
  }
}

/** Whether something exists under this name. */
export async function exists(path: string): Promise<boolean> {
  try {
    await stat(path)
    return true
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return false
    throw error
  }
}

/**
 * Moves a torn or unknown file out of the way without losing it.
 *
 * @returns the name it has now
 */
export async function setAside(path: string, nowMs: number): Promise<string> {
  const aside = `${path}.unreadable-${new Date(nowMs).toISOString().replaceAll(':', '')}`
  await rename(path, aside)
  await syncFolder(dirname(path))
  return aside
}

function writeFailure(path: string, cause: unknown): Failure {
  if (cause instanceof Failure) return cause
  const code = errorCode(cause)
  const full = code === 'ENOSPC' || code === 'EDQUOT'
  return new Failure(full ? 'DISK_FULL' : 'STATE_UNWRITABLE', `cannot write ${path}: ${code ?? String(cause)}`, {
    cause,
    context: { path },
  })
}
