import type { Buffer } from 'node:buffer'
import { PAGE_BYTES } from './torn-page.ts'
import type { Part } from './torn-part.ts'

/** Source: sqlite.org/fileformat2.html, section 4. */
const HEADER_BYTES = 32
const FRAME_HEADER_BYTES = 24
const FRAME_BYTES = FRAME_HEADER_BYTES + PAGE_BYTES

/** One more when the sums are over big-endian words. */
const MAGIC = 0x37_7f_06_82

/** Frames read in one go. */
const STEP = 16

/** What a -wal says of the file beside it. */
export interface Wal {
  /** Page → where its newest content begins in the -wal. */
  readonly pages: ReadonlyMap<number, number>
  /** All pages that were ever written to it, the oldest first. */
  readonly written: readonly Written[]
  /** Pages of the whole file at the last commit; 0 when there was none. */
  readonly pageCount: number
  /** Whether something of it is damaged. */
  readonly isTorn: boolean
}

export interface Written {
  readonly page: number
  /** Where its content begins. */
  readonly at: number
}

/**
 * Reads a -wal. Where SQLite ends at a damaged frame, and forgets what was not committed before it, this goes on with all
 * that is whole: a frame is summed up from the sum that stands in the one before.
 */
export async function readWal(file: Part): Promise<Wal> {
  const start = startOf(await file.read(0, HEADER_BYTES))
  const pages = new Map<number, number>()
  const written: Written[] = []
  let open: Written[] = []
  let [pageCount, isGap, isTorn] = [0, false, !start.isSound && file.totalBytes > 0]
  const commit = () => {
    for (const { page, at } of open) pages.set(page, at)
    written.push(...open)
    open = []
  }

  for await (const { at, frame, isOurs, isWhole } of framesOf(file, start)) {
    // Frames that are not ours are left from before the last checkpoint, unless one of ours follows.
    isTorn ||= isWhole ? isGap : isOurs
    isGap ||= !isWhole
    if (!isWhole) continue
    open.push({ page: frame.readUInt32BE(0), at: at + FRAME_HEADER_BYTES })
    if (frame.readUInt32BE(4) === 0) continue
    pageCount = frame.readUInt32BE(4)
    commit()
  }
  // It may be the commit of these that is damaged.
  isTorn ||= open.length > 0
  commit()
  return { pages, written, pageCount, isTorn }
}

type Sum = readonly [number, number]

/** What the frames are checked by. */
interface Start {
  readonly isSound: boolean
  readonly isBig: boolean
  /** That of the first frame when the header does not say. */
  readonly salt: Buffer | undefined
  readonly sum: Sum | undefined
}

function startOf(header: Buffer): Start {
  const magic = header.length < HEADER_BYTES ? 0 : header.readUInt32BE(0)
  const isBig = magic === MAGIC + 1
  const before = { isSound: true, isBig, salt: undefined, sum: undefined }
  if (!isBig && magic !== MAGIC) return { ...before, isSound: false }
  const sum: Sum = [header.readUInt32BE(24), header.readUInt32BE(28)]
  const isSound = isEqual(sumOf(header.subarray(0, 24), [0, 0], isBig), sum)
  return isSound ? { isSound, isBig, salt: header.subarray(16, 24), sum } : { ...before, isSound }
}

interface Frame {
  readonly at: number
  readonly frame: Buffer
  /** Whether it was written since the last checkpoint. */
  readonly isOurs: boolean
  readonly isWhole: boolean
}

async function* framesOf(file: Part, { isBig, salt, sum }: Start): AsyncGenerator<Frame> {
  let [ours, before] = [salt, sum]
  for (let from = HEADER_BYTES; from < file.totalBytes; from += STEP * FRAME_BYTES) {
    const step = await file.read(from, STEP * FRAME_BYTES)
    for (let at = 0; at + FRAME_HEADER_BYTES <= step.length; at += FRAME_BYTES) {
      const frame = step.subarray(at, at + FRAME_BYTES)
      ours ??= frame.subarray(8, 16)
      const isOurs = frame.subarray(8, 16).equals(ours)
      const stored: Sum = [frame.readUInt32BE(16), frame.readUInt32BE(20)]
      const isWhole =
        isOurs &&
        frame.length === FRAME_BYTES &&
        before !== undefined &&
        isEqual(sumOfFrame(frame, before, isBig), stored)
      yield { at: from + at, frame, isOurs, isWhole }
      before = stored
    }
  }
}

function sumOfFrame(frame: Buffer, before: Sum, isBig: boolean): Sum {
  return sumOf(frame.subarray(FRAME_HEADER_BYTES), sumOf(frame.subarray(0, 8), before, isBig), isBig)
}

function sumOf(bytes: Buffer, before: Sum, isBig: boolean): Sum {
  let [first, second] = before
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  for (let at = 0; at < bytes.length; at += 8) {
    first = (first + view.getUint32(at, !isBig) + second) >>> 0
    second = (second + view.getUint32(at + 4, !isBig) + first) >>> 0
  }
  return [first, second]
}

function isEqual(left: Sum, right: Sum): boolean {
  return left[0] === right[0] && left[1] === right[1]
}
