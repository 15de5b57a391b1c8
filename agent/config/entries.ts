import type { Found, Layer } from './flatten.ts'
import type { Origin, Problem } from './problems.ts'
import { keysOfEntry } from './setting.ts'
import type { KeyInfo, ListInfo, TableInfo } from './setting.ts'
import { showValue } from './show.ts'

/** One entry of a list of tables, as one file has it. */
export interface Entry {
  /** Key of the list, as in `telemetry.command`. */
  readonly list: string
  /** As in `telemetry.command[0]`; each file counts its own from 0. */
  readonly key: string
  /** Value of the key that tells entries apart; undefined where it is not written. */
  readonly identity: unknown
  readonly origin: Origin
  /** By keys that begin with that of the entry. */
  readonly found: ReadonlyMap<string, Found>
}

/** An entry among those of all files. */
interface Standing extends Entry {
  /** As in `telemetry.command[3]`, counted through all files. */
  readonly place: string
  /** The key that tells it from the others, as in `telemetry.command[3].name`. */
  readonly identityKey: string
  /** Files whose entry it replaced, strongest first. */
  readonly overrides: readonly Origin[]
}

/** All files together: for each key, entries of lists included, the value that counts. */
export interface Settled {
  /** In the order of the schema. A list has the keys of its entries; one without entries has a key of its own. */
  readonly keys: readonly KeyInfo[]
  readonly found: ReadonlyMap<string, Found>
  readonly entries: readonly Standing[]
  readonly problems: readonly Problem[]
}

/**
 * Puts the files over each other. A later one wins key by key; in a list its entry replaces, whole, the one of an
 * earlier file that has the same identity, and any other is added.
 */
export function settle(tables: readonly TableInfo[], layers: readonly Layer[]): Settled {
  const written = layers.flatMap((layer) => layer.entries)
  const lists = tables.flatMap(({ list }) => (list === undefined ? [] : [stand(list, written)]))
  const entries = lists.flatMap((list) => list.entries)
  const moved = entries.flatMap((entry) =>
    [...entry.found].map(([key, found]) => [entry.place + key.slice(entry.key.length), found] as const),
  )
  return {
    keys: tables.flatMap((table) => keysOf(table, entries)),
    found: new Map([...layers.flatMap((layer) => [...layer.found]), ...moved]),
    entries,
    problems: lists.flatMap((list) => list.problems),
  }
}

/** A problem of a key as settled, in the words of the file that has the entry. */
export function asWritten(problem: Problem, entries: readonly Standing[]): Problem {
  const { key } = problem
  const entry = entries.find(({ place }) => key?.startsWith(`${place}.`))
  if (key === undefined || entry === undefined) return problem
  return { ...problem, key: entry.key + key.slice(entry.place.length), origin: problem.origin ?? entry.origin }
}

/** Entries of one file that cannot be told from an earlier one of the same file. */
export function repeated(tables: readonly TableInfo[], entries: readonly Entry[]): readonly Problem[] {
  return entries.flatMap((entry, index) => {
    const list = tables.find(({ table }) => table === entry.list)?.list
    const first = entries.slice(0, index).find((other) => isSame(entry, other))
    if (list === undefined || first === undefined) return []
    return [
      {
        key: `${entry.key}.${list.by}`,
        value: showValue(entry.identity),
        problem: `${first.key} of this file has the same ${list.by}.`,
        remedy: `Give each a ${list.by} of its own, or remove one.`,
        origin: entry.origin,
      },
    ]
  })
}

/** The places of the entries of one list in the settled keys, as in `telemetry.command[0]`. */
export function placesOf(list: string, keys: Iterable<string>): readonly string[] {
  const places = [...keys].flatMap((key) => (key.startsWith(`${list}[`) ? [key.slice(0, key.indexOf(']') + 1)] : []))
  return [...new Set(places)]
}

function stand(list: ListInfo, written: readonly Entry[]) {
  const merged: Omit<Standing, 'place' | 'identityKey'>[] = []
  for (const entry of written.filter((one) => one.list === list.key)) {
    const at = merged.findIndex((other) => isSame(entry, other) && entry.origin !== other.origin)
    const lost = merged[at]
    if (lost === undefined) merged.push({ ...entry, overrides: [] })
    else merged[at] = { ...entry, overrides: [lost.origin, ...lost.overrides] }
  }
  const extra = merged[list.most]
  return {
    entries: merged.slice(0, list.most).map((entry, index) => {
      const place = `${list.key}[${index}]`
      return { ...entry, place, identityKey: `${place}.${list.by}` }
    }),
    problems: extra === undefined ? [] : [tooMany(list, extra.origin)],
  }
}

function isSame(entry: Entry, other: Entry): boolean {
  return entry.list === other.list && entry.identity !== undefined && entry.identity === other.identity
}

function tooMany(list: ListInfo, origin: Origin): Problem {
  return {
    key: list.key,
    value: undefined,
    problem: `There are more than ${list.most}, all files together.`,
    remedy: `Keep at most ${list.most} ${list.header}.`,
    origin,
  }
}

function keysOf({ keys, list }: TableInfo, entries: readonly Standing[]): readonly KeyInfo[] {
  if (list === undefined) return keys
  const own = entries.filter((entry) => entry.list === list.key)
  return own.length === 0 ? [list] : own.flatMap((entry) => keysOfEntry(keys, entry.place))
}
