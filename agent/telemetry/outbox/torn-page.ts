import type { Buffer } from 'node:buffer'

/** As the outbox makes its files. */
export const PAGE_BYTES = 4096

/** Header of the file, before the tree on page 1. */
const FILE_HEADER_BYTES = 100

/** A row as it lies in a leaf. Source: sqlite.org/fileformat2.html, sections 1.6 and 2.1. */
export interface Cell {
  /** Row ID in a table; 0 in an index. */
  readonly rowid: number
  /** What of the record is in this page, and how many bytes it has in all. */
  readonly local: Buffer
  readonly totalBytes: number
  /** First page of the rest of the record; 0 when all of it is here. */
  readonly overflow: number
}

export type Kind = 'tableLeaf' | 'tableInner' | 'indexLeaf' | 'indexInner'

const kinds: Readonly<Record<number, Kind>> = { 2: 'indexInner', 5: 'tableInner', 10: 'indexLeaf', 13: 'tableLeaf' }

export interface Page {
  readonly kind: Kind
  /** Those of a leaf that can be read, in their order. */
  readonly cells: readonly Cell[]
  /** Whether that is all of them. */
  readonly isWhole: boolean
}

export type Value = null | number | string | Uint8Array

/** A page of a tree; undefined when these bytes are none. */
export function readPage(page: Buffer, number: number): Page | undefined {
  const at = number === 1 ? FILE_HEADER_BYTES : 0
  const kind = kinds[page.readUInt8(at)]
  if (kind === undefined) return undefined
  const isLeaf = kind === 'tableLeaf' || kind === 'indexLeaf'
  const count = page.readUInt16BE(at + 3)
  const pointers = at + (isLeaf ? 8 : 12)
  const contentAt = pointers + 2 * count
  if (contentAt > PAGE_BYTES) return undefined
  const starts = Array.from({ length: count }, (_, index) => page.readUInt16BE(pointers + 2 * index))
  const isInside = starts.every((start) => start >= contentAt && start < PAGE_BYTES)
  if (!isLeaf) return { kind, cells: [], isWhole: isInside }
  const cells = starts.flatMap((start) => (start < contentAt ? [] : (readCell(page, start, kind) ?? [])))
  const rising =
    kind === 'tableLeaf' ? cells.filter(({ rowid }, index) => rowid > (cells[index - 1]?.rowid ?? 0)) : cells
  return { kind, cells: rising, isWhole: isInside && rising.length === count }
}

function readCell(page: Buffer, start: number, kind: Kind): Cell | undefined {
  const total = readVarint(page, start)
  const row =
    kind === 'tableLeaf' && total !== undefined ? readVarint(page, total.end) : { value: 0, end: total?.end ?? 0 }
  if (total === undefined || row === undefined) return undefined
  const localBytes = localBytesOf(total.value, kind)
  const end = row.end + localBytes
  const isSpilled = localBytes < total.value
  if (end + (isSpilled ? 4 : 0) > PAGE_BYTES) return undefined
  const overflow = isSpilled ? page.readUInt32BE(end) : 0
  return { rowid: row.value, local: page.subarray(row.end, end), totalBytes: total.value, overflow }
}

/** How much of a record stays in its leaf. */
function localBytesOf(totalBytes: number, kind: Kind): number {
  const most = kind === 'tableLeaf' ? PAGE_BYTES - 35 : Math.floor(((PAGE_BYTES - 12) * 64) / 255) - 23
  const least = Math.floor(((PAGE_BYTES - 12) * 32) / 255) - 23
  if (totalBytes <= most) return totalBytes
  const fitting = least + ((totalBytes - least) % (PAGE_BYTES - 4))
  return fitting <= most ? fitting : least
}

/** The serial types of the columns of a record, and where its values begin; undefined when its beginning says nothing sound. */
export function readTypes(record: Buffer, totalBytes: number): Types | undefined {
  const header = readVarint(record, 0)
  if (header === undefined || header.value > record.length) return undefined
  const types: number[] = []
  let at = header.end
  while (at < header.value) {
    const type = readVarint(record, at)
    if (type === undefined) return undefined
    types.push(type.value)
    at = type.end
  }
  const bytes = types.reduce((sum, type) => sum + bytesOf(type), header.value)
  return at === header.value && bytes === totalBytes ? { types, valuesAt: header.value } : undefined
}

export interface Types {
  readonly types: readonly number[]
  readonly valuesAt: number
}

/** The values of a whole record; undefined when a text is none. */
export function readValues(record: Buffer, { types, valuesAt }: Types): readonly Value[] | undefined {
  const values: Value[] = []
  let at = valuesAt
  for (const type of types) {
    const value = readValue(record.subarray(at, at + bytesOf(type)), type)
    if (value === undefined) return undefined
    values.push(value)
    at += bytesOf(type)
  }
  return values
}

export const isInteger = (type: number | undefined) => type !== undefined && type >= 1 && type <= 9 && type !== 7
export const isText = (type: number | undefined) => type !== undefined && type >= 13 && type % 2 === 1
export const isBlob = (type: number | undefined) => type !== undefined && type >= 12 && type % 2 === 0
export const isNull = (type: number | undefined) => type === 0

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function readValue(bytes: Buffer, type: number): Value | undefined {
  if (type === 0) return null
  if (type === 8 || type === 9) return type - 8
  if (type === 7) return bytes.readDoubleBE(0)
  if (type === 6) return Number(bytes.readBigInt64BE(0))
  if (type < 6) return bytes.readIntBE(0, bytes.length)
  if (isBlob(type)) return Uint8Array.from(bytes)
  try {
    return utf8.decode(bytes)
  } catch {
    return undefined
  }
}

const fixedBytes = [0, 1, 2, 3, 4, 6, 8, 8, 0, 0, 0, 0]

function bytesOf(type: number): number {
  return fixedBytes[type] ?? Math.floor((type - 12) / 2)
}

/** A number of one to nine bytes; undefined when it ends behind the bytes, or is larger than any that stands in an outbox. */
function readVarint(bytes: Buffer, start: number): { readonly value: number; readonly end: number } | undefined {
  let value = 0
  for (let at = start; at < Math.min(start + 8, bytes.length); at += 1) {
    const byte = bytes.readUInt8(at)
    value = value * 128 + (byte & 0x7f)
    if (value > Number.MAX_SAFE_INTEGER) return undefined
    if (byte < 0x80) return { value, end: at + 1 }
  }
  return undefined
}
