import type { MachineRoot } from '../system/machine-files.ts'
import { thisMachine } from '../system/machine-identity.ts'
import { fillDeviceId } from './device-id.ts'
import { asWritten, settle } from './entries.ts'
import type { Settled } from './entries.ts'
import { judge } from './judge.ts'
import type { Found, Layer } from './flatten.ts'
import { deriveConfig } from './paths.ts'
import type { Config } from './paths.ts'
import type { Origin, Problem } from './problems.ts'
import { configRules, isRegistrationId, pairKeys, pythonPair } from './rules.ts'
import { configSchema } from './schema.ts'
import { describeTables } from './setting.ts'
import type { KeyInfo } from './setting.ts'
import { look, readDropIns, readEnvironment, readFolder } from './sources.ts'
import type { Environment } from './sources.ts'

/** Where the administrator's files are when nothing else is said. */
export const CONFIG_FOLDER = '/etc/iot-device-agent'

/** Where the builder of an image leaves defaults, as /etc may be empty there. */
const VENDOR_FOLDER = '/usr/lib/iot-device-agent/config.d'

export interface LoadOptions {
  /** Usually `process.env`. */
  readonly environment: Environment
  /** Folder of config.toml and config.d; else IOT_AGENT_CONFIG_DIR, else `CONFIG_FOLDER`. Named, it must exist. */
  readonly folder?: string
  /** Folder of the image builder's `*.toml`; need not exist. */
  readonly vendorFolder?: string
  /** Where the Python client kept its pairs. */
  readonly pythonFolder?: string
  /** What a registration ID is filled in from. */
  readonly machine?: MachineRoot
}

/** Where every value comes from, keyed as in `telemetry.intervalSeconds`. A key without value has no origin. */
export type Origins = Readonly<Record<string, Origin>>

export type Loaded =
  | {
      readonly ok: true
      readonly value: Config
      /** Every key that there is, in the order of the schema: those of each entry of a list as in `telemetry.command[0].name`. */
      readonly keys: readonly KeyInfo[]
      readonly origins: Origins
      /** For keys that are written more than once: the places that lost, strongest first. */
      readonly overridden: Readonly<Record<string, readonly Origin[]>>
    }
  | { readonly ok: false; readonly problems: readonly Problem[] }

/**
 * Reads the whole configuration: the image builder's defaults, config.toml, then config.d in name order, the environment
 * last; a later place wins key by key, in a list of tables entry by entry. A registration ID that is a template is filled
 * in from the machine. Works without any file. Never throws for what an administrator wrote: all problems come back at once.
 */
export function loadConfig(options: LoadOptions): Loaded {
  const tables = describeTables(configSchema)
  const folder = options.folder ?? (options.environment['IOT_AGENT_CONFIG_DIR'] || undefined)
  const layers = [
    ...readDropIns(options.vendorFolder ?? VENDOR_FOLDER, tables),
    ...readFolder(folder ?? CONFIG_FOLDER, tables, folder !== undefined),
    readEnvironment(options.environment, tables),
  ]
  const python = findPythonPair(settle(tables, layers).found, options.pythonFolder)
  const all = settle(tables, [...layers, python])
  const filled = fillDeviceId(all.found, options.machine ?? thisMachine)
  const settled = { ...all, found: filled.found }
  const judged = judge(configSchema, settled.keys, settled.found, configRules)
  const unread = [...layers, python, settled, filled].flatMap(({ problems }) => problems)
  if (!judged.ok || unread.length > 0) {
    const wrong = judged.ok ? [] : judged.problems.map((problem) => asWritten(problem, settled.entries))
    return { ok: false, problems: [...unread, ...soundly(wrong, unread)] }
  }
  return {
    ok: true,
    value: deriveConfig(judged.value),
    keys: settled.keys,
    origins: originsOf(settled),
    overridden: overriddenIn(layers, settled),
  }
}

/**
 * Nobody can tell what is missing while a file could not be read: it may stand there. And what stands there in another
 * shape is not missing.
 */
function soundly(wrong: readonly Problem[], unread: readonly Problem[]): readonly Problem[] {
  const torn = unread.some((problem) => problem.key === undefined)
  const isThere = ({ key, value, origin }: Problem) =>
    value === undefined && unread.some((other) => other.key === key && (origin ?? other.origin) === other.origin)
  return wrong.filter((problem) => (!torn || problem.origin !== undefined) && !isThere(problem))
}

/**
 * The pair that the Python client took by default, for a device that is configured as it was for that client: DEVICE_ID
 * from the environment, no pair named anywhere, and both files there. Where nobody may look, that is a problem: to go on
 * would make a new key for a device that has one.
 */
function findPythonPair(written: ReadonlyMap<string, Found>, folder: string | undefined): Layer {
  const nothing: Layer = { found: new Map(), entries: [], problems: [] }
  const id = written.get('device.registrationId')
  if (id?.origin !== 'environment DEVICE_ID' || typeof id.value !== 'string') return nothing
  if (!isRegistrationId(id.value) || pairKeys.some((key) => written.has(key))) return nothing
  const pair = pythonPair(id.value, folder)
  const looks = pairKeys.map((key) => [key, look(pair[key])] as const)
  const problems = looks.flatMap(([key, seen]) =>
    typeof seen === 'object' ? [hidden(key, pair[key], seen.refused)] : [],
  )
  if (looks.some(([, seen]) => seen !== 'there')) return { ...nothing, problems }
  return { ...nothing, found: new Map(pairKeys.map((key) => [key, { value: pair[key], origin: 'python default' }])) }
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

function originsOf({ keys, found }: Settled): Origins {
  return Object.fromEntries(
    keys.flatMap((info) => {
      const origin = found.get(info.key)?.origin ?? (info.defaultValue === undefined ? undefined : 'default')
      return origin === undefined ? [] : [[info.key, origin]]
    }),
  )
}

/** An entry of a list is replaced whole: what lost stands with the key that tells the entries apart. */
function overriddenIn(layers: readonly Layer[], { entries }: Settled): Readonly<Record<string, readonly Origin[]>> {
  const places: Record<string, Origin[]> = {}
  for (const layer of layers)
    for (const [key, { origin }] of layer.found) places[key] = [origin, ...(places[key] ?? [])]
  const plain = Object.entries(places).map(([key, origins]) => [key, origins.slice(1)] as const)
  const inLists = entries.map(({ identityKey, overrides }) => [identityKey, overrides] as const)
  return Object.fromEntries([...plain, ...inLists].filter(([, lost]) => lost.length > 0))
}
