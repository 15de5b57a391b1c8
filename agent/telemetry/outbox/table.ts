import type { DatabaseSync } from 'node:sqlite'
import { crcOf } from './schema.ts'
import type { SampleRow } from './schema.ts'

/** What is read of a sample when only its place in time and room counts. */
export interface Mark {
  readonly place: number
  readonly at: number
  readonly sum: number
  readonly unsure: string | null
}

/** The rows of `samples`. Every place is `placeOf` of a stream and a number; runs include both ends. */
export interface SampleTable {
  insert(row: SampleRow): void
  remove(from: number, to: number): void
  row(place: number): SampleRow | undefined
  mark(place: number): Mark | undefined
  batchAt(place: number): number | undefined
  /** What lies there of one batch, without a gap. */
  batch(from: number, to: number, batch: number): readonly SampleRow[]
  /** From the oldest. Whoever stops early ends the reading. */
  marks(from: number, to: number): Iterable<Mark>
  /** The ends of what lies there; both undefined when nothing does. */
  ends(from: number, to: number): { readonly oldest: Mark | undefined; readonly newest: SampleRow | undefined }
}

const COLUMNS = 'place, batch, at, id, created, unsure, label, sum, body'
const MARK = 'place, at, sum, unsure'

export function createSampleTable(database: DatabaseSync): SampleTable {
  const prepare = (sql: string) => database.prepare(sql)
  const insert = prepare(`INSERT INTO samples (${COLUMNS}, crc) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`)
  const remove = prepare('DELETE FROM samples WHERE place BETWEEN ? AND ?')
  const row = prepare(`SELECT ${COLUMNS} FROM samples WHERE place = ?`)
  const mark = prepare(`SELECT ${MARK} FROM samples WHERE place = ?`)
  const batchAt = prepare('SELECT batch FROM samples WHERE place = ?')
  const run = prepare(`SELECT ${COLUMNS} FROM samples WHERE place BETWEEN ? AND ? ORDER BY place`)
  const marks = prepare(`SELECT ${MARK} FROM samples WHERE place BETWEEN ? AND ? ORDER BY place`)
  const oldest = prepare(`SELECT ${MARK} FROM samples WHERE place BETWEEN ? AND ? ORDER BY place LIMIT 1`)
  const newest = prepare(`SELECT ${COLUMNS} FROM samples WHERE place BETWEEN ? AND ? ORDER BY place DESC LIMIT 1`)
  return {
    insert(sample) {
      const { place, batch, at, id, created, unsure, label, sum, body } = sample
      insert.run(place, batch, at, id, created, unsure, label, sum, body, crcOf(sample))
    },
    remove: (from, to) => void remove.run(from, to),
    row: (place) => row.get(place) as unknown as SampleRow | undefined,
    mark: (place) => mark.get(place) as unknown as Mark | undefined,
    batchAt: (place) => (batchAt.get(place) as unknown as Pick<SampleRow, 'batch'> | undefined)?.batch,
    batch(from, to, batch) {
      const rows: SampleRow[] = []
      for (const one of run.iterate(from, to) as unknown as Iterable<SampleRow>) {
        if (one.batch !== batch || one.place !== from + rows.length) break
        rows.push(one)
      }
      return rows
    },
    marks: (from, to) => marks.iterate(from, to) as unknown as Iterable<Mark>,
    ends: (from, to) => ({
      oldest: oldest.get(from, to) as unknown as Mark | undefined,
      newest: newest.get(from, to) as unknown as SampleRow | undefined,
    }),
  }
}
