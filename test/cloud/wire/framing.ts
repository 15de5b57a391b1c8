/** Cuts a stream of bytes into whole MQTT packets by the fixed header, section 2.2 of the standard. Pure. */

export type Framed =
  | { readonly kind: 'packet'; readonly bytes: Buffer }
  | { readonly kind: 'incomplete' }
  | { readonly kind: 'broken'; readonly problem: string }

export interface Framer {
  push(chunk: Buffer): void
  /** The next whole packet. After `broken` the connection cannot go on. */
  next(): Framed
}

const MAX_LENGTH_BYTES = 4
const INCOMPLETE: Framed = { kind: 'incomplete' }

/** @param maxBytes largest packet with its header; a larger one is broken as soon as its header says so */
export function createFramer(maxBytes: number): Framer {
  let pending: Buffer = Buffer.alloc(0)
  return {
    push(chunk) {
      pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk])
    },
    next() {
      const size = packetSize(pending)
      if (size === 'incomplete') return INCOMPLETE
      if (size === 'malformed') return { kind: 'broken', problem: 'the remaining length has more than four bytes' }
      if (size > maxBytes) return { kind: 'broken', problem: `a packet of ${size} bytes; the limit is ${maxBytes}` }
      if (pending.length < size) return INCOMPLETE
      const bytes = pending.subarray(0, size)
      pending = pending.subarray(size)
      return { kind: 'packet', bytes }
    },
  }
}

/** Header and remaining length together, in bytes. */
function packetSize(bytes: Buffer): number | 'incomplete' | 'malformed' {
  let length = 0
  for (let index = 1; index <= MAX_LENGTH_BYTES; index += 1) {
    const digit = bytes[index]
    if (digit === undefined) return 'incomplete'
    length += (digit & 0x7f) * 128 ** (index - 1)
    if (digit < 0x80) return 1 + index + length
  }
  return 'malformed'
}
