/** Whose turn it is while a move is rolled back, and how it goes. Instants are monotonic milliseconds. */
export interface Turn {
  readonly of: 'active' | 'candidate'
  readonly sinceMs: number
  readonly refusals: number
  readonly failures: number
  /** DPS has assigned the device with the candidate: for a while it may refuse the other. */
  readonly mayBeCached: boolean
}

const MINUTE_MS = 60_000

/** Longer than DPS remembers the credential that it took last (azure-iot-sdk-node issue 721: about 30 minutes). */
const CACHE_MS = 36 * MINUTE_MS

/** A turn ends after so many refusals; the first may be an answer to a registration that was on its way. */
const MIN_REFUSALS = 3

/**
 * A turn of any other trouble. Where the network is away, the next turn meets the same. That of the old credential is
 * longer than DPS remembers and the longest pause after a refusal together.
 */
const LONGEST_MS: Readonly<Record<Turn['of'], number>> = { active: 90 * MINUTE_MS, candidate: 15 * MINUTE_MS }

/** The first turn of a rollback: the old credential's. */
export function firstTurn(nowMs: number, mayBeCached: boolean): Turn {
  return { of: 'active', sinceMs: nowMs, refusals: 0, failures: 0, mayBeCached }
}

/**
 * The next turn: of the other credential, or of the old one once more when only now DPS can judge it. Only the old one is waited for beyond the memory of DPS, since each registration of
 * the candidate makes that memory young again.
 */
export function otherTurn(turn: Turn, nowMs: number): Turn {
  // DPS has forgotten by now, but may not have been asked since.
  if (turn.of === 'active' && turn.mayBeCached) return firstTurn(nowMs, false)
  const of = turn.of === 'active' ? 'candidate' : 'active'
  return { of, sinceMs: nowMs, refusals: 0, failures: 0, mayBeCached: turn.mayBeCached }
}

/** @param isRefused a refusal has come at this moment */
export function isTurnOver(turn: Turn, nowMs: number, isRefused: boolean): boolean {
  const lastedMs = nowMs - turn.sinceMs
  if (turn.failures > 0 && lastedMs >= LONGEST_MS[turn.of]) return true
  if (turn.of === 'active' && turn.mayBeCached) return turn.refusals > 0 && lastedMs >= CACHE_MS
  return isRefused && turn.refusals >= MIN_REFUSALS
}
