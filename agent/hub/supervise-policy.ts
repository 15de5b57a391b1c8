import type { Failure, FailureCode } from '../failure.ts'
import { backoffMs } from '../system/backoff.ts'
import type { BackoffLimits } from '../system/backoff.ts'

/** What counts for the next step. All instants are monotonic milliseconds. */
export interface History {
  /** Failures since the last session that lasted; the exponent of the backoff towards the hub. */
  readonly attempts: number
  /** Failed connections in a row, since the hub last answered or DPS was last asked. */
  readonly hubFailures: number
  readonly hubFailingSinceMs: number | undefined
  /** How long the hub may fail before DPS is asked; drawn once so that a fleet does not go there together. */
  readonly patienceMs: number
  /** Refusals in a row, of DPS and hub together: they are answered with minutes, not seconds. */
  readonly refusals: number
  /** Registrations in a row that failed without a refusal. */
  readonly dpsFailures: number
  /** DPS is not asked again before: a minute after the last time, and as DPS itself wished. */
  readonly dpsNotBeforeMs: number
  readonly last: { readonly from: 'dps' | 'hub'; readonly failure: Failure } | undefined
}

/** What happened to the connection. */
export type LinkEvent =
  | { readonly event: 'connectFailed'; readonly failure: Failure; readonly nowMs: number }
  | { readonly event: 'sessionEnded'; readonly failure: Failure; readonly livedMs: number; readonly nowMs: number }
  | { readonly event: 'registered'; readonly nowMs: number }
  | { readonly event: 'registrationFailed'; readonly failure: Failure; readonly nowMs: number }

/** What to do next, and after how many milliseconds. */
export interface Step {
  readonly step: 'connect' | 'register'
  readonly inMs: number
}

/** Consecutive failures of the hub after which DPS is asked. Source: azure-docs, concepts-deploy-at-scale. */
const MAX_HUB_FAILURES = 10

/** Bounds of `patienceMs`. Source: the same page, 15 to 30 minutes. */
const PATIENCE_MS = { min: 15 * 60_000, max: 30 * 60_000 }

/** Least time between two registrations that reached DPS. Source: the same page. */
const DPS_SPACING_MS = 60_000

/** A shorter session does not count as success: two clients with one device ID end each other within a second. */
const LASTING_MS = 60_000

const HUB: BackoffLimits = { baseMs: 1_000, capMs: 120_000 }
const HUB_THROTTLED: BackoffLimits = { baseMs: 10_000, capMs: 120_000 }
const DPS: BackoffLimits = { baseMs: 5_000, capMs: 600_000 }
const REFUSED: BackoffLimits = { baseMs: 120_000, capMs: 1_800_000 }

/** The identity is gone or changed in the cloud: only a registration can mend it. */
const IDENTITY_TERMINAL: ReadonlySet<FailureCode> = new Set(['HUB_REFUSED_CREDENTIAL', 'TLS_CREDENTIAL_REFUSED'])

/** DPS never heard of the attempt, so it does not count against the one a minute. */
const NOT_REACHED: ReadonlySet<FailureCode> = new Set([
  'NETWORK_DNS',
  'NETWORK_REFUSED',
  'NETWORK_UNREACHABLE',
  'NETWORK_TIMEOUT',
  'TLS_LOCAL_CREDENTIAL',
])

/** @param random uniform in [0, 1) */
export function freshHistory(random: () => number): History {
  return {
    attempts: 0,
    hubFailures: 0,
    hubFailingSinceMs: undefined,
    patienceMs: PATIENCE_MS.min + random() * (PATIENCE_MS.max - PATIENCE_MS.min),
    refusals: 0,
    dpsFailures: 0,
    dpsNotBeforeMs: 0,
    last: undefined,
  }
}

/** The history with one more event in it. */
export function after(history: History, event: LinkEvent): History {
  if (event.event === 'connectFailed') return afterConnectFailed(history, event.failure, event.nowMs)
  if (event.event === 'sessionEnded') return afterSession(history, event.failure, event.livedMs)
  if (event.event === 'registrationFailed') return afterRegistrationFailed(history, event.failure, event.nowMs)
  const dpsNotBeforeMs = event.nowMs + DPS_SPACING_MS
  return { ...history, ...HUB_ANSWERED, dpsFailures: 0, dpsNotBeforeMs, last: undefined }
}

function afterConnectFailed(history: History, failure: Failure, nowMs: number): History {
  return {
    ...history,
    attempts: history.attempts + 1,
    hubFailures: history.hubFailures + 1,
    hubFailingSinceMs: history.hubFailingSinceMs ?? nowMs,
    refusals: history.refusals + (failure.kind === 'refused' ? 1 : 0),
    last: { from: 'hub', failure },
  }
}

/** The hub took the credential, so that earlier refusals are settled; a new one can only be of something else. */
function afterSession(history: History, failure: Failure, livedMs: number): History {
  return {
    ...history,
    ...HUB_ANSWERED,
    attempts: livedMs >= LASTING_MS ? 1 : history.attempts + 1,
    refusals: failure.kind === 'refused' ? history.refusals + 1 : 0,
    dpsFailures: 0,
    last: { from: 'hub', failure },
  }
}

function afterRegistrationFailed(history: History, failure: Failure, nowMs: number): History {
  const refused = failure.kind === 'refused'
  const spacing = NOT_REACHED.has(failure.code) ? 0 : DPS_SPACING_MS
  return {
    ...history,
    ...HUB_ANSWERED,
    refusals: history.refusals + (refused ? 1 : 0),
    dpsFailures: refused ? 0 : history.dpsFailures + 1,
    dpsNotBeforeMs: nowMs + Math.max(spacing, failure.retryAfterMs ?? 0),
    last: { from: 'dps', failure },
  }
}

/** Starts the count towards DPS anew. */
const HUB_ANSWERED = { hubFailures: 0, hubFailingSinceMs: undefined }

/**
 * The next step. It always exists: the agent never gives up. The cached assignment comes first; DPS is asked without
 * one, after a refusal that only DPS can mend, and after a long time or many failures. After a failed registration the
 * hub has its turn again.
 *
 * @param random uniform in [0, 1)
 */
export function nextStep(history: History, assigned: boolean, nowMs: number, random: () => number): Step {
  if (assigned && !wantsRegistration(history, nowMs)) {
    return { step: 'connect', inMs: pauseMs(history, random) }
  }
  const heldBack = history.dpsNotBeforeMs - nowMs
  const spread = heldBack > 0 ? heldBack * (1 + random() / 10) : 0
  return { step: 'register', inMs: Math.round(Math.max(pauseMs(history, random), spread)) }
}

function wantsRegistration(history: History, nowMs: number): boolean {
  const { last, hubFailures, hubFailingSinceMs, patienceMs } = history
  if (last?.from === 'hub' && hubFailures > 0 && IDENTITY_TERMINAL.has(last.failure.code)) return true
  if (hubFailures >= MAX_HUB_FAILURES) return true
  return hubFailingSinceMs !== undefined && nowMs - hubFailingSinceMs >= patienceMs
}

function pauseMs(history: History, random: () => number): number {
  if (history.last === undefined) return 0
  const { failure, from } = history.last
  const wished = from === 'hub' ? (failure.retryAfterMs ?? 0) : 0
  const { exponent, limits } = scheduleOf(history, history.last)
  return Math.max(wished, backoffMs(exponent, limits, random))
}

interface Schedule {
  readonly exponent: number
  readonly limits: BackoffLimits
}

function scheduleOf({ attempts, refusals, dpsFailures }: History, last: NonNullable<History['last']>): Schedule {
  const { code, kind } = last.failure
  if (kind === 'refused') {
    // The first word of the hub against the credential is usually a renewal that DPS does not know of yet.
    const first = refusals === 1 && last.from === 'hub' && IDENTITY_TERMINAL.has(code)
    return first ? { exponent: 0, limits: HUB } : { exponent: Math.max(0, refusals - 2), limits: REFUSED }
  }
  if (last.from === 'hub') return { exponent: attempts - 1, limits: code === 'HUB_BUSY' ? HUB_THROTTLED : HUB }
  return { exponent: dpsFailures - 1, limits: NOT_REACHED.has(code) ? HUB : DPS }
}
