import type { Failure, FailureCode } from '../failure.ts'
import { nameOf } from './credential-ref.ts'
import type { Lane } from './credential-ref.ts'
import type { Waiting } from './due.ts'
import type { AuthRecord } from './journal.ts'
import { activeOf, moveOf } from './lifecycle.ts'
import type { Cause, Lifecycle, Phase, Verdict } from './lifecycle.ts'
import { lastDay } from './memory.ts'
import type { Attempt, FallenBack, Memory, Retirement } from './memory.ts'
import type { AuthPolicy, Inventory } from './policy.ts'

/** `sas` by way of DPS, `sasDirect` with a device connection string. */
export type LaneInUse = 'x509' | 'sas' | 'sasDirect'

/** The phase of the life cycle in the words of a technician. */
export type AuthState = 'active' | 'awaitingCertificate' | Exclude<Phase, 'steady'>

/** The move under way. Times are wall time in milliseconds, here and below. */
export interface MoveView {
  readonly to: Lane
  readonly cause: Cause
  readonly sinceMs: number
  /** `sas`, `gen-0003`, `files`; unknown while it is prepared. */
  readonly candidate?: string
  /** Desired `$version` that asked for it. */
  readonly version?: number
  /** The failure that led to it. */
  readonly because?: FailureCode
  /** Why it is rolled back. */
  readonly verdict?: Verdict
}

/** Without an instant where nobody can say when it passes. */
export type WaitingView = Omit<Waiting, 'untilMs'> & { readonly untilMs?: number }

/** The hash-linked trail of every move: number of its last entry, hash of that one, and whether all of it fits together. */
export interface AuditView {
  readonly seq: number
  readonly head: string
  readonly intact: boolean
}

export interface SasView {
  /** There is a secret that can be used, and SAS is not retired. */
  readonly available: boolean
  /** Where the secret came from, as the configuration calls it; never the secret. */
  readonly from?: string
  /** Why the secret that is configured cannot be used. */
  readonly failure?: { readonly code: FailureCode; readonly message: string; readonly advice: string }
  readonly retirement?: Retirement
}

/** How a device stands with its credentials, for everybody who shows it: the twin, `status` and the warnings. */
export interface AuthView {
  readonly mode: Lane
  readonly lane: LaneInUse
  readonly state: AuthState
  readonly awaitingSinceMs?: number
  readonly move?: MoveView
  /** A wish that is not dealt with yet, and what stands in its way. */
  readonly waiting?: WaitingView
  /** The last moves, newest last. */
  readonly history: readonly Attempt[]
  readonly fallback: {
    readonly enabled: boolean
    /** No fallback begins after it. */
    readonly untilMs?: number
    readonly leftToday: number
    /** While the device is on SAS because X.509 was refused. */
    readonly active?: FallenBack
  }
  readonly sas: SasView
  readonly x509ProvenSinceMs?: number
  readonly audit?: AuditView
}

/** What the view is made from. */
export interface AuthFacts {
  readonly nowMs: number
  readonly record: Pick<AuthRecord, 'lifecycle' | 'memory'>
  readonly policy: Pick<AuthPolicy, 'born' | 'fallback'>
  readonly sas: Inventory['sas']
  /** Where the SAS secret is; `direct` when it is a device connection string. */
  readonly sasSecret?: { readonly from: string; readonly direct: boolean } | undefined
  /** Since when the issuer is waited for. */
  readonly awaitingSinceMs?: number | undefined
  /** What policy says about the wish that waits; without it, a move that is tried again speaks for itself. */
  readonly waiting?: Waiting | undefined
  readonly audit?: AuditView | undefined
}

export function viewAuth(facts: AuthFacts): AuthView {
  const { lifecycle, memory } = facts.record
  const mode = laneOf(lifecycle) ?? facts.policy.born
  const awaitingSinceMs = isPreparing(lifecycle) ? facts.awaitingSinceMs : undefined
  const move = viewMove(lifecycle)
  const waiting = viewWaiting(facts.waiting ?? retryOf(memory), facts.nowMs)
  const { x509ProvenSinceMs } = memory
  return {
    mode,
    lane: mode === 'sas' && facts.sasSecret?.direct === true ? 'sasDirect' : mode,
    state: stateOf(lifecycle, awaitingSinceMs),
    ...(awaitingSinceMs !== undefined && { awaitingSinceMs }),
    ...(move && { move }),
    ...(waiting && { waiting }),
    history: memory.history,
    fallback: viewFallback(facts),
    sas: viewSas(facts),
    ...(x509ProvenSinceMs !== undefined && { x509ProvenSinceMs }),
    ...(facts.audit && { audit: facts.audit }),
  }
}

/** A candidate that has proved itself counts, although the record of it is not written yet. */
function laneOf(lifecycle: Lifecycle): Lane | undefined {
  return lifecycle.phase === 'committing' ? lifecycle.candidate.lane : activeOf(lifecycle)?.lane
}

function stateOf({ phase }: Lifecycle, awaitingSinceMs: number | undefined): AuthState {
  if (awaitingSinceMs !== undefined) return 'awaitingCertificate'
  return phase === 'steady' ? 'active' : phase
}

function isPreparing({ phase }: Lifecycle): boolean {
  return phase === 'newborn' || phase === 'preparing'
}

function viewMove(lifecycle: Lifecycle): MoveView | undefined {
  const move = moveOf(lifecycle)
  if (move === undefined) return undefined
  const { to, cause, version, because, atMs } = move
  return {
    ...{ to, cause, sinceMs: atMs },
    ...('candidate' in lifecycle && { candidate: nameOf(lifecycle.candidate) }),
    ...(version !== undefined && { version }),
    ...(because !== undefined && { because }),
    ...('verdict' in lifecycle && { verdict: lifecycle.verdict }),
  }
}

/**
 * What is looked at again within a minute or so has no known end, and its instant moves on with each look: whoever
 * reports it would report something new every minute.
 */
const SOON_MS = 90_000

function viewWaiting(waiting: Waiting | undefined, nowMs: number): WaitingView | undefined {
  if (waiting === undefined) return undefined
  const { untilMs, ...others } = waiting
  return untilMs - nowMs < SOON_MS ? others : { ...others, untilMs }
}

/** A move that did not reach its aim and is tried again. */
function retryOf({ retry, history }: Memory): Waiting | undefined {
  if (retry === undefined) return undefined
  const { code = 'AUTH_INTERRUPTED', reason = 'the move is tried again' } = history.at(-1) ?? {}
  return { code, reason, untilMs: retry.notBeforeMs }
}

function viewFallback({ nowMs, record, policy }: AuthFacts): AuthView['fallback'] {
  const { enabled, untilMs, perDay } = policy.fallback
  const { fallbacks, fallenBack } = record.memory
  return {
    enabled,
    ...(untilMs !== undefined && { untilMs }),
    leftToday: Math.max(0, perDay - lastDay(fallbacks, nowMs).length),
    ...(fallenBack && { active: fallenBack }),
  }
}

function viewSas({ sas, sasSecret, record }: AuthFacts): SasView {
  const { retirement } = record.memory
  return {
    available: sas === 'ready' && retirement === undefined,
    ...(sasSecret && { from: sasSecret.from }),
    ...(typeof sas === 'object' && { failure: viewFailure(sas) }),
    ...(retirement && { retirement }),
  }
}

function viewFailure({ code, message, advice }: Failure): NonNullable<SasView['failure']> {
  return { code, message, advice }
}
