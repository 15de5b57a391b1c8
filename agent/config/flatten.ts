import type { Origin, Problem } from './problems.ts'
import type { KeyInfo } from './setting.ts'
import { showValue } from './show.ts'
import { suggestKey } from './suggest.ts'

/** A value that somebody wrote, and where. */
export interface Found {
  readonly value: unknown
  readonly origin: Origin
}

/** What one file says. */
export interface Layer {
  readonly found: ReadonlyMap<string, Found>
  readonly problems: readonly Problem[]
}

/** Unknown keys that are reported one by one; a file with more is probably not ours. */
const MAX_UNKNOWN = 20

/** Turns the tree of one TOML file into dotted keys; whatever the schema does not know, or has elsewhere, is a problem. */
export function flatten(tree: object, keys: readonly KeyInfo[], origin: Origin): Layer {
  const byName = new Map(keys.map((info) => [info.key, info]))
  const tables = new Set(keys.flatMap((info) => prefixes(info.key)))
  const found = new Map<string, Found>()
  const problems: Problem[] = []
  const unknown: string[] = []

  const visit = (node: object, prefix: readonly string[]) => {
    for (const [name, value] of Object.entries(node)) {
      const path = [...prefix, name]
      const key = showKey(path)
      const info = byName.get(key)
      if (info !== undefined && isTable(value)) problems.push(tableForValue(info, origin))
      else if (info !== undefined) found.set(key, { value, origin })
      else if (tables.has(key) && isTable(value)) visit(value, path)
      else if (tables.has(key)) problems.push(valueForTable(key, value, origin))
      else unknown.push(...leavesOf(path, value))
    }
  }
  visit(tree, [])
  return { found, problems: [...problems, ...unknownKeys(unknown, keys, origin)] }
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

function unknownKeys(unknown: readonly string[], keys: readonly KeyInfo[], origin: Origin): readonly Problem[] {
  const shown = unknown.slice(0, MAX_UNKNOWN).map((key) => unknownKey(key, keys, origin))
  const left = unknown.length - shown.length
  if (left <= 0) return shown
  const rest = { key: undefined, value: undefined, problem: `${left} more keys of this file are unknown.`, origin }
  return [...shown, { ...rest, remedy: 'Is this the right file? Every key: iot-device-agent config list --doc' }]
}

/** The value is not shown: nobody knows whether it is a secret. */
function unknownKey(key: string, keys: readonly KeyInfo[], origin: Origin): Problem {
  const meant = suggestKey(key, keys)
  const remedy =
    meant === undefined
      ? 'Remove it. Every key: iot-device-agent config list --doc'
      : [`Did you mean ${meant.key}? Write it as: [${meant.table}] ${meant.name} = …`, meant.caution]
          .filter((sentence) => sentence !== undefined)
          .join('. ')
  return { key, value: undefined, problem: 'This key is unknown.', remedy, origin }
}

function tableForValue(info: KeyInfo, origin: Origin): Problem {
  const problem = `A table stands where ${info.rule} is expected.`
  return { key: info.key, value: undefined, problem, remedy: `Write: [${info.table}] ${info.name} = …`, origin }
}

function valueForTable(key: string, value: unknown, origin: Origin): Problem {
  const remedy = `Write [${key}] on a line of its own, once, and its keys below it.`
  return { key, value: undefined, problem: `This is a table, but ${kindOf(value)} stands here.`, remedy, origin }
}

/** The keys below an unknown name, one level down, where names are still likely to be a known one misplaced. */
function leavesOf(path: readonly string[], value: unknown): readonly string[] {
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

/** Dotted, as TOML writes it: a part that is not plain is quoted, so that no key can pass for another one. */
function showKey(path: readonly string[]): string {
  return path.map((part) => (/^[A-Za-z0-9_-]{1,64}$/.test(part) ? part : showValue(part))).join('.')
}
