import { constants } from 'node:fs'
import { open, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { errorCode } from '../../system/files.ts'

/** The kernel's files below one root; what cannot be had is absent, never an error. */
export interface Tree {
  /** The text of a small file, without the white space around it; undefined when it is missing, empty or unreadable. */
  read(path: string): Promise<string | undefined>
  /** The same as bytes, none of them taken away. */
  bytes(path: string): Promise<Buffer | undefined>
  /** The names in a folder, in the order of the numbers they hold; none when there is no such folder. */
  list(folder: string): Promise<readonly string[]>
}

/** Largest part of a file that is read: /proc/stat of a machine of hundreds of cores is the longest. */
const MAX_FILE_BYTES = 64 * 1024

/** Most files are a few bytes long; a page is all that an attribute of sysfs can have. */
const FIRST_BYTES = 4096

/** @param root `/` on a device, a recorded tree in a test */
export function createTree(root = '/'): Tree {
  return {
    read: (path) => orAbsent(async () => (await readStart(join(root, path))).toString('utf8').trim() || undefined),
    bytes: (path) => orAbsent(() => readStart(join(root, path))),
    async list(folder) {
      const names = await orAbsent(() => readdir(join(root, folder)))
      return (names ?? []).toSorted((a, b) => a.localeCompare(b, 'en', { numeric: true }))
    },
  }
}

/** An integer as the kernel prints it; undefined for anything else. */
export function readInteger(text: string | undefined): number | undefined {
  return text !== undefined && /^-?\d{1,15}$/.test(text) ? Number(text) : undefined
}

/** A decimal number as the kernel prints it; undefined for anything else. */
export function readDecimal(text: string | undefined): number | undefined {
  return text !== undefined && /^-?\d{1,15}(\.\d{1,15})?$/.test(text) ? Number(text) : undefined
}

/** O_NONBLOCK keeps a pipe or a device node that stands in a file's place from holding the reader. */
async function readStart(path: string): Promise<Buffer> {
  await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
  let buffer = Buffer.allocUnsafe(FIRST_BYTES)
  let length = 0
  for (;;) {
    const { bytesRead } = await file.read(buffer, length, buffer.length - length, null)
    length += bytesRead
    if (bytesRead === 0 || length === MAX_FILE_BYTES) return buffer.subarray(0, length)
    if (length === buffer.length) buffer = Buffer.concat([buffer], Math.min(buffer.length * 4, MAX_FILE_BYTES))
  }
}

/** A driver answers EAGAIN, EIO or ETIMEDOUT when its chip does not: for a metric that is absence. */
async function orAbsent<T>(work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work()
  } catch (error) {
    if (errorCode(error) !== undefined) return undefined
    throw error
  }
}
