import { setTimeout as sleep } from 'node:timers/promises'

/** The only door to time. Wall time for certificates and stamps, monotonic time for waiting. */
export interface Clock {
  /** Wall time in milliseconds since 1970-01-01 UTC; may jump in either direction. */
  now(): number
  /** Milliseconds since an arbitrary start; never jumps, never runs backwards. */
  monotonicMs(): number
  /**
   * Resolves after `delayMs` of monotonic time.
   *
   * @throws signal.reason when aborted
   */
  wait(delayMs: number, signal?: AbortSignal): Promise<void>
}

/** Longest single timer. `setTimeout` beyond 2^31-1 ms fires at once; short ticks also notice a stopped machine. */
const MAX_TICK_MS = 60_000

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  async wait(delayMs, signal) {
    const until = performance.now() + delayMs
    for (let left = delayMs; left > 0; left = until - performance.now()) {
      signal?.throwIfAborted()
      await sleep(Math.min(left, MAX_TICK_MS), undefined, signal === undefined ? {} : { signal }).catch((cause) => {
        signal?.throwIfAborted()
        throw cause
      })
    }
    signal?.throwIfAborted()
  },
}
