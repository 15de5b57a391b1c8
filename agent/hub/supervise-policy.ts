import type { Failure, FailureCode } from '../failure.ts'
import { backoffMs } from '../system/backoff.ts'
import type { BackoffLimits } from '../system/backoff.ts'

/** What counts for the next step. All instants are monotonic milliseconds. */
export interface History {
  /** Failures since the last session that lasted; the exponent of the backoff towards the hub. */
  readonly attempts: number
  /** Failures in a row that may be the answer to our identity, since a session lasted or DPS was asked. */
  readonly hubFailures: number
  /** The first failure of whatever kind since then. */
  readonly hubFailingSinceMs: number | undefined
  /** How long the hub may fail before DPS is asked; drawn once so that a fleet does not go there together. */
  readonly patienceMs: number
  /** Registrations in a row, since a session lasted, that assigned the hub and device ID which the device had. */
  readonly unchanged: number
  /** Refusals in a row, of DPS and hub together: they are answered with minutes, not seconds. */
  readonly refusals: number
  /** Registrations in a row that failed without a refusal. */
  readonly dpsFailures: number
  /** DPS is not asked again before: a minute after the last time, and as DPS itself wished. */
  readonly dpsNotBeforeMs: number
  readonly last: { readonly from: 'dps' | 'hub'; readonly failure: Failure } | undefined
  /** When a session last ended to go on with a new token. */
  readonly renewedAtMs: number | undefined
}

/** What happened to the connection. */
export type LinkEvent =
  | { readonly event: 'connectFailed'; readonly failure: Failure; readonly nowMs: number }
  | { readonly event: 'sessionEnded'; readonly failure: Failure; readonly livedMs: number; readonly nowMs: number }
  /** `changed`: hub or device ID are not those of the assignment before. */
  | { readonly event: 'registered'; readonly changed: boolean; readonly nowMs: number }
  | { readonly event: 'registrationFailed'; readonly failure: Failure; readonly nowMs: number }

/** What to do next, and after how many milliseconds. */
export interface Step {
  readonly step: 'connect' | 'register'
  readonly inMs: number
}

/** Consecutive failures after which DPS is asked. Source: azure-sdk-for-c, sdk/docs/iot/mqtt_state_machine.md. */
const MAX_HUB_FAILURES = 10

/**
 * Bounds of `patienceMs`. DPS bills each registration and takes 1,000 a minute from a whole fleet, so network trouble
 * waits 15 to 30 minutes. Source: azure-docs, concepts-manage-device-reconnections and how-to-reprovision.
 */
const PATIENCE_MS = { min: 15 * 60_000, max: 30 * 60_000 }

/** Longest patience: it doubles with each registration that changed nothing, because DPS then cannot help. */
const MAX_PATIENCE_MS = 4 * 3_600_000

/** Least time between two registrations that reached DPS. Source: as for `PATIENCE_MS`. */
const DPS_SPACING_MS = 60_000

/** A shorter session does not count as success: two clients with one device ID end each other within a second. */
const LASTING_MS = 60_000

/** A session that ends to be renewed so soon after another is not at its token's end: it is taken as any other end. */
const RENEWAL_SPACING_MS = 60_000

const HUB: BackoffLimits = { baseMs: 1_000, capMs: 120_000 }
const HUB_THROTTLED: BackoffLimits = { baseMs: 10_000, capMs: 120_000 }
const DPS: BackoffLimits = { baseMs: 5_000, capMs: 600_000 }
const REFUSED: BackoffLimits = { baseMs: 120_000, capMs: 1_800_000 }

/** The identity is gone or changed in the cloud: only a registration can mend it. */
const IDENTITY_TERMINAL: ReadonlySet<FailureCode> = new Set(['HUB_REFUSED_CREDENTIAL', 'TLS_CREDENTIAL_REFUSED'])

/**
 * The way to the hub, or a hub that is overloaded: says nothing about assignment and identity, however often it comes.
 * A fleet meets these all at once, so that they go to DPS by patience alone.
 */
const NOT_ABOUT_US: ReadonlySet<FailureCode> = new Set([
  'NETWORK_DNS',
  'NETWORK_REFUSED',
  'NETWORK_UNREACHABLE',
  'NETWORK_TIMEOUT',
  'NETWORK_RESET',
  'TLS_SERVER_UNTRUSTED',
  'TLS_SERVER_NAME',
  'TLS_SERVER_DATES',
  'HUB_BUSY',
  'HUB_NO_ANSWER',
])

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
    unchanged: 0,
    patienceMs: PATIENCE_MS.min + random() * (PATIENCE_MS.max - PATIENCE_MS.min),
    refusals: 0,
    dpsFailures: 0,
    dpsNotBeforeMs: 0,
    last: undefined,
    renewedAtMs: undefined,
  }
}

/** Whether a session has ended by our own wish for a new token, which is no failure: the next begins at once. */
export function isRenewal(history: History, event: LinkEvent): boolean {
  if (event.event !== 'sessionEnded' || event.failure.code !== 'SESSION_RENEWED') return false
  return history.renewedAtMs === undefined || event.nowMs - history.renewedAtMs >= RENEWAL_SPACING_MS
}

/** The history with one more event in it. */
export function after(history: History, event: LinkEvent): History {
  if (isRenewal(history, event)) return afterRenewal(history, event.nowMs)
  if (event.event === 'connectFailed') return afterConnectFailed(history, event.failure, event.nowMs)
  if (event.event === 'sessionEnded') return afterSession(history, event.failure, event.livedMs, event.nowMs)
  if (event.event === 'registrationFailed') return afterRegistrationFailed(history, event.failure, event.nowMs)
  const unchanged = event.changed ? 0 : history.unchanged + 1
  const dpsNotBeforeMs = event.nowMs + DPS_SPACING_MS
  return { ...history, ...COUNTED_ANEW, unchanged, dpsFailures: 0, dpsNotBeforeMs, last: undefined }
}

function afterConnectFailed(history: History, failure: Failure, nowMs: number): History {
  return {
    ...history,
    ...withHubFailure(history, failure, nowMs),
    attempts: history.attempts + 1,
    refusals: history.refusals + (failure.kind === 'refused' ? 1 : 0),
    last: { from: 'hub', failure },
  }
}

/**
 * The hub took the credential, so that earlier refusals are settled; a new one can only be of something else. A session
 * that does not last settles no more than that: a hub may take every credential and close.
 */
function afterSession(history: History, failure: Failure, livedMs: number, nowMs: number): History {
  const lasted = livedMs >= LASTING_MS
  return {
    ...history,
    ...(lasted ? { ...COUNTED_ANEW, unchanged: 0 } : withHubFailure(history, failure, nowMs)),
    attempts: lasted ? 1 : history.attempts + 1,
    refusals: failure.kind === 'refused' ? history.refusals + 1 : 0,
    dpsFailures: 0,
    last: { from: 'hub', failure },
  }
}

/** It worked until we ended it, however short it was: whatever failed before is settled. */
function afterRenewal(history: History, nowMs: number): History {
  const settled = { attempts: 0, unchanged: 0, refusals: 0, dpsFailures: 0, last: undefined }
  return { ...history, ...COUNTED_ANEW, ...settled, renewedAtMs: nowMs }
}

function afterRegistrationFailed(history: History, failure: Failure, nowMs: number): History {
  const refused = failure.kind === 'refused'
  const spacing = NOT_REACHED.has(failure.code) ? 0 : DPS_SPACING_MS
  return {
    ...history,
    ...COUNTED_ANEW,
    refusals: history.refusals + (refused ? 1 : 0),
    dpsFailures: refused ? 0 : history.dpsFailures + 1,
    dpsNotBeforeMs: nowMs + Math.max(spacing, failure.retryAfterMs ?? 0),
    last: { from: 'dps', failure },
  }
}

/** One more step towards DPS. */
function withHubFailure(history: History, failure: Failure, nowMs: number): Partial<History> {
  return {
    hubFailures: history.hubFailures + (NOT_ABOUT_US.has(failure.code) ? 0 : 1),
    hubFailingSinceMs: history.hubFailingSinceMs ?? nowMs,
  }
}

/** Starts the count towards DPS anew. */
const COUNTED_ANEW = { hubFailures: 0, hubFailingSinceMs: undefined }

/**
 * The next step. It always exists: the agent never gives up. The cached assignment comes first; DPS is asked without
 * one, after a refusal that only DPS can mend, after many failures that may be about our identity, and after a long time
 * of any. Once a registration has changed nothing, only time counts, and more of it. After a failed registration the hub
 * has its turn again.
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
  const { last, hubFailures, hubFailingSinceMs, unchanged } = history
  if (last?.from === 'hub' && hubFailures > 0 && IDENTITY_TERMINAL.has(last.failure.code)) return true
  if (hubFailures >= MAX_HUB_FAILURES && unchanged === 0) return true
  return hubFailingSinceMs !== undefined && nowMs - hubFailingSinceMs >= patienceOf(history)
}

function patienceOf({ patienceMs, unchanged }: History): number {
  return Math.min(MAX_PATIENCE_MS, patienceMs * 2 ** Math.min(unchanged, 10))
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
