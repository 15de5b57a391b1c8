import type { Buffer } from 'node:buffer'
import { PAGE_BYTES } from './torn-page.ts'
import { openPart } from './torn-part.ts'
import type { Part } from './torn-part.ts'
import { readWal } from './torn-wal.ts'
import type { Wal } from './torn-wal.ts'

const MAGIC = 'SQLite format 3\0'

/** Pages read in one go. */
const STEP = 8

/** A damaged SQLite file with its -wal, as pages. What they say is for the reader to check. */
export interface TornFile extends AsyncDisposable {
  /** Pages are numbered from 1 to this. */
  readonly pageCount: number
  /**
   * Older contents, numbered behind the pages: what a damaged -wal has moved from one page to another may have lost its
   * new place.
   */
  readonly olderCount: number
  /** Whether the header and the -wal are sound, and the file is as long as they say. */
  readonly isWhole: boolean
  /** Pages that are not in use; what was in them may still be there. Undefined when nobody knows. */
  readonly free: ReadonlySet<number> | undefined
  /** The newest content of a page; undefined when there is none. */
  page(number: number): Promise<Buffer | undefined>
  /** Some pages from this one on, read in one go. */
  pagesFrom(first: number): Promise<readonly (Buffer | undefined)[]>
}

/**
 * @throws Failure ACCESS_DENIED  a file may not be read
 */
export async function openTornFile(path: string, walPath: string): Promise<TornFile> {
  const file = await openPart(path)
  const walFile = await openPart(walPath)
  const wal = await readWal(walFile)

  const fromFile = async (first: number, count: number) => {
    const bytes = await file.read((first - 1) * PAGE_BYTES, count * PAGE_BYTES)
    return Promise.all(
      Array.from({ length: count }, async (_, index) => {
        const at = wal.pages.get(first + index)
        if (at !== undefined) return walFile.read(at, PAGE_BYTES)
        const page = bytes.subarray(index * PAGE_BYTES, (index + 1) * PAGE_BYTES)
        return page.length === PAGE_BYTES ? page : undefined
      }),
    )
  }
  const there = [...wal.pages.keys()].reduce(
    (most, number) => Math.max(most, number),
    Math.ceil(file.totalBytes / PAGE_BYTES),
  )
  const header = (await fromFile(1, 1))[0]
  const isSound = header !== undefined && header.toString('latin1', 0, MAGIC.length) === MAGIC && !wal.isTorn
  const said = wal.pageCount > 0 ? wal.pageCount : (header?.readUInt32BE(28) ?? 0)
  const isWhole = isSound && said <= there
  const pageCount = isWhole ? said : there

  const older: readonly (() => Promise<Buffer>)[] = wal.isTorn ? olderOf(wal, file, walFile) : []
  const pagesFrom = async (first: number, count: number) => {
    if (first <= pageCount) return fromFile(first, Math.min(count, pageCount + 1 - first))
    return Promise.all(older.slice(first - pageCount - 1, first - pageCount - 1 + count).map((read) => read()))
  }
  const page = async (number: number) => (await pagesFrom(number, 1))[0]
  return {
    isWhole,
    pageCount,
    olderCount: older.length,
    free: isSound ? await readFreeList(header, page, there) : undefined,
    page,
    pagesFrom: (first) => pagesFrom(first, STEP),
    async [Symbol.asyncDispose]() {
      await file.close()
      await walFile.close()
    },
  }
}

/** What the newest contents have replaced, but for the first page. */
function olderOf(wal: Wal, file: Part, walFile: Part): readonly (() => Promise<Buffer>)[] {
  const replaced = wal.written.filter(({ page, at }) => page > 1 && wal.pages.get(page) !== at)
  const inFile = [...wal.pages.keys()].filter((page) => page > 1 && page * PAGE_BYTES <= file.totalBytes)
  return [
    ...inFile.map((page) => () => file.read((page - 1) * PAGE_BYTES, PAGE_BYTES)),
    ...replaced.map(
      ({ at }) =>
        () =>
          walFile.read(at, PAGE_BYTES),
    ),
  ]
}

/** Source: sqlite.org/fileformat2.html, section 1.5. What cannot be a free list ends it. */
async function readFreeList(header: Buffer, page: TornFile['page'], pageCount: number): Promise<ReadonlySet<number>> {
  const free = new Set<number>()
  let trunk = header.readUInt32BE(32)
  while (trunk > 1 && trunk <= pageCount && !free.has(trunk)) {
    const content = await page(trunk)
    const leaves = content?.readUInt32BE(4) ?? 0
    if (content === undefined || leaves > PAGE_BYTES / 4 - 2) break
    free.add(trunk)
    for (let index = 0; index < leaves; index += 1) free.add(content.readUInt32BE(8 + 4 * index))
    trunk = content.readUInt32BE(0)
  }
  return free
}
