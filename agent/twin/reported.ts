import type { Warning } from '../health/tracker.ts'
import { isObject } from './json.ts'
import type { Json, JsonObject } from './json.ts'
import { fitTwin } from './limits.ts'
import type { Acknowledgement } from './reconcile.ts'

/** The certificate that the device proves itself with; times in ISO 8601. */
export interface ReportedCertificate {
  readonly thumbprintSha256: string
  readonly thumbprintSha1: string
  readonly subject: string
  readonly issuer: string
  readonly serial: string
  readonly notBefore: string
  readonly notAfter: string
  /** The issuer adapter that brought it, or `file` for one that was there. */
  readonly issuedBy: string
}

export interface ReportFacts {
  readonly auth: {
    readonly mode: 'x509'
    readonly lane: 'x509'
    readonly state: 'active' | 'awaitingCertificate'
    readonly certificate?: ReportedCertificate
  }
  readonly agent: {
    readonly version: string
    readonly runtime: string
    readonly arch: string
    readonly os: string
    readonly startedAtMs: number
  }
  readonly outbox: { readonly depth: number; readonly bytes: number; readonly dropped: number }
  readonly warnings: readonly Pick<Warning, 'code' | 'sinceMs'>[]
  readonly acknowledgements: readonly Acknowledgement[]
}

/** Sections of the reported properties that are ours, whatever is in them; others are never touched. */
const sections = ['auth', 'agent', 'outbox', 'warnings', 'telemetry', 'log'] as const

/** Warnings that are reported at most; there are fewer codes than that. */
const MAX_WARNINGS = 32

/** Builds the whole reported part; it fits into a twin (`twinLimits`) whatever the facts are. */
export function buildReported(facts: ReportFacts): JsonObject {
  const { certificate, ...auth } = facts.auth
  const { startedAtMs, ...agent } = facts.agent
  return fitTwin({
    auth: { ...auth, ...(certificate !== undefined && { certificate: certificateJson(certificate) }) },
    agent: { ...agent, startedAt: isoTime(startedAtMs) },
    outbox: { ...facts.outbox },
    warnings: facts.warnings.slice(0, MAX_WARNINGS).map(({ code, sinceMs }) => ({ code, since: isoTime(sinceMs) })),
    ...answers(facts.acknowledgements),
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

/** Only what the contract names, whatever else the caller knows of the certificate. */
function certificateJson(certificate: ReportedCertificate): JsonObject {
  const { thumbprintSha256, thumbprintSha1, subject, issuer, serial, notBefore, notAfter, issuedBy } = certificate
  return { thumbprintSha256, thumbprintSha1, subject, issuer, serial, notBefore, notAfter, issuedBy }
}

/** `telemetry.intervalSeconds` → `{ telemetry: { intervalSeconds: { value, ac, av, ad } } }` */
function answers(acknowledgements: readonly Acknowledgement[]): JsonObject {
  const document: Record<string, Record<string, Json>> = {}
  for (const { key, ...answer } of acknowledgements) {
    const [section = '', name = ''] = splitOnce(key)
    document[section] = { ...document[section], [name]: answer }
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
