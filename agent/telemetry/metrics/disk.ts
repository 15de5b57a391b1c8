import { statfs } from 'node:fs/promises'
import { errorCode } from '../../system/files.ts'

export interface Disk {
  readonly diskTotalBytes: number
  /** What a user other than root may still write. */
  readonly diskFreeBytes: number
}

/** Size and free space of the file system that holds `folder`; undefined when the kernel does not say. */
export async function readDisk(folder: string): Promise<Disk | undefined> {
  try {
    const { frsize, blocks, bavail } = await statfs(folder)
    if (blocks <= 0) return undefined
    return { diskTotalBytes: blocks * frsize, diskFreeBytes: bavail * frsize }
  } catch (error) {
    if (errorCode(error) !== undefined) return undefined
    throw error
  }
}
