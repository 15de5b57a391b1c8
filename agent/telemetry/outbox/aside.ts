import { Buffer } from 'node:buffer'
import type { DatabaseSync } from 'node:sqlite'
import { PLAIN_LABEL } from '../sample.ts'
import type { Label, Sample } from '../sample.ts'
import type { AsideSample } from './port.ts'
import { bodyBytes, encodeRow } from './schema.ts'
import type { Undo } from './undo.ts'

const MAX_ROWS = 100
const MAX_BYTES = 1024 * 1024

interface AsideRow {
  readonly at: number
  readonly stream: string
  readonly id: string
  readonly code: string
  readonly message: string
  readonly label: string | null
  readonly body: string | Uint8Array
}

type Described = Omit<AsideRow, 'body'> & { readonly bytes: number }

/** One that is in the file, or is on its way there when it has a row. */
interface Kept {
  readonly number: number
  readonly bytes: number
  readonly row?: AsideRow
}

/** Samples that the hub will never take, kept for a look at them: the newest 100, and no more than 1 MiB. */
export interface Aside {
  count(): number
  /** The newest first. */
  list(): readonly AsideSample[]
  /** Of the newest with this ID. */
  body(id: string): Sample['body'] | undefined
  add(sample: Sample, reason: { readonly code: string; readonly message: string }, atMs: number): void
  isChanged(): boolean
  /** Writes what is new, and removes what is too much; part of a transaction. */
  write(): void
}

export function createAside(database: DatabaseSync, undo: Undo): Aside {
  const insert = database.prepare(
    'INSERT INTO aside (number, at, stream, id, code, message, label, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
  )
  const removeBefore = database.prepare('DELETE FROM aside WHERE number < ?')
  const sizes = `SELECT number, octet_length(stream) + octet_length(id) + octet_length(message)
    + coalesce(octet_length(label), 0) + octet_length(body) AS bytes FROM aside ORDER BY number`
  const described = database.prepare(
    'SELECT at, stream, id, code, message, label, octet_length(body) AS bytes FROM aside WHERE number >= ? ORDER BY number DESC',
  )
  const bodyOf = database.prepare('SELECT body FROM aside WHERE id = ? AND number >= ? ORDER BY number DESC LIMIT 1')
  let kept: readonly Kept[] = database
    .prepare(sizes)
    .all()
    .map(({ number, bytes }) => ({ number: Number(number), bytes: Number(bytes) }))
  let nextNumber = (kept.at(-1)?.number ?? 0) + 1
  let isChanged = false

  return {
    count: () => kept.length,
    isChanged: () => isChanged,
    list() {
      const pending = kept.flatMap(({ row }) => (row === undefined ? [] : [{ ...row, bytes: bodyBytes(row.body) }]))
      const written = described.all(kept[0]?.number ?? nextNumber) as unknown as readonly Described[]
      return [...pending.toReversed(), ...written].map(describe)
    },
    body(id) {
      const pending = kept.findLast(({ row }) => row?.id === id)?.row
      return pending?.body ?? (bodyOf.get(id, kept[0]?.number ?? nextNumber)?.['body'] as Sample['body'] | undefined)
    },
    add(sample, reason, atMs) {
      const { id, label, body } = encodeRow(sample)
      const row = { at: atMs, stream: sample.stream, id, code: reason.code, message: reason.message, label, body }
      kept = bounded([...kept, { number: nextNumber, bytes: bytesOfAside(row), row }])
      nextNumber += 1
      isChanged = true
    },
    write() {
      if (!isChanged) return
      const before = kept
      undo.note(() => {
        kept = before
        isChanged = true
      })
      removeBefore.run(kept[0]?.number ?? nextNumber)
      for (const { number, row } of kept)
        if (row !== undefined)
          insert.run(number, row.at, row.stream, row.id, row.code, row.message, row.label, row.body)
      kept = kept.map(({ number, bytes }) => ({ number, bytes }))
      isChanged = false
    },
  }
}

function describe({ at, stream, id, code, message, label, bytes }: Described): AsideSample {
  const said = label === null ? PLAIN_LABEL : (JSON.parse(label) as Label)
  return { id, stream, atMs: at, code, message, label: said, bytes }
}

function bytesOfAside(row: AsideRow): number {
  const beside = [row.stream, row.id, row.message, row.label ?? '']
  return beside.reduce((bytes, text) => bytes + Buffer.byteLength(text), bodyBytes(row.body))
}

/** The newest of them that there is room for. */
function bounded(all: readonly Kept[]): readonly Kept[] {
  let bytes = 0
  const tooMany = all.findLastIndex((one, at) => {
    bytes += one.bytes
    return bytes > MAX_BYTES || all.length - at > MAX_ROWS
  })
  return all.slice(tooMany + 1)
}
