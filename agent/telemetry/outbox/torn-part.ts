import { Buffer } from 'node:buffer'
import { open } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { asFailure } from '../../failure.ts'
import { errorCode } from '../../system/error-code.ts'

/** A file on a medium that may fail. */
export interface Part {
  readonly totalBytes: number
  /** Fewer bytes at the end of the file only; what the medium does not give is zero. */
  read(at: number, bytes: number): Promise<Buffer>
  close(): Promise<void>
}

/** What is read alone when reading more has failed: as much as a disk gives or refuses at a time. */
const SECTOR_BYTES = 4096

const nothing: Part = {
  totalBytes: 0,
  read: () => Promise.resolve(Buffer.alloc(0)),
  close: () => Promise.resolve(),
}

/**
 * Opens a file for reading; one that is not there is empty.
 *
 * @throws Failure ACCESS_DENIED
 */
export async function openPart(path: string): Promise<Part> {
  try {
    const file = await open(path, 'r')
    const { size } = await file.stat()
    return {
      totalBytes: size,
      read: (at, bytes) => readThrough(file, at, Math.max(0, Math.min(bytes, size - at))),
      close: () => file.close(),
    }
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return nothing
    throw asFailure(error)
  }
}

async function readThrough(file: FileHandle, at: number, bytes: number): Promise<Buffer> {
  const buffer = Buffer.alloc(bytes)
  try {
    await readFully(file, buffer, at)
    return buffer
  } catch (error) {
    if (errorCode(error) !== 'EIO') throw asFailure(error)
  }
  for (let done = 0; done < bytes; done += SECTOR_BYTES) {
    const sector = buffer.subarray(done, done + SECTOR_BYTES).fill(0)
    try {
      await readFully(file, sector, at + done)
    } catch (error) {
      if (errorCode(error) !== 'EIO') throw asFailure(error)
      sector.fill(0)
    }
  }
  return buffer
}

async function readFully(file: FileHandle, buffer: Buffer, at: number): Promise<void> {
  for (let done = 0; done < buffer.length;) {
    const { bytesRead } = await file.read(buffer, done, buffer.length - done, at + done)
    if (bytesRead === 0) return
    done += bytesRead
  }
}
