import type { Stats } from 'node:fs'
import { lstat, readFile, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { Failure } from '../failure.ts'
import { errorCode } from '../system/files.ts'

/** Whose process this is. */
export interface Identity {
  readonly uid: number
  readonly gid: number
}

/** The permissions that decide who can reach a key. */
export type Ownership = Pick<Stats, 'uid' | 'gid' | 'mode'>

const GROUP_AND_OTHERS = 0o077
const STICKY = 0o1000

export function currentIdentity(): Identity {
  return { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 }
}

/**
 * The command that makes something of the vault private again, or undefined when it is private: ours, and closed to
 * group and others. Pure.
 */
export function exposureInVault(path: string, found: Ownership, agent: Identity): string | undefined {
  if (found.uid !== agent.uid) return `chown ${agent.uid}:${agent.gid} ${path}`
  if ((found.mode & GROUP_AND_OTHERS) === 0) return undefined
  return `chmod ${(found.mode & 0o700).toString(8)} ${path}`
}

/**
 * The same for a key that an administrator laid down. Besides a private one, `0640 root:<agent's group>` is accepted:
 * the common layout in which root owns the file and only the agent can read it. Pure.
 */
export function exposureOfKeyFile(path: string, found: Ownership, agent: Identity): string | undefined {
  if (found.uid !== agent.uid && found.uid !== 0) return `chown ${agent.uid}:${agent.gid} ${path} && chmod 600 ${path}`
  const allowedToGroup = found.gid === agent.gid ? 0o040 : 0
  if ((found.mode & GROUP_AND_OTHERS & ~allowedToGroup) === 0) return undefined
  return found.uid === agent.uid ? `chmod 600 ${path}` : `chown root:${agent.gid} ${path} && chmod 640 ${path}`
}

/** The same for the folder of such a key: whoever may write into it may exchange the key. Pure. */
export function exposureOfKeyFolder(path: string, found: Ownership): string | undefined {
  const writable = (found.mode & 0o002) !== 0 && (found.mode & STICKY) === 0
  return writable ? `chmod o-w ${path}` : undefined
}

/**
 * Refuses a folder of the vault that others can enter or that another user owns.
 *
 * @returns whether there is such a folder
 * @throws Failure KEY_EXPOSED with the command that mends it
 */
export async function requirePrivate(path: string): Promise<boolean> {
  try {
    refuseExposed(path, exposureInVault(path, await lstat(path), currentIdentity()))
    return true
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return false
    throw error
  }
}

/**
 * The text of a key of the vault, or undefined when there is none.
 *
 * @throws Failure KEY_EXPOSED    others can read it, with the command that mends it
 * @throws Failure KEY_UNREADABLE it is there but cannot be read
 */
export async function readVaultKey(path: string): Promise<string | undefined> {
  try {
    const found = await lstat(path)
    if (!found.isFile()) throw new Failure('KEY_UNREADABLE', `${path} is not a regular file`, { context: { path } })
    refuseExposed(path, exposureInVault(path, found, currentIdentity()))
    return await readFile(path, 'utf8')
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined
    throw unreadable(path, error)
  }
}

/**
 * The text of a key that an administrator laid down; links are followed.
 *
 * @throws Failure KEY_EXPOSED    others can read or exchange it, with the command that mends it
 * @throws Failure KEY_UNREADABLE it is missing or cannot be read
 */
export async function readKeyFile(path: string): Promise<string> {
  try {
    const agent = currentIdentity()
    refuseExposed(path, exposureOfKeyFile(path, await stat(path), agent))
    refuseExposed(path, exposureOfKeyFolder(dirname(path), await stat(dirname(path))))
    return await readFile(path, 'utf8')
  } catch (error) {
    throw unreadable(path, error)
  }
}

function refuseExposed(path: string, remedy: string | undefined): void {
  if (remedy === undefined) return
  throw new Failure('KEY_EXPOSED', `${path} is open to others than the agent: ${remedy}`, { context: { path, remedy } })
}

function unreadable(path: string, cause: unknown): Failure {
  if (cause instanceof Failure) return cause
  return new Failure('KEY_UNREADABLE', `cannot read ${path}: ${errorCode(cause) ?? String(cause)}`, {
    cause,
    context: { path },
  })
}
