import { loadConfig } from '../config/load.ts'
import type { Loaded, LoadOptions } from '../config/load.ts'
import { pathOf } from '../config/key.ts'
import { formatProblems } from '../config/problems.ts'
import { NO_METHOD } from '../config/methods.ts'
import type { Problem } from '../config/problems.ts'
import { configSchema } from '../config/schema.ts'
import { describeKeys, describeTables } from '../config/setting.ts'
import type { KeyInfo } from '../config/setting.ts'
import { showValue, veil } from '../config/show.ts'
import { exitCodes } from './exit-codes.ts'

/** Where a command writes; whole lines. */
export interface Output {
  stdout(text: string): void
  stderr(text: string): void
}

/** `config check`: says that all is well, or every problem with its remedy. */
export function runConfigCheck(io: Output, options: LoadOptions): number {
  const loaded = loadConfig(options)
  if (!loaded.ok) return refuse(io, loaded.problems)
  const { device, dps } = loaded.value
  io.stdout(`The configuration is good: ${device.registrationId} at ${dps.host}, ID scope ${dps.idScope}\n`)
  return 0
}

/** `config list`: each key with its value and origin. With `doc`: what each key means, whatever is configured. */
export function runConfigList(io: Output, options: LoadOptions, { doc = false, json = false } = {}): number {
  if (doc) {
    io.stdout(json ? toJson(describeKeys(configSchema)) : documentKeys())
    return 0
  }
  const loaded = loadConfig(options)
  if (!loaded.ok) return refuse(io, loaded.problems, json)
  const rows = loaded.keys.map((info) => listRow(info, loaded))
  io.stdout(json ? toJson(rows) : align(rows.map((row) => [`${row.key} = ${showRow(row)}`, row.origin])))
  return 0
}

/** `config show-origin`: for each key the place that counts, and the places that it overrides. */
export function runConfigShowOrigin(io: Output, options: LoadOptions): number {
  const loaded = loadConfig(options)
  if (!loaded.ok) return refuse(io, loaded.problems)
  const rows = loaded.keys.map((info) => {
    const lost = loaded.overridden[info.key] ?? []
    return [
      info.key,
      `${listRow(info, loaded).origin}${lost.length === 0 ? '' : ` (overrides ${lost.join(', ')})`}`,
    ] as const
  })
  io.stdout(align(rows))
  return 0
}

interface ListRow {
  readonly key: string
  /** A secret is `***`; null where nothing is set. */
  readonly value: unknown
  readonly origin: string
}

type Good = Extract<Loaded, { ok: true }>

function listRow(info: KeyInfo, loaded: Good): ListRow {
  const value = asWritten(info, valueAt(loaded.value, info.key))
  const origin =
    loaded.origins[info.key] ?? (value === undefined ? 'not set: ' : 'follows ') + (info.otherwise ?? 'no default')
  return { key: info.key, value: veil(info, value) ?? null, origin }
}

/** Words as the text that their key takes. */
function asWritten({ type }: KeyInfo, value: unknown): unknown {
  return type === 'string' && Array.isArray(value) ? value.join(' ') || NO_METHOD : value
}

function showRow(row: ListRow): string {
  return row.value === null ? '-' : showValue(row.value)
}

function valueAt(tree: unknown, key: string): unknown {
  return pathOf(key).reduce<unknown>((node, part) => (node as Record<string, unknown> | undefined)?.[part], tree)
}

function documentKeys(): string {
  const blocks = describeTables(configSchema).map(
    ({ header, description, keys }) =>
      `${wrap(`${header}  ${description}`, 100, '')}\n\n${keys.map(documentKey).join('\n')}`,
  )
  return blocks.join('\n')
}

function documentKey(info: KeyInfo): string {
  const unset = info.required ? 'required' : `not set: ${info.otherwise ?? 'no default'}`
  const standard = info.defaultValue === undefined ? unset : `default ${showValue(info.defaultValue)}`
  const variable = info.environment === undefined ? '' : `; environment ${info.environment}`
  const unit = info.unit === undefined ? '' : ` (${info.unit})`
  return `  ${info.name}: ${info.rule}${unit}; ${standard}${variable}\n${wrap(info.description, 100, '      ')}\n`
}

function refuse(io: Output, problems: readonly Problem[], json = false): number {
  if (json) io.stdout(toJson({ ok: false, problems }))
  else io.stderr(formatProblems(problems))
  return exitCodes.configurationInvalid
}

/** Two columns. */
function align(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([left]) => left.length))
  return rows.map(([left, right]) => `${left.padEnd(width)}  ${right}\n`).join('')
}

function wrap(text: string, width: number, indent: string): string {
  const lines: string[] = []
  for (const word of text.split(' ')) {
    const line = lines.at(-1)
    if (line === undefined || line.length + word.length >= width) lines.push(`${indent}${word}`)
    else lines[lines.length - 1] = `${line} ${word}`
  }
  return lines.join('\n')
}

function toJson(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`
}
