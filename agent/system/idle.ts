import type { Clock } from './clock.ts'

/** Looks after somebody who may not be silent for longer than a limit. */
export interface IdleWatch {
  /** The time starts anew, with another limit from now on when one is given; `Infinity` for none. */
  active(limitMs?: number): void
}

/**
 * Calls `onIdle`, once, when `active` was not called for `limitMs`, until `signal` aborts. Costs one timer, however
 * often it is active.
 */
export function watchIdle(
  clock: Clock,
  limitMs: number,
  hooks: { readonly onIdle: () => void; readonly onFailure: (error: unknown) => void },
  signal: AbortSignal,
): IdleWatch {
  let sinceMs = clock.monotonicMs()
  let allowedMs = limitMs
  const watch = async () => {
    for (;;) {
      const leftMs = sinceMs + allowedMs - clock.monotonicMs()
      if (leftMs <= 0) return hooks.onIdle()
      await clock.wait(Math.min(Math.max(1, leftMs), limitMs), signal)
    }
  }
  watch().catch((error: unknown) => {
    // Aborted means that nobody is looked after any more; anything else is a failure of the clock.
    if (!signal.aborted) hooks.onFailure(error)
  })
  return {
    active(nextMs = allowedMs) {
      sinceMs = clock.monotonicMs()
      allowedMs = nextMs
    },
  }
}
