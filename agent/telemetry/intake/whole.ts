import { Failure } from '../../failure.ts'
import { createGather } from './gather.ts'

/** Memory that requests share which must be read as a whole. */
export interface Room {
  take(bytes: number): boolean
  give(bytes: number): void
}

export function createRoom(maxBytes: number): Room {
  let left = maxBytes
  return {
    take(bytes) {
      if (bytes > left) return false
      left -= bytes
      return true
    },
    give(bytes) {
      left += bytes
    },
  }
}

/**
 * All of a body; its bytes are taken from `room` while it is being read and used.
 *
 * @throws Failure TELEMETRY_TOO_LARGE more than `maxBytes`
 * @throws Failure OUTBOX_BUSY         other large requests have taken the room
 */
export async function withWhole<T>(
  chunks: AsyncIterable<Buffer>,
  { maxBytes, room }: { readonly maxBytes: number; readonly room: Room },
  use: (body: Buffer) => Promise<T>,
): Promise<T> {
  const body = createGather()
  let taken = 0
  try {
    for await (const chunk of chunks) {
      if (taken + chunk.length > maxBytes) throw tooLarge(maxBytes)
      if (!room.take(chunk.length)) throw new Failure('OUTBOX_BUSY', 'other large requests are being read')
      taken += chunk.length
      body.add(chunk)
    }
    return await use(body.take())
  } finally {
    room.give(taken)
  }
}

export function tooLarge(maxBytes: number): Failure {
  return new Failure('TELEMETRY_TOO_LARGE', `the request has more than ${maxBytes} bytes`)
}
