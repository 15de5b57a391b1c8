import type { Failure } from '../failure.ts'

/** Lets work through until it is closed, and knows what is still on its way. */
export interface Gate {
  /**
   * Does the work. Once the gate is closed the work is not begun: whoever comes then is told when all is over.
   *
   * @throws Failure that of `ended`, when closed
   */
  pass<T>(work: () => Promise<T>): Promise<T>
  /** Lets nothing more through; resolves when all that went through has come back. */
  close(): Promise<void>
}

/**
 * A gate before one session. To reject at once what comes too late would end the sending of telemetry, and with it leave
 * messages that are being acknowledged to be sent twice: hence it waits.
 *
 * @param ended resolves with the reason when the session is over
 */
export function createGate(ended: Promise<Failure>): Gate {
  const empty = Promise.withResolvers<void>()
  let closed = false
  let under = 0

  return {
    async pass(work) {
      if (closed) throw await ended
      under += 1
      try {
        return await work()
      } finally {
        under -= 1
        if (closed && under === 0) empty.resolve()
      }
    },
    close() {
      closed = true
      if (under === 0) empty.resolve()
      return empty.promise
    },
  }
}
