import { repeated } from './entries.ts'
import type { Entry } from './entries.ts'
import { showKey } from './key.ts'
import type { Path } from './key.ts'
import type { Origin, Problem } from './problems.ts'
import { isList, keysOfEntry, lineOf } from './setting.ts'
import type { KeyInfo, ListInfo, TableInfo } from './setting.ts'
import { unknownKeys } from './unknown.ts'
import type { Unknown } from './unknown.ts'

/** A value that somebody wrote, and where. */
export interface Found {
  readonly value: unknown
  readonly origin: Origin
}

/** What one file says. */
export interface Layer {
  readonly found: ReadonlyMap<string, Found>
  /** Of all lists, in the order of the file. */
  readonly entries: readonly Entry[]
  readonly problems: readonly Problem[]
}

/** What may stand below one node of the tree. */
interface Scope {
  readonly keys: readonly KeyInfo[]
  readonly byName: ReadonlyMap<string, KeyInfo>
  /** The tables that the keys stand in. */
  readonly tables: ReadonlySet<string>
  /** Where the values go. */
  readonly found: Map<string, Found>
}

/** Turns the tree of one TOML file into dotted keys; whatever the schema does not know, or has elsewhere, is a problem. */
export function flatten(tree: object, tables: readonly TableInfo[], origin: Origin): Layer {
  const plain = tables.flatMap(({ keys, list }) => (list === undefined ? keys : [list]))
  const templates = new Map(tables.map(({ table, keys }) => [table, keys]))
  const entries: Entry[] = []
  const problems: Problem[] = []
  const unknown: Unknown[] = []

  const visit = (node: object, prefix: Path, scope: Scope) => {
    for (const [name, value] of Object.entries(node)) {
      const path = [...prefix, name]
      const key = showKey(path)
      const info = scope.byName.get(key)
      if (info !== undefined && isTable(value)) problems.push(tableForValue(info, origin))
      else if (info !== undefined && isList(info)) visitList(info, path, value)
      else if (info !== undefined) scope.found.set(key, { value, origin })
      else if (scope.tables.has(key) && isTable(value)) visit(value, path, scope)
      else if (scope.tables.has(key)) problems.push(valueForTable(key, value, origin))
      else unknown.push(...leavesOf(path, value).map((leaf) => ({ key: leaf, candidates: scope.keys })))
    }
  }
  const visitList = (list: ListInfo, path: Path, value: unknown) => {
    const stranger = Array.isArray(value) ? value.find((one) => !isTable(one)) : value
    if (!Array.isArray(value) || stranger !== undefined) problems.push(valueForList(list, stranger, origin))
    else entries.push(...readable(value, list).map((node, index) => visitEntry(list, [...path, index], node)))
  }
  const visitEntry = (list: ListInfo, path: Path, node: object): Entry => {
    const key = showKey(path)
    const scope = scopeOf([...keysOfEntry(templates.get(list.key) ?? [], key), ...plain])
    visit(node, path, scope)
    return { list: list.key, key, identity: scope.found.get(`${key}.${list.by}`)?.value, origin, found: scope.found }
  }

  const top = scopeOf(plain)
  visit(tree, [], top)
  return {
    found: top.found,
    entries,
    problems: [...problems, ...repeated(tables, entries), ...unknownKeys(unknown, origin)],
  }
}

/** What kind of TOML value this is, as a noun. */
export function kindOf(value: unknown): string {
  if (Array.isArray(value)) return 'an array'
  if (value instanceof Date) return 'a date or time'
  if (typeof value === 'string') return 'a string'
  if (typeof value === 'boolean') return 'a boolean'
  if (typeof value === 'number') return Number.isInteger(value) ? 'a whole number' : 'a number with a fraction, or none'
  return 'a table'
}

/** One entry over the limit is enough to tell that there are too many. */
function readable(nodes: readonly object[], list: ListInfo): readonly object[] {
  return nodes.slice(0, list.most + 1)
}

function scopeOf(keys: readonly KeyInfo[]): Scope {
  return {
    keys,
    byName: new Map(keys.map((info) => [info.key, info])),
    tables: new Set(keys.flatMap((info) => prefixes(info.key))),
    found: new Map(),
  }
}

function tableForValue(info: KeyInfo, origin: Origin): Problem {
  const problem = `A table stands where ${info.rule} is expected.`
  return { key: info.key, value: undefined, problem, remedy: `Write: ${lineOf(info)}`, origin }
}

function valueForTable(key: string, value: unknown, origin: Origin): Problem {
  const remedy = `Write [${key}] on a line of its own, once, and its keys below it.`
  return { key, value: undefined, problem: `This is a table, but ${kindOf(value)} stands here.`, remedy, origin }
}

function valueForList(list: ListInfo, value: unknown, origin: Origin): Problem {
  const problem = `This is ${list.rule}, but ${kindOf(value)} stands here.`
  const remedy = `Write ${list.header} on a line of its own above the keys of each.`
  return { key: list.key, value: undefined, problem, remedy, origin }
}

/** The keys below an unknown name, one level down, where names are still likely to be a known one misplaced. */
function leavesOf(path: Path, value: unknown): readonly string[] {
  if (!isTable(value) || path.length > 2) return [showKey(path)]
  const inner = Object.entries(value)
  return inner.length === 0 ? [showKey(path)] : inner.flatMap(([name, child]) => leavesOf([...path, name], child))
}

function isTable(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date)
}

/** `a.b` for `a.b.c`, and `a`; the tables that a key stands in. */
function prefixes(key: string): readonly string[] {
  const parts = key.split('.')
  return parts.slice(1).map((_, index) => parts.slice(0, index + 1).join('.'))
}
