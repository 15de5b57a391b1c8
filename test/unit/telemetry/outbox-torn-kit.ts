/** A real file of an outbox, what is in it, and which page holds which sample, as SQLite says. */
import { createHash } from 'node:crypto'
import { rm, writeFile } from 'node:fs/promises'
import { DatabaseSync } from 'node:sqlite'
import { recover } from '../../../agent/telemetry/outbox/recover.ts'
import type { RecoveredRow, Recovery } from '../../../agent/telemetry/outbox/recover.ts'
import { CONNECTION_PRAGMAS, CREATE_TABLES, bytesOf, crcOf, placeOf } from '../../../agent/telemetry/outbox/schema.ts'
import type { SampleRow } from '../../../agent/telemetry/outbox/schema.ts'
import { createChance } from '../../kit/chance.ts'
import { createFakeClock } from '../../kit/clock.ts'

/** Key → priority and name. */
export const streams = [
  [1, 'telemetry', 'line'],
  [2, 'alarm', 'line'],
  [3, 'audit', 'door'],
] as const

/** Samples by place, each as a hash of all that was stored. */
export type Content = ReadonlyMap<number, string>

export interface Filled extends Disposable {
  readonly database: DatabaseSync
  /** What is in it, and what ever was. */
  readonly kept: Map<number, SampleRow>
  readonly ever: Map<number, SampleRow>
  /** Appends to every stream in turn, in one transaction. */
  append(count: number): void
  /** Removes this many at the head of every stream. */
  acknowledge(count: number): void
}

export function hashOf({ place, batch, at, id, created, unsure, label, body }: SampleRow): string {
  const content = typeof body === 'string' ? body : Buffer.from(body).toString('hex')
  return createHash('sha256')
    .update(JSON.stringify([place, batch, at, id, created, unsure, label, typeof body, content]))
    .digest('hex')
}

/** Makes a file; one sample in `longEvery` does not fit into its page. */
export function fill(path: string, seed = 1, longEvery = 40): Filled {
  const chance = createChance(seed)
  const database = new DatabaseSync(path)
  database.exec(CONNECTION_PRAGMAS)
  database.exec(CREATE_TABLES)
  for (const row of streams) database.prepare('INSERT INTO streams (key, priority, name) VALUES (?, ?, ?)').run(...row)
  const insert = database.prepare('INSERT INTO samples VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)')
  const [kept, ever] = [new Map<number, SampleRow>(), new Map<number, SampleRow>()]
  const tails = streams.map(() => 0)
  const heads = streams.map(() => 1)
  let sum = 0
  const text = (bytes: number) =>
    Array.from({ length: Math.ceil(bytes / 8) }, () => chance().toString(36).slice(2, 10)).join('')
  const make = (key: number, number: number): SampleRow => {
    const isLong = Math.floor(chance() * longEvery) === 0
    const words = text(isLong ? 4_200 + chance() * 20_000 : 20 + chance() * 300)
    const row = {
      ...{ place: placeOf(key, number), batch: number - (number % 3), at: 1_700_000_000_000 + number, id: text(24) },
      created: Math.floor(chance() * 2) * 1_600_000_000_000,
      unsure: chance() < 0.1 ? `boot ${number}` : null,
      label: chance() < 0.2 ? '{"contentType":"text/plain"}' : null,
      sum,
      body: chance() < 0.2 ? Buffer.from(words) : words,
    }
    sum += bytesOf(row)
    return row
  }
  return {
    database,
    kept,
    ever,
    append(count) {
      database.exec('BEGIN')
      for (let index = 0; index < count; index += 1)
        for (const [at, [key]] of streams.entries()) {
          const row = make(key, (tails[at] = (tails[at] ?? 0) + 1))
          insert.run(
            row.place,
            row.batch,
            row.at,
            row.id,
            row.created,
            row.unsure,
            row.label,
            row.sum,
            crcOf(row),
            row.body,
          )
          kept.set(row.place, row)
          ever.set(row.place, row)
        }
      database.exec('COMMIT')
    },
    acknowledge(count) {
      for (const [at, [key]] of streams.entries()) {
        const head = (heads[at] = (heads[at] ?? 1) + count)
        database.prepare('DELETE FROM samples WHERE place >= ? AND place < ?').run(placeOf(key, 1), placeOf(key, head))
        for (const { place } of [...kept.values()])
          if (place >= placeOf(key, 1) && place < placeOf(key, head)) kept.delete(place)
      }
    },
    [Symbol.dispose]() {
      if (database.isOpen) database.close()
    },
  }
}

/** Where SQLite says that everything lies. */
export interface Layout {
  /** Place → pages that hold a part of the sample. */
  readonly samples: ReadonlyMap<number, ReadonlySet<number>>
  /** Table or index → its pages. */
  readonly tables: ReadonlyMap<string, readonly number[]>
  readonly pageCount: number
}

/** Source of the paths: sqlite.org/dbstat.html. */
export function layoutOf(database: DatabaseSync): Layout {
  const pages = database
    .prepare('SELECT name, path, pageno, pagetype, ncell FROM dbstat ORDER BY path')
    .all() as unknown as readonly {
    readonly name: string
    readonly path: string
    readonly pageno: number
    readonly pagetype: string
    readonly ncell: number
  }[]
  const places = database
    .prepare('SELECT place FROM samples ORDER BY place')
    .all()
    .map(({ place }) => Number(place))
  const samples = new Map<number, Set<number>>()
  const firstOf = new Map<string, number>()
  const ours = pages.filter(({ name }) => name === 'samples')
  let next = 0
  for (const { path, pageno, ncell } of ours.filter(({ pagetype }) => pagetype === 'leaf')) {
    firstOf.set(path, next)
    for (const place of places.slice(next, next + ncell)) samples.set(place, new Set([pageno]))
    next += ncell
  }
  for (const { path, pageno } of ours.filter(({ pagetype }) => pagetype === 'overflow')) {
    const [, leaf = '', cell = ''] = /^(.*\/)([0-9a-f]+)\+[0-9a-f]+$/.exec(path) ?? []
    samples.get(places[(firstOf.get(leaf) ?? Number.NaN) + Number.parseInt(cell, 16)] ?? 0)?.add(pageno)
  }
  const tables = Map.groupBy(pages, ({ name }) => name)
  return {
    samples,
    tables: new Map([...tables].map(([name, rows]) => [name, rows.map(({ pageno }) => pageno)])),
    pageCount: Number(database.prepare('PRAGMA page_count').get()?.['page_count']),
  }
}

/** What is expected when these pages are lost: what has no part in them. */
export function without(kept: ReadonlyMap<number, SampleRow>, { samples }: Layout, lost: ReadonlySet<number>): Content {
  const left = [...kept.values()].filter(({ place }) =>
    [...(samples.get(place) ?? [])].every((page) => !lost.has(page)),
  )
  return new Map(left.map((row) => [row.place, hashOf(row)]))
}

export interface Mended extends Recovery {
  readonly content: Content
  readonly rows: readonly RecoveredRow[]
}

/** Recovers a copy of the bytes under another name. */
export async function mend(path: string, file: Uint8Array, wal?: Uint8Array): Promise<Mended> {
  for (const old of ['.damaged', '.damaged-wal', '']) await rm(`${path}${old}`, { force: true })
  await writeFile(path, file)
  if (wal !== undefined) await writeFile(`${path}-wal`, wal)
  const rows: RecoveredRow[] = []
  const recovery = await recover(path, (some) => void rows.push(...some), createFakeClock())
  return { ...recovery, rows, content: new Map(rows.map((row) => [row.place, hashOf(row)])) }
}
