import { backoffMs } from '../../system/backoff.ts'
import type { Clock } from '../../system/clock.ts'

/** Between attempts at what the file system refuses. */
const LIMITS = { baseMs: 2000, capMs: 60_000 } as const

/** When to try again what nobody waits for. */
export interface Patience {
  /** Monotonic; in the past when nothing has failed. */
  readonly retryAtMs: () => number
  failed(): void
  succeeded(): void
}

/** @param random uniform in [0, 1) */
export function createPatience(clock: Pick<Clock, 'monotonicMs'>, random: () => number): Patience {
  let attempt = 0
  let retryAtMs = -Infinity
  return {
    retryAtMs: () => retryAtMs,
    failed() {
      retryAtMs = clock.monotonicMs() + backoffMs(attempt, LIMITS, random)
      attempt += 1
    },
    succeeded() {
      attempt = 0
      retryAtMs = -Infinity
    },
  }
}
