import { Failure } from '../failure.ts'
import type { Clock } from '../system/clock.ts'

export interface InFlightOptions {
  readonly clock: Clock
  /** For each piece of work, in milliseconds. */
  readonly withinMs: number
  /** Told when a piece was late, after it has failed. */
  readonly onLate?: (failure: Failure) => void
}

/** Work that waits for the hub: each piece fails when its time is over, and all of it when the connection ends. */
export interface InFlight {
  /** @throws Failure HUB_NO_ANSWER after the limit, or what `failAll` was given */
  add<T>(what: string, work: Promise<T>): Promise<T>
  /** Fails everything that waits, and everything that comes later. */
  failAll(failure: Failure): void
}

interface Waiting {
  readonly what: string
  readonly dueAtMs: number
  readonly fail: (failure: Failure) => void
}

/**
 * One timer watches all of it, because the limit is the same for each: the oldest is always due first.
 *
 * @param signal ends the watching
 */
export function createInFlight(options: InFlightOptions, signal: AbortSignal): InFlight {
  const { clock, withinMs } = options
  const all = new Set<Waiting>()
  let watching = false
  let over: Failure | undefined

  const watch = async () => {
    for (let oldest = first(all); oldest !== undefined; oldest = first(all)) {
      await clock.wait(oldest.dueAtMs - clock.monotonicMs(), signal)
      if (!all.delete(oldest)) continue
      const failure = new Failure('HUB_NO_ANSWER', `${oldest.what} took longer than ${withinMs} ms`)
      oldest.fail(failure)
      options.onLate?.(failure)
    }
  }

  return {
    async add(what, work) {
      // Whoever waits is told by the race below, or at once; a later failure of the work is of no further interest.
      work.catch(ignoreSettled)
      if (over !== undefined) throw over
      const failed = Promise.withResolvers<never>()
      const entry: Waiting = { what, dueAtMs: clock.monotonicMs() + withinMs, fail: failed.reject }
      all.add(entry)
      if (!watching) {
        watching = true
        watch()
          .finally(() => (watching = false))
          .catch((error: unknown) => {
            if (!signal.aborted) throw error
          })
      }
      try {
        return await Promise.race([work, failed.promise])
      } finally {
        all.delete(entry)
      }
    },
    failAll(failure) {
      over = failure
      for (const entry of all) entry.fail(failure)
      all.clear()
    },
  }
}

function first(all: ReadonlySet<Waiting>): Waiting | undefined {
  return all.values().next().value
}

/** Marks a promise whose outcome another line already answers for. */
function ignoreSettled(): void {
  return undefined
}
