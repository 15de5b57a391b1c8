import type { StatsFs } from 'node:fs'
import { access, constants, statfs } from 'node:fs/promises'
import { errorCode } from '../../system/files.ts'
import { present } from './reading.ts'

export interface Disk {
  readonly diskTotalBytes?: number
  /** What a user other than root may still write. */
  readonly diskFreeBytes?: number
  /** Left out where the file system makes inodes as it needs them, as Btrfs and FAT do: their total is 0. */
  readonly diskFreeInodes?: number
  readonly diskReadOnly?: boolean
}

/** Size, free space and state of the file system that holds `folder`; without what the kernel does not say. */
export async function readDisk(folder: string): Promise<Disk> {
  const sizes = await unlessRefused(() => statfs(folder))
  return present({
    ...(sizes !== undefined && sizes.blocks > 0 && sizesOf(sizes)),
    diskReadOnly: await readOnly(folder),
  })
}

function sizesOf({ frsize, blocks, bavail, files, ffree }: StatsFs): Disk {
  return {
    diskTotalBytes: blocks * frsize,
    diskFreeBytes: bavail * frsize,
    ...(files > 0 && { diskFreeInodes: ffree }),
  }
}

/**
 * Whether nothing can be written, as after `errors=remount-ro`: then access(2) answers EROFS. Any other refusal is
 * about rights and says nothing of the file system.
 */
async function readOnly(folder: string): Promise<boolean | undefined> {
  try {
    await access(folder, constants.W_OK)
    return false
  } catch (error) {
    if (errorCode(error) === undefined) throw error
    return errorCode(error) === 'EROFS' ? true : undefined
  }
}

async function unlessRefused<T>(work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work()
  } catch (error) {
    if (errorCode(error) !== undefined) return undefined
    throw error
  }
}
