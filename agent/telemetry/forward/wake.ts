import type { Clock } from '../../system/clock.ts'

/** Wakes one loop that waits for any of several things; what happened while it did not wait is not missed. */
export interface Wake {
  ring(): void
  /**
   * Resolves at a ring since the last wait began, or after `delayMs`.
   *
   * @throws signal.reason when aborted
   */
  wait(delayMs: number | undefined, signal: AbortSignal): Promise<void>
}

/** Why a wait is over. Without a reason every abort would make an exception, with the cost of its stack. */
const RUNG = Symbol('rung')

export function createWake(clock: Clock): Wake {
  let rung = false
  let waiting: AbortController | undefined

  return {
    ring() {
      rung = true
      waiting?.abort(RUNG)
    },
    async wait(delayMs, signal) {
      signal.throwIfAborted()
      if (!rung) {
        const over = new AbortController()
        const stop = () => over.abort(RUNG)
        waiting = over
        signal.addEventListener('abort', stop, { once: true })
        try {
          await untilAborted(over.signal, delayMs, clock)
        } finally {
          signal.removeEventListener('abort', stop)
        }
      }
      rung = false
      signal.throwIfAborted()
    },
  }
}

/** Resolves at the abort, or when the time is over. */
async function untilAborted(signal: AbortSignal, delayMs: number | undefined, clock: Clock): Promise<void> {
  if (delayMs === undefined) {
    return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
  }
  await clock.wait(delayMs, signal).catch((error: unknown) => {
    if (!signal.aborted) throw error
  })
}
