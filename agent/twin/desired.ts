import type { AuthWishes } from '../credential/rotation-ports.ts'
import type { LogLevel } from '../system/log.ts'
import { isObject } from './json.ts'
import { COMPONENT_KEY } from './model.ts'

/** What the cloud wishes. A wish that is absent leaves the matter to the configuration. */
export interface Wishes {
  readonly intervalSeconds?: number
  readonly logLevel?: LogLevel
  readonly auth?: Omit<AuthWishes, 'version'>
}

/** A desired key that is not followed, and why. */
export interface Refusal {
  /** `telemetry.intervalSeconds` */
  readonly key: string
  /** 400 the value is bad, 404 there is no such setting. */
  readonly status: 400 | 404
  readonly reason: string
}

export interface Desired {
  /** `$version` of the document, which every answer carries. */
  readonly version: number
  readonly wishes: Wishes
  readonly refusals: readonly Refusal[]
}

export type DesiredResult =
  | { readonly ok: true; readonly value: Desired }
  | { readonly ok: false; readonly problems: readonly string[] }

/** Seconds between two samples that may be wished: 1 s to 1 day. */
export const intervalBounds = { min: 1, max: 86_400 } as const

/** The level below which nothing is logged. Silence is not among them: a device must always say what broke. */
const levels: Readonly<Record<LogLevel, true>> = { debug: true, info: true, warn: true, error: true }

const modes: Readonly<Record<'x509' | 'sas', true>> = { x509: true, sas: true }

/** Characters of `auth.renew`, which is compared and never read. */
const MAX_RENEW_LENGTH = 128

type Judged<T> = { readonly wish: T } | { readonly reason: string }

const settings = {
  'telemetry.intervalSeconds': (value: unknown): Judged<Wishes> =>
    isInterval(value)
      ? { wish: { intervalSeconds: value } }
      : { reason: `must be a whole number from ${intervalBounds.min} to ${intervalBounds.max}, is ${show(value)}` },
  'log.level': (value: unknown): Judged<Wishes> =>
    isLevel(value)
      ? { wish: { logLevel: value } }
      : { reason: `must be one of ${Object.keys(levels).join(', ')}, is ${show(value)}` },
  'auth.mode': (value: unknown): Judged<Wishes> =>
    isMode(value)
      ? { wish: { auth: { mode: value } } }
      : { reason: `must be one of ${Object.keys(modes).join(', ')}, is ${show(value)}` },
  'auth.renew': (value: unknown): Judged<Wishes> =>
    isRenew(value)
      ? { wish: { auth: { renew: value } } }
      : { reason: `must be a text of 1 to ${MAX_RENEW_LENGTH} characters, is ${show(value)}` },
  // What is retired stays so: false wishes nothing.
  'auth.sasRetired': (value: unknown): Judged<Wishes> => {
    if (typeof value !== 'boolean') return { reason: `must be true or false, is ${show(value)}` }
    return { wish: value ? { auth: { sasRetired: true } } : {} }
  },
} as const

type SettingName = keyof typeof settings

/** Sections of which every key is ours. What else is at the top belongs to other programs and is none of our business. */
const sections = ['telemetry', 'log', 'auth'] as const

/** Unknown keys of a section that are answered, longer ones never: the answers must fit into the twin in any case. */
const MAX_UNKNOWN_KEYS = 8
const MAX_UNKNOWN_LENGTH = 64

/**
 * Reads a whole desired document. Each key is judged alone: a bad one becomes a refusal and disturbs no other.
 * A key that is null or missing is no wish.
 */
export function readDesired(document: unknown): DesiredResult {
  if (!isObject(document)) return { ok: false, problems: [`the desired properties are ${show(document)}, no object`] }
  const version = document['$version']
  if (typeof version !== 'number' || !Number.isSafeInteger(version)) {
    return { ok: false, problems: [`$version must be a whole number, is ${show(version)}`] }
  }
  let wishes: Wishes = {}
  const refusals: Refusal[] = []
  for (const section of sections) {
    const judged = readSection(section, document[section])
    wishes = together(wishes, judged.wishes)
    refusals.push(...judged.refusals)
  }
  return { ok: true, value: { version, wishes, refusals } }
}

function readSection(section: string, value: unknown): Pick<Desired, 'wishes' | 'refusals'> {
  if (value === undefined || value === null) return { wishes: {}, refusals: [] }
  if (!isObject(value)) {
    const reason = `${section} must be an object, is ${show(value)}`
    return { wishes: {}, refusals: namesIn(section).map((key) => ({ key, status: 400, reason })) }
  }
  let wishes: Wishes = {}
  const refusals: Refusal[] = unknownKeys(section, value)
  for (const key of namesIn(section)) {
    const wished = value[key.slice(section.length + 1)]
    if (wished === undefined || wished === null) continue
    const judged = settings[key](wished)
    if ('wish' in judged) wishes = together(wishes, judged.wish)
    else refusals.push({ key, status: 400, reason: judged.reason })
  }
  return { wishes, refusals }
}

function together(one: Wishes, other: Wishes): Wishes {
  return { ...one, ...other, ...(one.auth && other.auth && { auth: { ...one.auth, ...other.auth } }) }
}

function unknownKeys(section: string, value: Readonly<Record<string, unknown>>): Refusal[] {
  const known: readonly string[] = namesIn(section)
  const isKnown = (name: string) => name === COMPONENT_KEY || known.includes(`${section}.${name}`)
  return Object.entries(value)
    .filter(([name, wished]) => wished !== null && name.length <= MAX_UNKNOWN_LENGTH && !isKnown(name))
    .slice(0, MAX_UNKNOWN_KEYS)
    .map(([name]) => ({
      key: `${section}.${name}`,
      status: 404,
      reason: `no such setting; ${section} has: ${known.map((key) => key.slice(section.length + 1)).join(', ')}`,
    }))
}

function namesIn(section: string): readonly SettingName[] {
  return (Object.keys(settings) as SettingName[]).filter((name) => name.startsWith(`${section}.`))
}

function isInterval(value: unknown): value is number {
  return Number.isInteger(value) && Number(value) >= intervalBounds.min && Number(value) <= intervalBounds.max
}

function isLevel(value: unknown): value is LogLevel {
  return typeof value === 'string' && Object.hasOwn(levels, value)
}

function isMode(value: unknown): value is keyof typeof modes {
  return typeof value === 'string' && Object.hasOwn(modes, value)
}

function isRenew(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= MAX_RENEW_LENGTH
}

/** A value as it stands in a reason: its JSON, shortened. */
function show(value: unknown): string {
  const text = JSON.stringify(value) ?? 'missing'
  return text.length > 80 ? `${text.slice(0, 80)}…` : text
}
