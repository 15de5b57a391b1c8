import type { Clock } from '../system/clock.ts'

/** A wait that somebody may cut short. */
export interface Nap {
  /**
   * Resolves after `delayMs` of monotonic time or with `wake`, whichever is first; at once when it was called since the
   * last nap.
   *
   * @throws signal.reason when aborted
   */
  take(delayMs: number, signal: AbortSignal): Promise<void>
  wake(): void
}

export function createNap(clock: Clock): Nap {
  let woken = Promise.withResolvers<void>()
  return {
    async take(delayMs, signal) {
      await noLongerThan(delayMs, woken.promise, clock, signal)
      woken = Promise.withResolvers<void>()
    },
    wake: () => woken.resolve(),
  }
}

/**
 * Resolves with `event` or after `boundMs` of monotonic time, whichever is first.
 *
 * @throws signal.reason when aborted
 */
export async function noLongerThan(
  boundMs: number,
  event: Promise<void>,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  signal.throwIfAborted()
  const over = new AbortController()
  const limit = clock.wait(boundMs, AbortSignal.any([over.signal, signal]))
  try {
    await Promise.race([event, limit])
  } finally {
    over.abort()
    // Rejects with the abort above when the event was first.
    await limit.catch(() => signal.throwIfAborted())
  }
}
