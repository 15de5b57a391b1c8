import { constants } from 'node:fs'
import { open } from 'node:fs/promises'

/** What is known of a file once its content is gone. */
export interface Overwritten {
  /** Names that the file has, this one included. */
  readonly names: number
  readonly inode: number
}

/**
 * Writes zeros over the whole content of a regular file, in place, and syncs it; links are not followed. System errors
 * come as they are; whatever is no regular file is left alone.
 *
 * On a disk that writes in place the content is gone. Flash (eMMC, SD, SSD) writes elsewhere and keeps the old block
 * until it needs it, and so do file systems that copy on write (btrfs, zfs, overlays): there it is out of reach of
 * programs, not of who reads the chip.
 *
 * @returns undefined when it is no regular file
 */
export async function overwrite(path: string): Promise<Overwritten | undefined> {
  // Without O_NONBLOCK the opening of a pipe in its place would wait for the other end.
  await using file = await open(path, constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  const found = await file.stat()
  if (!found.isFile()) return undefined
  await file.writeFile(Buffer.alloc(found.size))
  await file.sync()
  return { names: found.nlink, inode: found.ino }
}
