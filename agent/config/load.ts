import { judge } from './judge.ts'
import type { Judgement } from './judge.ts'
import type { Found, Layer } from './flatten.ts'
import { deriveConfig } from './paths.ts'
import type { Config } from './paths.ts'
import type { Origin, Problem } from './problems.ts'
import { configRules, isRegistrationId, pairKeys, pythonPair } from './rules.ts'
import { configSchema } from './schema.ts'
import { describeKeys } from './setting.ts'
import { look, readEnvironment, readFolder } from './sources.ts'
import type { Environment } from './sources.ts'

/** Where the administrator's files are when nothing else is said. */
export const CONFIG_FOLDER = '/etc/iot-device-agent'

export interface LoadOptions {
  /** Usually `process.env`. */
  readonly environment: Environment
  /** Folder of config.toml and config.d; else IOT_AGENT_CONFIG_DIR, else `CONFIG_FOLDER`. Named, it must exist. */
  readonly folder?: string
  /** Where the Python client kept its pairs. */
  readonly pythonFolder?: string
}

/** Where every value comes from, keyed as in `telemetry.intervalSeconds`. A key without value has no origin. */
export type Origins = Readonly<Record<string, Origin>>

export type Loaded =
  | {
      readonly ok: true
      readonly value: Config
      readonly origins: Origins
      /** For keys that are written more than once: the places that lost, strongest first. */
      readonly overridden: Readonly<Record<string, readonly Origin[]>>
    }
  | { readonly ok: false; readonly problems: readonly Problem[] }

/**
 * Reads the whole configuration: config.toml, then config.d in name order, the environment last; a later place wins
 * key by key. Works without any file. Never throws for what an administrator wrote: all problems come back at once.
 */
export function loadConfig(options: LoadOptions): Loaded {
  const keys = describeKeys(configSchema)
  const folder = options.folder ?? (options.environment['IOT_AGENT_CONFIG_DIR'] || undefined)
  const layers = [
    ...readFolder(folder ?? CONFIG_FOLDER, keys, folder !== undefined),
    readEnvironment(options.environment, keys),
  ]
  const written = merge(layers)
  const python = findPythonPair(written, options.pythonFolder)
  const findings = merge([...layers, python])
  const judged = judge(configSchema, findings, configRules)
  const unread = [...layers, python].flatMap((layer) => layer.problems)
  if (!judged.ok || unread.length > 0) return { ok: false, problems: [...unread, ...soundly(judged, unread)] }
  return {
    ok: true,
    value: deriveConfig(judged.value),
    origins: originsOf(keys, findings),
    overridden: overriddenIn(layers),
  }
}

/** Nobody can tell what is missing while a file could not be read: it may stand there. */
function soundly(judged: Judgement<unknown>, unread: readonly Problem[]): readonly Problem[] {
  if (judged.ok) return []
  const torn = unread.some((problem) => problem.key === undefined)
  return judged.problems.filter((problem) => !torn || problem.origin !== undefined)
}

function merge(layers: readonly Layer[]): ReadonlyMap<string, Found> {
  return new Map(layers.flatMap((layer) => [...layer.found]))
}

/**
 * The pair that the Python client took by default, for a device that is configured as it was for that client: DEVICE_ID
 * from the environment, no pair named anywhere, and both files there. Where nobody may look, that is a problem: to go on
 * would make a new key for a device that has one.
 */
function findPythonPair(written: ReadonlyMap<string, Found>, folder: string | undefined): Layer {
  const nothing: Layer = { found: new Map(), problems: [] }
  const id = written.get('device.registrationId')
  if (id?.origin !== 'environment DEVICE_ID' || typeof id.value !== 'string') return nothing
  if (!isRegistrationId(id.value) || pairKeys.some((key) => written.has(key))) return nothing
  const pair = pythonPair(id.value, folder)
  const looks = pairKeys.map((key) => [key, look(pair[key])] as const)
  const problems = looks.flatMap(([key, seen]) =>
    typeof seen === 'object' ? [hidden(key, pair[key], seen.refused)] : [],
  )
  if (looks.some(([, seen]) => seen !== 'there')) return { ...nothing, problems }
  return { found: new Map(pairKeys.map((key) => [key, { value: pair[key], origin: 'python default' }])), problems: [] }
}

function hidden(key: string, path: string, refused: string): Problem {
  return {
    key,
    value: undefined,
    problem: `The Python client used ${path} by default, and the agent may not look whether it is there (${refused}).`,
    remedy:
      'Let the user of the agent enter the folder; or name the pair with CERT_PATH and KEY_PATH; or write device.registrationId in config.toml in place of DEVICE_ID.',
    origin: 'python default',
  }
}

function originsOf(keys: ReturnType<typeof describeKeys>, findings: ReadonlyMap<string, Found>): Origins {
  return Object.fromEntries(
    keys.flatMap((info) => {
      const origin = findings.get(info.key)?.origin ?? (info.defaultValue === undefined ? undefined : 'default')
      return origin === undefined ? [] : [[info.key, origin]]
    }),
  )
}

function overriddenIn(layers: readonly Layer[]): Readonly<Record<string, readonly Origin[]>> {
  const places: Record<string, Origin[]> = {}
  for (const layer of layers)
    for (const [key, { origin }] of layer.found) places[key] = [origin, ...(places[key] ?? [])]
  return Object.fromEntries(
    Object.entries(places).flatMap(([key, origins]) => (origins.length > 1 ? [[key, origins.slice(1)]] : [])),
  )
}
