import { Failure } from '../failure.ts'
import type { FailureCode } from '../failure.ts'
import type { Clock } from './clock.ts'

/** What a bounded wait needs to know: how long, and what it is called when it is over. */
export interface Deadline {
  readonly clock: Clock
  readonly withinMs: number
  /** How much longer it has become since the start, in milliseconds; asked when the time seems to be over. */
  readonly grantedMs?: () => number
  readonly code: FailureCode
  readonly what: string
}

/**
 * Settles as `work` does, or fails when the deadline passes or `signal` aborts, whichever is first.
 * `work` is not stopped by this: its owner must drop whatever it holds.
 *
 * @throws Failure `deadline.code` when the time is over
 * @throws signal.reason when aborted
 */
export async function bounded<T>(work: Promise<T>, deadline: Deadline, signal?: AbortSignal): Promise<T> {
  const over = new AbortController()
  const stop = signal === undefined ? over.signal : AbortSignal.any([over.signal, signal])
  const limit = untilDue(deadline, stop).then((afterMs) => {
    throw new Failure(deadline.code, `${deadline.what} took longer than ${afterMs} ms`)
  })
  // The loser of the race is settled by the abort below; its outcome is of no further interest.
  limit.catch(ignoreSettled)
  work.catch(ignoreSettled)
  try {
    return await Promise.race([work, limit])
  } finally {
    over.abort()
  }
}

/** Resolves with the time that was allowed, in milliseconds, when it is over. */
async function untilDue({ clock, withinMs, grantedMs }: Deadline, stop: AbortSignal): Promise<number> {
  let allowedMs = 0
  for (let total = withinMs; total > allowedMs; total = withinMs + (grantedMs?.() ?? 0)) {
    await clock.wait(total - allowedMs, stop)
    allowedMs = total
  }
  return allowedMs
}

/** Marks a promise whose outcome another line already answers for. */
function ignoreSettled(): void {
  return undefined
}
