/** More pieces than this are put together before the end: a client may send a byte at a time. */
const MAX_PIECES = 1024

/** Bytes that come in pieces. */
export interface Gather {
  bytes(): number
  add(piece: Buffer): void
  /** All of them; the next one begins anew. */
  take(): Buffer
}

export function createGather(): Gather {
  let blocks: Buffer[] = []
  let pieces: Buffer[] = []
  let bytes = 0
  return {
    bytes: () => bytes,
    add(piece) {
      bytes += piece.length
      pieces.push(piece)
      if (pieces.length < MAX_PIECES) return
      blocks.push(Buffer.concat(pieces))
      pieces = []
    },
    take() {
      const all = [...blocks, ...pieces]
      blocks = []
      pieces = []
      bytes = 0
      const [first] = all
      return all.length === 1 && first !== undefined ? first : Buffer.concat(all)
    },
  }
}
