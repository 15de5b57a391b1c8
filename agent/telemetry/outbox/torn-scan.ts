import type { Clock } from '../../system/clock.ts'
import { priorities } from '../sample.ts'
import type { Priority } from '../sample.ts'
import { dropCauses } from './port.ts'
import type { DropCause } from './port.ts'
import { keyAt, MAX_STREAMS, numberAt } from './schema.ts'
import type { TornFile } from './torn-file.ts'
import { isBlob, isInteger, isNull, isText, readPage, readTypes, readValues } from './torn-page.ts'
import type { Cell, Page } from './torn-page.ts'

/** Samples with consecutive numbers that lie side by side in one page. */
export interface Run {
  /** Their places. */
  readonly first: number
  last: number
  readonly page: number
  /** Index of the first among the cells of the page. */
  readonly cell: number
}

export interface StreamName {
  readonly name: string
  readonly priority: Priority
}

/** What is where in a damaged file. */
export interface Scan {
  readonly runs: Run[]
  readonly names: Map<number, StreamName>
  readonly dropped: Map<DropCause, number>
  /** By page: 1 when all that it held is accounted for. */
  readonly known: Uint8Array
  /** Whether all pages were looked at. */
  isComplete: boolean
}

/** Looks at every page once, until the deadline on the monotonic clock. */
export async function scan(file: TornFile, clock: Pick<Clock, 'monotonicMs'>, deadlineMs: number): Promise<Scan> {
  const free = await trustedFree(file)
  const count = file.pageCount + file.olderCount
  const known = new Uint8Array(count + 1).fill(1, file.pageCount + 1).fill(1, 0, 1)
  const found: Scan = { runs: [], names: new Map(), dropped: new Map(), known, isComplete: true }
  let number = 1
  while (number <= count) {
    if (clock.monotonicMs() > deadlineMs) return { ...found, isComplete: false }
    for (const content of await file.pagesFrom(number)) {
      // What is in a page that is free was taken out, or lies somewhere else by now.
      const isFree = free?.has(number) ?? false
      const page = content === undefined || isFree ? undefined : readPage(content, number)
      if (isFree || (page !== undefined && look(page, number, found))) known[number] = 1
      number += 1
    }
  }
  return found
}

/** The samples of a page that was looked at, by the same indices. */
export function sampleCells(page: Page): readonly Cell[] {
  if (page.kind !== 'tableLeaf') return []
  return page.cells.filter(({ rowid, local, totalBytes }) => {
    const types = readTypes(local, totalBytes)?.types
    return types !== undefined && isSample(types) && isPlace(rowid)
  })
}

/** A free list says what is free only where it is that of a file with samples. */
async function trustedFree(file: TornFile): Promise<ReadonlySet<number> | undefined> {
  const first = await file.page(1)
  if (file.free === undefined || first === undefined) return undefined
  const rows = readPage(first, 1)?.cells ?? []
  return rows.some(({ local }) => local.includes('CREATE TABLE samples')) ? file.free : undefined
}

/** @returns whether there is nothing in the page that could not be read */
function look(page: Page, number: number, found: Scan): boolean {
  if (page.kind === 'tableInner' || page.kind === 'indexInner') return page.isWhole
  const samples = sampleCells(page)
  for (const [index, { rowid }] of samples.entries()) {
    const before = found.runs.at(-1)
    if (index > 0 && before?.last === rowid - 1) before.last = rowid
    else found.runs.push({ first: rowid, last: rowid, page: number, cell: index })
  }
  if (samples.length === 0) for (const cell of page.cells) lookAtRow(cell, found)
  return page.isWhole && (samples.length === 0 || samples.length === page.cells.length)
}

/** Names are in their table and in its index. */
function lookAtRow({ rowid, local, totalBytes }: Cell, { names, dropped }: Scan): void {
  const types = totalBytes === local.length ? readTypes(local, totalBytes) : undefined
  const [first, second, third, ...more] = (types && readValues(local, types)) ?? []
  if (more.length > 0) return
  const note = (key: number, priority: unknown, name: unknown) => {
    const known = priorities.find((one) => one === priority)
    if (known === undefined || typeof name !== 'string' || !(key >= 1 && key <= MAX_STREAMS)) return
    names.set(key, { name, priority: known })
  }
  if (first === null) note(rowid, second, third)
  else if (typeof third === 'number') note(third, first, second)
  else if (third === undefined) {
    const cause = dropCauses.find((one) => one === first)
    if (cause !== undefined && typeof second === 'number') dropped.set(cause, second)
  }
}

const isTextOrNull = (type: number | undefined) => isNull(type) || isText(type)

/** Whether these are the types of the columns of `samples`. */
function isSample([place, batch, at, id, created, unsure, label, sum, crc, body, ...more]: readonly number[]): boolean {
  return (
    [batch, at, created, sum, crc].every(isInteger) &&
    isNull(place) &&
    isText(id) &&
    isTextOrNull(unsure) &&
    isTextOrNull(label) &&
    (isText(body) || isBlob(body)) &&
    more.length === 0
  )
}

function isPlace(place: number): boolean {
  const key = keyAt(place)
  return key >= 1 && key <= MAX_STREAMS && numberAt(place) >= 1
}
