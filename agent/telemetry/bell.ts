/** Wakes whoever waits for a change. A ring that nobody waits for is not kept: look first, then wait. */
export interface Bell {
  ring(): void
  /** How often it has rung: whoever was busy can tell that there was a ring meanwhile. */
  rings(): number
  /**
   * Resolves at the next ring.
   *
   * @throws signal.reason when aborted
   */
  next(signal: AbortSignal): Promise<void>
}

export function createBell(): Bell {
  const waiting = new Set<() => void>()
  let rings = 0
  return {
    rings: () => rings,
    ring() {
      rings += 1
      for (const wake of waiting) wake()
    },
    next(signal) {
      if (signal.aborted) return Promise.reject(signal.reason as Error)
      return new Promise((resolve, reject) => {
        const leave = () => {
          waiting.delete(wake)
          signal.removeEventListener('abort', stop)
        }
        const wake = () => {
          leave()
          resolve()
        }
        const stop = () => {
          leave()
          reject(signal.reason as Error)
        }
        waiting.add(wake)
        signal.addEventListener('abort', stop, { once: true })
      })
    },
  }
}
