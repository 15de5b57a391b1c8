import { Buffer } from 'node:buffer'
import { crcOf } from './schema.ts'
import type { SampleRow } from './schema.ts'
import type { TornFile } from './torn-file.ts'
import { PAGE_BYTES, readPage, readTypes, readValues } from './torn-page.ts'
import type { Cell } from './torn-page.ts'
import { sampleCells } from './torn-scan.ts'
import type { Run, Scan } from './torn-scan.ts'

/** A page of the rest of a record begins with the number of the next. Source: sqlite.org/fileformat2.html, section 1.6. */
const LINK_BYTES = 4

/**
 * All rows in the order of their places. Where it is unknown which pages are in use, some lie in several, and a place may
 * have had two samples one after the other: both are given.
 */
export async function* merged(file: TornFile, { runs, known }: Scan): AsyncGenerator<SampleRow> {
  const waiting = runs.toSorted((one, other) => other.first - one.first)
  let open: Head[] = []
  for (;;) {
    const place = open.reduce((least, { row }) => Math.min(least, row.place), Infinity)
    const run = waiting.at(-1)
    if (run !== undefined && run.first <= place) {
      waiting.pop()
      open.push(...(await step(rowsOf(file, run, known))))
      continue
    }
    if (open.length === 0) return
    const [now, later] = [open.filter(({ row }) => row.place === place), open.filter(({ row }) => row.place !== place)]
    yield* new Map(now.map(({ row }) => [row.id, row])).values()
    open = [...later, ...(await Promise.all(now.map(({ rows }) => step(rows)))).flat()]
  }
}

/** A run that is being read, and its next row. */
interface Head {
  readonly rows: AsyncGenerator<SampleRow>
  readonly row: SampleRow
}

async function step(rows: AsyncGenerator<SampleRow>): Promise<readonly Head[]> {
  const next = await rows.next()
  return next.done === true ? [] : [{ rows, row: next.value }]
}

/**
 * The rows of a run. One that cannot be read whole is left out, and its page marked as not known; pages that held the
 * rest of a row are marked as known.
 */
async function* rowsOf(file: TornFile, run: Run, known: Uint8Array): AsyncGenerator<SampleRow> {
  const content = await file.page(run.page)
  const page = content && readPage(content, run.page)
  const cells = page === undefined ? [] : sampleCells(page)
  for (const cell of cells.slice(run.cell, run.cell + run.last - run.first + 1)) {
    const row = await readRow(file, cell, known)
    if (row === undefined) known[run.page] = 0
    else yield row
  }
}

async function readRow(file: TornFile, cell: Cell, known: Uint8Array): Promise<SampleRow | undefined> {
  const record = cell.overflow === 0 ? cell.local : await gather(file, cell, known)
  const types = record && readTypes(record, cell.totalBytes)
  const values = types && readValues(record, types)
  if (values === undefined) return undefined
  // Their types were looked at when the page was.
  const [, batch, at, id, created, unsure, label, sum, crc, body] = values
  const row = { place: cell.rowid, batch, at, id, created, unsure, label, sum, body } as SampleRow
  return crcOf(row) === crc ? row : undefined
}

async function gather(file: TornFile, cell: Cell, known: Uint8Array): Promise<Buffer | undefined> {
  const parts: Buffer[] = [cell.local]
  let missing = cell.totalBytes - cell.local.length
  let next = cell.overflow
  while (missing > 0) {
    const page = next > 1 && next <= file.pageCount ? await file.page(next) : undefined
    if (page === undefined) return undefined
    parts.push(page.subarray(LINK_BYTES, Math.min(PAGE_BYTES, LINK_BYTES + missing)))
    missing -= PAGE_BYTES - LINK_BYTES
    known[next] = 1
    next = page.readUInt32BE(0)
  }
  return Buffer.concat(parts)
}
