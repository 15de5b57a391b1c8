import type { Stats } from 'node:fs'
import { chmod, lstat, realpath, rm } from 'node:fs/promises'
import { basename, dirname, normalize } from 'node:path'
import { errorCode, PRIVATE_FILE, syncFolder } from '../system/files.ts'
import { overwrite } from './overwrite.ts'
import type { Overwritten } from './overwrite.ts'

/** The key in the running process. */
export const IN_MEMORY =
  'The agent uses the key no more and has let go of it, but no program can make sure that its memory held no further copy: ' +
  'that is over at the next start (systemctl restart iot-device-agent).'

/** What no program on the device can destroy. */
export const OUT_OF_REACH =
  'Out of reach from here are backups and images of this device, blocks that flash storage has set aside when it spread its wear, ' +
  'and the key in the cloud, with which every copy works: disable or delete the symmetric-key enrollment, or regenerate its keys.'

/** Name and value, as in `process.env`. */
type Environment = Readonly<Record<string, string | undefined>>

/**
 * Destroys every copy of the SAS secret that the agent can reach: overwrites each file in place, syncs it, removes its
 * name and syncs the folder. A symbolic link goes after what it leads to. What is gone already is done, so that this may
 * be cut off at any point and repeated. What overwriting is worth on flash: `overwrite`.
 *
 * The secret in memory is the caller's: once nothing refers to its `KeyObject`, OpenSSL clears that memory when it is
 * collected; strings that it was read from are collected as well, but not cleared.
 *
 * @param paths absolute, of the files with the secret
 * @param environment of the process; systemd names the folder of its credentials there
 * @returns a sentence, with what to type as root where that helps, for each copy that is left, and at the end for what
 *   no program can reach; never rejects for what the file system refuses
 */
export async function destroySecret(paths: readonly string[], environment: Environment): Promise<readonly string[]> {
  const left: string[] = []
  for (const path of new Set(paths)) left.push(...(await attempt(path, () => destroy(path, environment))))
  return [...left, IN_MEMORY, OUT_OF_REACH]
}

async function destroy(path: string, environment: Environment): Promise<readonly string[]> {
  const found = await look(path)
  if (found === undefined) return confirmGone(path)
  if (isBelow(environment['CREDENTIALS_DIRECTORY'], path)) return [heldBySystemd(path)]
  if (found.isSymbolicLink()) return destroyLinked(path, environment)
  if (!found.isFile()) return [`${path} is no regular file and was left as it is.`]
  return destroyFile(path)
}

async function look(path: string): Promise<Stats | undefined> {
  try {
    return await lstat(path)
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined
    throw error
  }
}

/** Whoever removed it may have been cut off before that was durable. Where the folder is closed to us, it was not us. */
async function confirmGone(path: string): Promise<readonly string[]> {
  try {
    await syncFolder(dirname(path))
  } catch (error) {
    if (errorCode(error) === undefined) throw error
  }
  return []
}

/** The link goes last: as long as it is there, its target is found again. It is no secret, so it may stay as well. */
async function destroyLinked(path: string, environment: Environment): Promise<readonly string[]> {
  const target = await targetOf(path)
  const left = target === undefined ? [] : await attempt(target, () => destroy(target, environment))
  if (left.length === 0) await attempt(path, () => remove(path))
  return left
}

/** Undefined when there is nothing behind the link. */
async function targetOf(path: string): Promise<string | undefined> {
  try {
    return await realpath(path)
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined
    throw error
  }
}

/** A file that cannot be overwritten is at least removed, and one that cannot be removed is at least overwritten. */
async function destroyFile(path: string): Promise<readonly string[]> {
  let over: Overwritten | undefined
  let refusal: string | undefined
  try {
    over = await overwriteOwn(path)
  } catch (error) {
    refusal = errorCode(error)
    if (refusal === undefined) throw error
  }
  const kept = await removal(path)
  if (over !== undefined) {
    return [
      ...(kept === undefined ? [] : [`${path} was overwritten, but its name is left (${kept}): as root, rm ${path}`]),
      ...(over.names > 1 ? [namedElsewhere(path, over.names - 1, over.inode)] : []),
    ]
  }
  const why = refusal ?? 'no regular file'
  if (kept !== undefined) return [unreached(path, why)]
  return [`${path} was removed, but could not be overwritten before (${why}): its content may still be on the disk.`]
}

/** What the agent owns and may only read, it gives itself the right to write. */
async function overwriteOwn(path: string): Promise<Overwritten | undefined> {
  try {
    return await overwrite(path)
  } catch (error) {
    if (errorCode(error) !== 'EACCES') throw error
    await chmod(path, PRIVATE_FILE)
    return overwrite(path)
  }
}

/** Why it could not be removed, if so. */
async function removal(path: string): Promise<string | undefined> {
  try {
    await remove(path)
    return undefined
  } catch (error) {
    const code = errorCode(error)
    if (code === undefined) throw error
    return code
  }
}

async function remove(path: string): Promise<readonly string[]> {
  await rm(path, { force: true })
  await syncFolder(dirname(path))
  return []
}

/** What is not there is done; what the file system refuses is told. */
async function attempt(path: string, work: () => Promise<readonly string[]>): Promise<readonly string[]> {
  try {
    return await work()
  } catch (error) {
    const code = errorCode(error)
    if (code === undefined) throw error
    return code === 'ENOENT' || code === 'ENOTDIR' ? [] : [unreached(path, code)]
  }
}

/** In the sandbox of the service most of the disk is read-only, for root in a shell it is not. */
function unreached(path: string, code: string): string {
  const readOnly = code === 'EROFS' ? ', after mount -o remount,rw if the disk itself is read-only' : ''
  return `${path} is out of the agent's reach (${code}) and still holds the secret: as root, shred -u ${path}${readOnly}`
}

function namedElsewhere(path: string, others: number, inode: number): string {
  const which = others === 1 ? 'another name' : `${others} other names`
  return `${path} had ${which} on its disk, which remain, with the secret overwritten: as root, find / -xdev -inum ${inode}`
}

/** The copy is in memory that systemd gives back when the service ends; what it is copied from is not the agent's. */
function heldBySystemd(path: string): string {
  const name = basename(path)
  return (
    `${path} is a copy that systemd holds until the service is restarted. Destroy what it is made from, which ` +
    `LoadCredential=${name} or SetCredential=${name} of the unit names (systemctl cat iot-device-agent), remove that ` +
    'line, and then: systemctl daemon-reload && systemctl restart iot-device-agent'
  )
}

function isBelow(folder: string | undefined, path: string): boolean {
  return folder !== undefined && folder !== '' && normalize(path).startsWith(`${normalize(folder).replace(/\/$/, '')}/`)
}
