import type { FailureCode } from '../failure.ts'
import type { CredentialRef, Lane } from './credential-ref.ts'
import type { Cause, Move, Setback, Verdict } from './lifecycle.ts'

/** What came of one move. Times are wall time in milliseconds. */
export interface Attempt {
  readonly to: Lane
  readonly cause: Cause
  /** Desired `$version` that asked for it. */
  readonly version?: number
  readonly result: 'active' | Setback
  readonly code?: FailureCode
  readonly reason?: string
  readonly atMs: number
}

/** A move that was not decided by a refusal and is tried again. */
export interface Retry {
  readonly move: Move
  readonly notBeforeMs: number
  /** Tries so far. */
  readonly failed: number
}

/** Refusals in a row of the active credential that nobody on the way could have forged. */
export interface Refusals {
  readonly of: CredentialRef
  readonly count: number
  readonly firstAtMs: number
  readonly lastAtMs: number
  readonly code: FailureCode
}

/** While the device is on SAS because X.509 was refused. */
export interface FallenBack {
  readonly from: CredentialRef
  readonly cause: FailureCode
  readonly sinceMs: number
  /** When X.509 is tried again. */
  readonly returnAtMs: number
  readonly returnsFailed: number
}

/** SAS is over for this device. Written before anything is destroyed, so that a power cut cannot bring it back. */
export interface Retirement {
  readonly atMs: number
  /** Everything that the agent can reach is destroyed. */
  readonly done: boolean
  /** Copies that it cannot reach, as sentences. */
  readonly left: readonly string[]
}

/** What the agent remembers about its credentials beside where it stands. Kept in the same record as the lifecycle. */
export interface Memory {
  /** Newest last; at most `MAX_HISTORY`. */
  readonly history: readonly Attempt[]
  /** The desired `$version` whose `auth.mode` and `auth.renew` have been dealt with for good. */
  readonly settledVersion?: number
  /** The lane that it wished: on another hub the versions begin anew, and the same one may wish something else. */
  readonly settledTo?: Lane
  /** The last desired `auth.renew` that was dealt with for good. */
  readonly settledRenew?: string
  readonly retry?: Retry
  /** When each registration with another credential began, of the last day. */
  readonly moves: readonly number[]
  /** When each fallback began, of the last day. */
  readonly fallbacks: readonly number[]
  readonly fallenBack?: FallenBack
  readonly refusals?: Refusals
  /** The credential that DPS took last, and when: for about half an hour it may refuse any other. */
  readonly lastRegistration?: { readonly of: CredentialRef; readonly atMs: number }
  /** Since when X.509 has proved itself without a break. */
  readonly x509ProvenSinceMs?: number
  readonly retirement?: Retirement
  /** X.509 was in use and its key is gone: SAS in its place would be a downgrade. */
  readonly lostX509?: true
  /** A move has led from the pair of files to the vault, so that the pair is not used although it is still configured. */
  readonly leftFiles?: true
  /** Generations that the cloud refused for good. */
  readonly refusedGenerations: readonly string[]
  /** Renewals of the active credential that did not reach their aim. */
  readonly renewal?: { readonly of: CredentialRef; readonly failed: number; readonly lastAtMs: number }
  /** The longest time that the device was away from its hub, in milliseconds. */
  readonly longestOfflineMs?: number
}

export const MAX_HISTORY = 8

export const emptyMemory: Memory = { history: [], moves: [], fallbacks: [], refusedGenerations: [] }

const DAY_MS = 86_400_000

/** A registration with another credential begins. */
export function withMove(memory: Memory, move: Move, nowMs: number): Memory {
  const fallbacks = move.cause === 'fallback' ? [...lastDay(memory.fallbacks, nowMs), nowMs] : memory.fallbacks
  return { ...memory, moves: [...lastDay(memory.moves, nowMs), nowMs], fallbacks }
}

/** A move has ended; undefined as verdict means that the candidate is now the active credential. */
export function withAttempt(memory: Memory, move: Move, verdict: Verdict | undefined, nowMs: number): Memory {
  const attempt: Attempt = {
    to: move.to,
    cause: move.cause,
    ...(move.version === undefined ? {} : { version: move.version }),
    ...(verdict ?? { result: 'active' as const }),
    atMs: nowMs,
  }
  return { ...memory, history: [...memory.history, attempt].slice(-MAX_HISTORY) }
}

/** The wish behind a move is dealt with: its version and its `auth.renew` are not tried again. */
export function withSettled(memory: Memory, move: Pick<Move, 'to' | 'version' | 'renew'>): Memory {
  const { retry: _over, ...others } = memory
  return {
    ...others,
    ...(move.version === undefined ? {} : { settledVersion: move.version, settledTo: move.to }),
    ...(move.renew === undefined ? {} : { settledRenew: move.renew }),
  }
}

/** Shorter times are of no account for renewals, and growth of less than a tenth is not worth a write. */
const SPELL_MS = 3_600_000
const GROWTH = 1.1

/** The device is back at its hub after so long. The same object when that says nothing new. */
export function withSpell(memory: Memory, offlineMs: number): Memory {
  const before = Math.max(SPELL_MS, (memory.longestOfflineMs ?? 0) * GROWTH)
  return offlineMs > before ? { ...memory, longestOfflineMs: Math.round(offlineMs) } : memory
}

/** The instants of the last day. One that lies ahead, after the clock was set back, counts as of now. */
export function lastDay(instants: readonly number[], nowMs: number): readonly number[] {
  return instants.map((ms) => Math.min(ms, nowMs)).filter((ms) => ms > nowMs - DAY_MS)
}
