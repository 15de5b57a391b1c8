import type { ClockTrust } from '../credential/policy.ts'
import type { Warning } from '../health/tracker.ts'
import { isObject, present } from './json.ts'
import type { Json, JsonObject } from './json.ts'
import { fitTwin } from './limits.ts'
import { COMPONENT, COMPONENT_KEY } from './model.ts'
import type { Acknowledgement } from './reconcile.ts'
import { reportedAuth } from './reported-auth.ts'
import type { AuthReportFacts } from './reported-auth.ts'

export type { AuthReportFacts, ReportedCertificate } from './reported-auth.ts'

export interface ReportFacts {
  readonly auth: AuthReportFacts
  readonly agent: {
    readonly version: string
    readonly runtime: string
    readonly arch: string
    readonly os: string
    readonly startedAtMs: number
  }
  readonly clock: { readonly trust: ClockTrust; readonly skewSeconds?: number | undefined }
  readonly outbox: OutboxFacts
  readonly warnings: readonly Pick<Warning, 'code' | 'sinceMs'>[]
  readonly acknowledgements: readonly Acknowledgement[]
}

export interface OutboxFacts {
  readonly depth: number
  readonly bytes: number
  /** Wall time in milliseconds at which the oldest sample came in. */
  readonly oldestAtMs?: number
  /** Samples given up, by cause. */
  readonly dropped: Readonly<Record<'full' | 'expired' | 'refused' | 'torn', number>>
  readonly place: 'disk' | 'memory' | 'mending'
}

/** Sections of the reported properties that are ours, whatever is in them; others are never touched. */
const sections = ['auth', 'agent', 'clock', 'outbox', 'warnings', 'telemetry', 'log'] as const

/** Warnings that are reported at most; there are fewer codes than that. */
const MAX_WARNINGS = 32

/** Builds the whole reported part; it fits into a twin (`twinLimits`) whatever the facts are. */
export function buildReported(facts: ReportFacts): JsonObject {
  const { startedAtMs, ...agent } = facts.agent
  const { trust, skewSeconds } = facts.clock
  return fitTwin({
    auth: reportedAuth(facts.auth),
    agent: { ...agent, startedAt: isoTime(startedAtMs) },
    clock: present({ trusted: trust === 'trusted', skewSeconds: skewSeconds && Math.round(skewSeconds) }),
    outbox: reportedOutbox(facts.outbox),
    warnings: facts.warnings.slice(0, MAX_WARNINGS).map(({ code, sinceMs }) => ({ code, since: isoTime(sinceMs) })),
    ...answers(facts.acknowledgements),
  })
}

function reportedOutbox({ depth, bytes, oldestAtMs, dropped, place }: OutboxFacts): JsonObject {
  const { full, expired, refused, torn } = dropped
  return present({
    ...{ depth, bytes },
    oldest: oldestAtMs === undefined ? undefined : isoTime(oldestAtMs),
    dropped: full + expired + refused + torn,
    droppedBy: { full, expired, refused, torn },
    place,
  })
}

/** What of the reported properties in the hub is ours: where `difference` starts from after a restart. */
export function ourPart(reported: unknown): JsonObject {
  if (!isObject(reported)) return {}
  const ours = sections.flatMap((section) => {
    const value = reported[section]
    return value === undefined ? [] : [[section, value as Json] as const]
  })
  return Object.fromEntries(ours)
}

/** `telemetry.intervalSeconds` → `{ telemetry: { __t: 'c', intervalSeconds: { value, ac, av, ad } } }` */
function answers(acknowledgements: readonly Acknowledgement[]): JsonObject {
  const document: Record<string, Record<string, Json>> = {}
  for (const { key, ...answer } of acknowledgements) {
    const [section = '', name = ''] = splitOnce(key)
    document[section] = { [COMPONENT_KEY]: COMPONENT, ...document[section], [name]: answer }
  }
  return document
}

function splitOnce(key: string): readonly string[] {
  const dot = key.indexOf('.')
  return dot < 0 ? [key] : [key.slice(0, dot), key.slice(dot + 1)]
}

function isoTime(ms: number): string {
  return new Date(ms).toISOString()
}
