import type { Stats } from 'node:fs'
import { lstat, readFile, readlink, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { Failure } from '../failure.ts'
import { errorCode } from '../system/files.ts'
import type { X509Credential } from './x509-credential.ts'

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
  const isOpen = (found.mode & GROUP_AND_OTHERS) !== 0
  return joinCommands([
    found.uid === agent.uid ? undefined : `chown ${agent.uid}:${agent.gid} ${path}`,
    isOpen ? `chmod ${(found.mode & 0o700).toString(8)} ${path}` : undefined,
  ])
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
 * Refuses a folder of the vault that others can enter or that another user owns, and a link in its place: whoever may
 * change the link may exchange what is behind it.
 *
 * @returns whether there is such a folder
 * @throws Failure KEY_EXPOSED with the command that mends it
 * @throws Failure STATE_LINKED
 */
export async function requirePrivate(path: string): Promise<boolean> {
  try {
    const found = await lstat(path)
    if (found.isSymbolicLink()) throw linked(path, await readlink(path))
    refuseExposed(path, exposureInVault(path, found, currentIdentity()))
    return true
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return false
    throw error
  }
}

/**
 * Refuses a state folder of somebody else, or one in which others could exchange the vault. Files that a wrong user
 * makes there would lock the right one out.
 *
 * @throws Failure STATE_FOREIGN, KEY_EXPOSED
 */
export async function requireOwnFolder(path: string): Promise<void> {
  const found = await stat(path)
  const agent = currentIdentity()
  if (found.uid !== agent.uid) {
    const fact = `${path} belongs to user ${found.uid}, and this process is user ${agent.uid}`
    throw new Failure('STATE_FOREIGN', fact, { context: { path, owner: found.uid, user: agent.uid } })
  }
  refuseExposed(path, exposureOfKeyFolder(path, found))
}

/**
 * The text of a key of the vault, or undefined when there is none.
 *
 * @throws Failure KEY_EXPOSED    others can read it, with the command that mends it
 * @throws Failure KEY_UNREADABLE it is there but cannot be read
 */
export async function readVaultKey(path: string): Promise<string | undefined> {
  try {
    refuseExposed(path, exposureInVault(path, await lookAtVaultKey(path), currentIdentity()))
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
    refuseExposed(path, (await inspectKeyFile(path)).remedy)
    return await readFile(path, 'utf8')
  } catch (error) {
    throw unreadable(path, error)
  }
}

/** The permissions of a key at this moment. */
export interface KeyInspection {
  /** Permission bits of the file. */
  readonly mode: number
  /** What to type so that only the agent can reach the key; undefined when that is so. */
  readonly remedy: string | undefined
}

/**
 * Looks at a key in use as it was looked at when it was taken into use: in the vault at the file and the two folders
 * around it, else at the file and its folder.
 *
 * @throws Failure KEY_UNREADABLE it is not there any more, or cannot be looked at
 */
export async function inspectKey({
  origin,
  keyFile,
}: Pick<X509Credential, 'origin' | 'keyFile'>): Promise<KeyInspection> {
  try {
    return await (origin === 'vault' ? inspectVaultKey(keyFile) : inspectKeyFile(keyFile))
  } catch (error) {
    throw unreadable(keyFile, error)
  }
}

async function inspectVaultKey(path: string): Promise<KeyInspection> {
  const agent = currentIdentity()
  const found = await lookAtVaultKey(path)
  const folders = [dirname(path), dirname(dirname(path))]
  const remedies = await Promise.all(folders.map(async (each) => exposureInVault(each, await lstat(each), agent)))
  return { mode: permissions(found), remedy: joinCommands([exposureInVault(path, found, agent), ...remedies]) }
}

/** @throws Failure KEY_UNREADABLE for whatever is not a file, links included */
async function lookAtVaultKey(path: string): Promise<Stats> {
  const found = await lstat(path)
  if (found.isFile()) return found
  throw new Failure('KEY_UNREADABLE', `${path} is not a regular file`, { context: { path } })
}

/** Links are followed. */
async function inspectKeyFile(path: string): Promise<KeyInspection> {
  const found = await stat(path)
  const folder = dirname(path)
  const remedies = [exposureOfKeyFile(path, found, currentIdentity()), exposureOfKeyFolder(folder, await stat(folder))]
  return { mode: permissions(found), remedy: joinCommands(remedies) }
}

function permissions(found: Ownership): number {
  return found.mode & 0o777
}

function joinCommands(commands: readonly (string | undefined)[]): string | undefined {
  const wanted = commands.filter((command) => command !== undefined)
  return wanted.length === 0 ? undefined : wanted.join(' && ')
}

function linked(path: string, target: string): Failure {
  return new Failure('STATE_LINKED', `${path} is a symbolic link to ${target}`, { context: { path, target } })
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
