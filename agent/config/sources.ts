import { closeSync, constants, fstatSync, openSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { parse, TomlError } from 'smol-toml'
import { errorCode } from '../system/files.ts'
import { flatten } from './flatten.ts'
import type { Found, Layer } from './flatten.ts'
import type { Problem } from './problems.ts'
import type { KeyInfo, TableInfo } from './setting.ts'
import { suggestKey } from './suggest.ts'

export type Environment = Readonly<Record<string, string | undefined>>

/** Largest configuration file, in bytes. Ours have a few hundred; more is a mistaken path. */
const MAX_FILE_BYTES = 1024 * 1024

/** `config.toml` and the `*.toml` of `config.d` in name order; only what is there. */
export function readFolder(folder: string, tables: readonly TableInfo[], mustExist: boolean): readonly Layer[] {
  try {
    if (mustExist && !isFolder(folder)) return [failed(folder, 'There is no such folder.')]
  } catch (error) {
    return [failed(folder, `It cannot be looked at: ${reason(error)}.`)]
  }
  return [readFile(join(folder, 'config.toml'), tables), ...readDropIns(join(folder, 'config.d'), tables)]
}

/** The `*.toml` of a folder in name order; hidden files are an editor's. None where there is no such folder. */
export function readDropIns(folder: string, tables: readonly TableInfo[]): readonly Layer[] {
  try {
    const names = listFolder(folder).filter((name) => name.endsWith('.toml') && !name.startsWith('.'))
    return names.toSorted().map((name) => readFile(join(folder, name), tables))
  } catch (error) {
    return [failed(folder, `It cannot be listed: ${reason(error)}.`)]
  }
}

/** The variables that name a key; an empty one counts as unset. Numbers are read as numbers, all else stays text. */
export function readEnvironment(environment: Environment, tables: readonly TableInfo[]): Layer {
  const keys = tables.flatMap((table) => table.keys)
  const found = new Map<string, Found>()
  for (const info of keys) {
    const text = info.environment === undefined ? undefined : environment[info.environment]
    if (text === undefined || text === '') continue
    found.set(info.key, { value: fromText(text, info.type), origin: `environment ${info.environment}` })
  }
  return { found, entries: [], problems: unknownVariables(environment, keys) }
}

/** Our own prefix makes a name that nobody knows a mistake; of other names that cannot be said. */
function unknownVariables(environment: Environment, keys: readonly KeyInfo[]): readonly Problem[] {
  const known = new Set(['IOT_AGENT_CONFIG_DIR', ...keys.map((info) => info.environment)])
  const strange = Object.keys(environment).filter((name) => name.startsWith('IOT_AGENT_') && !known.has(name))
  return strange.map((name) => {
    const meant = suggestKey(name, keys)?.environment
    const remedy =
      meant === undefined ? 'Remove it; docs/configuration.md lists the variables.' : `Did you mean ${meant}?`
    return {
      key: undefined,
      value: undefined,
      problem: `There is no variable ${name}.`,
      remedy,
      origin: `environment ${name}`,
    }
  })
}

/** Whether a file is there; the system's code when that cannot be told. */
export function look(path: string): 'there' | 'absent' | { readonly refused: string } {
  try {
    return statSync(path).isDirectory() ? 'absent' : 'there'
  } catch (error) {
    return isAbsence(error) ? 'absent' : { refused: reason(error) }
  }
}

function readFile(path: string, tables: readonly TableInfo[]): Layer {
  try {
    const text = readText(path)
    if (typeof text === 'object') return failed(path, text.problem)
    return flatten(parse(text), tables, path)
  } catch (error) {
    if (isAbsence(error)) return { found: new Map(), entries: [], problems: [] }
    if (error instanceof TomlError) return { found: new Map(), entries: [], problems: [syntaxProblem(path, error)] }
    return failed(path, `It cannot be read: ${reason(error)}.`)
  }
}

/** @throws whatever the file system refuses with */
function readText(path: string): string | { readonly problem: string } {
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    const { size, isRegular } = describe(file)
    if (!isRegular) return { problem: 'It is not a regular file.' }
    if (size > MAX_FILE_BYTES)
      return { problem: `It has ${size} bytes; a configuration has at most ${MAX_FILE_BYTES}.` }
    return decode(readFileSync(file))
  } finally {
    closeSync(file)
  }
}

function describe(file: number): { readonly size: number; readonly isRegular: boolean } {
  const status = fstatSync(file)
  return { size: status.size, isRegular: status.isFile() }
}

function decode(bytes: Buffer): string | { readonly problem: string } {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return { problem: 'It is not UTF-8 text.' }
  }
}

/** The parser quotes the lines around the mistake; they are left out, as a secret may stand in them. */
function syntaxProblem(path: string, error: TomlError): Problem {
  const fact = (error.message.split('\n')[0] ?? '').replace(/^Invalid TOML document: /, '')
  const remedy = `Mend the line: text stands in quotes, a table as [name] on its own line, each key once. TOML: https://toml.io`
  return {
    ...fileProblem(path, `Line ${error.line}, column ${error.column} is not TOML: ${fact}.`),
    origin: `${path}:${error.line}:${error.column}`,
    remedy,
  }
}

function failed(path: string, problem: string): Layer {
  return { found: new Map(), entries: [], problems: [fileProblem(path, problem)] }
}

function fileProblem(path: string, problem: string): Problem {
  const remedy = `Check it as the user of the agent: ls -ld ${path}`
  return { key: undefined, value: undefined, problem, remedy, origin: path }
}

function listFolder(folder: string): readonly string[] {
  try {
    return readdirSync(folder)
  } catch (error) {
    if (isAbsence(error)) return []
    throw error
  }
}

/** @throws whatever the file system refuses with */
function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true
}

function fromText(text: string, type: KeyInfo['type']): unknown {
  if (type === 'number' && /^\s*[+-]?\d{1,15}\s*$/.test(text)) return Number(text)
  if (type === 'boolean' && (text === 'true' || text === 'false')) return text === 'true'
  return text
}

function isAbsence(error: unknown): boolean {
  return errorCode(error) === 'ENOENT'
}

function reason(error: unknown): string {
  return errorCode(error) ?? (error instanceof Error ? error.message : String(error))
}
