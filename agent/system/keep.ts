import type { Readable } from 'node:stream'

/** What is kept of a stream that is read to its end. */
export interface Kept {
  bytes(): Uint8Array
}

const FIRST_ROOM_BYTES = 4096

/** Keeps what comes first: up to one byte more than `maxBytes`, so that it can be told from enough. */
export function keepFirst(
  stream: Readable | null,
  maxBytes: number,
): Kept & {
  /** Resolves when more has come than `maxBytes`. */
  readonly overflowed: Promise<void>
} {
  const overflow = Promise.withResolvers<void>()
  // One piece that grows: a program that prints byte by byte would make a million little ones.
  let room = Buffer.alloc(FIRST_ROOM_BYTES)
  let length = 0
  onData(stream, (chunk) => {
    const piece = chunk.subarray(0, maxBytes + 1 - length)
    if (length + piece.length > room.length) {
      const larger = Buffer.alloc(Math.max(2 * room.length, length + piece.length))
      room.copy(larger, 0, 0, length)
      room = larger
    }
    length += piece.copy(room, length)
    if (length > maxBytes) overflow.resolve()
  })
  return { bytes: () => room.subarray(0, length), overflowed: overflow.promise }
}

/** Keeps what comes last: up to `maxBytes`. */
export function keepLast(stream: Readable | null, maxBytes: number): Kept {
  let kept = Buffer.alloc(0)
  onData(stream, (chunk) => {
    kept = Buffer.concat([kept, chunk.subarray(-maxBytes)])
    // A copy, so that the larger piece behind it is let go.
    if (kept.length > maxBytes) kept = Buffer.from(kept.subarray(-maxBytes))
  })
  return { bytes: () => kept }
}

function onData(stream: Readable | null, take: (chunk: Buffer) => void): void {
  stream?.on('data', take)
  // A pipe that breaks has said all it will.
  stream?.on('error', () => undefined)
}
