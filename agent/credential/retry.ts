import { isWish } from './judge-wish.ts'
import type { Cause, Move, Verdict } from './lifecycle.ts'
import { withSettled } from './memory.ts'
import type { Memory } from './memory.ts'
import { isAuthenticatedRefusal } from './refusals.ts'

const MINUTE_MS = 60_000

/** The first pause; it doubles with each try that failed. Each try is a registration, which is billed. */
const FIRST_MS = 15 * MINUTE_MS
const LONGEST_MS = 4 * 60 * MINUTE_MS

/** Longer than DPS remembers the credential that it took last, and than its refusals are no verdict. */
const CACHE_MS = 36 * MINUTE_MS

/** No pause is longer: an instant further ahead was written by a clock that has been set back since. */
const FAR_AHEAD_MS = 24 * 60 * MINUTE_MS

/**
 * What is remembered of a move that did not reach its aim. A refusal settles the wish behind it; anything else has it tried
 * again, for as long as the wish stands; so is the replacement of an expired certificate. Whatever else the device wants by
 * itself has a schedule of its own and changes nothing here.
 *
 * @param random uniform in [0, 1)
 */
export function withRetry(memory: Memory, move: Move, verdict: Verdict, nowMs: number, random: () => number): Memory {
  if (!isTriedAgain(move.cause)) return memory
  if (verdict.result === 'refused' || verdict.result === 'rejected') return withSettled(memory, move)
  const failed = isSameWish(memory.retry?.move, move) ? (memory.retry?.failed ?? 0) + 1 : 1
  const notBeforeMs = Math.max(nowMs + pauseMs(failed, random), verdictPossibleMs(memory, verdict, nowMs))
  return { ...memory, retry: { move, notBeforeMs, failed } }
}

/** Whether the wish that is remembered may be tried again. */
export function isRetryDue({ retry }: Memory, nowMs: number): boolean {
  if (retry === undefined) return false
  return nowMs >= retry.notBeforeMs || retry.notBeforeMs - nowMs > FAR_AHEAD_MS
}

function isTriedAgain(cause: Cause): boolean {
  return isWish(cause) || cause === 'expiry'
}

function isSameWish(one: Move | undefined, other: Move): boolean {
  if (one === undefined) return false
  return one.cause === other.cause && one.to === other.to && one.version === other.version && one.renew === other.renew
}

/** Between half of the pause and all of it, so that a fleet that got one wish at one instant does not return as one. */
function pauseMs(failed: number, random: () => number): number {
  const ceiling = Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(failed - 1, 10))
  return Math.round((ceiling / 2) * (1 + random()))
}

/** A refusal that was no verdict would be met again for as long as DPS remembers another credential. */
function verdictPossibleMs({ lastRegistration }: Memory, verdict: Verdict, nowMs: number): number {
  if (lastRegistration === undefined || !isAuthenticatedRefusal(verdict.code)) return nowMs
  return Math.min(lastRegistration.atMs, nowMs) + CACHE_MS
}
