import { stat } from 'node:fs/promises'
import { errorCode } from './files.ts'

/** The calls by which a process of root becomes another user. */
export interface ProcessRights {
  geteuid(): number
  initgroups(user: number, group: number): void
  setgroups(groups: readonly number[]): void
  setgid(group: number): void
  setuid(user: number): void
}

/**
 * Becomes the owner of `folder` for good when root runs a command, so that a technician's sudo leaves no files that
 * the agent cannot read. Does nothing for other users, for a folder of root, or when there is no such folder.
 * What only root can open must be open before.
 *
 * @returns whether the process is another user now
 */
export async function actAsOwner(folder: string, rights: ProcessRights = processRights): Promise<boolean> {
  if (rights.geteuid() !== 0) return false
  const owner = await ownerOf(folder)
  if (owner === undefined || owner.uid === 0) return false
  joinGroups(owner, rights)
  // The user comes last: without root's rights the group could not be changed any more.
  rights.setgid(owner.gid)
  rights.setuid(owner.uid)
  return true
}

interface Owner {
  readonly uid: number
  readonly gid: number
}

async function ownerOf(folder: string): Promise<Owner | undefined> {
  try {
    return await stat(folder)
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined
    throw error
  }
}

/** A dynamic user of systemd, or one of another container, has a number but no name: it has its own group only. */
function joinGroups(owner: Owner, rights: ProcessRights): void {
  try {
    rights.initgroups(owner.uid, owner.gid)
  } catch (error) {
    if (errorCode(error) !== 'ERR_UNKNOWN_CREDENTIAL') throw error
    rights.setgroups([owner.gid])
  }
}

/** The published types of Node lack `initgroups`. */
const posix = process as NodeJS.Process & { initgroups?(user: number, group: number): void }

const processRights: ProcessRights = {
  geteuid: () => posix.geteuid?.() ?? -1,
  initgroups: (user, group) => posix.initgroups?.(user, group),
  setgroups: (groups) => posix.setgroups?.(groups),
  setgid: (group) => posix.setgid?.(group),
  setuid: (user) => posix.setuid?.(user),
}
