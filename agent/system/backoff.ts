/** Bounds of a retry schedule, in milliseconds. */
export interface BackoffLimits {
  readonly baseMs: number
  readonly capMs: number
}

/**
 * Full-jitter exponential backoff: uniform between 0 and min(cap, base * 2^attempt), never under `base` / 2
 * so that a fleet that was cut off at one instant neither returns at once nor spins.
 *
 * @param attempt failures so far, 0 for the first retry
 * @param random  uniform in [0, 1)
 */
export function backoffMs(attempt: number, limits: BackoffLimits, random: () => number): number {
  const ceiling = Math.min(limits.capMs, limits.baseMs * 2 ** Math.min(attempt, 30))
  const floor = Math.min(limits.baseMs / 2, ceiling)
  return Math.round(floor + random() * (ceiling - floor))
}
