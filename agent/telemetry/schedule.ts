import { asFailure } from '../failure.ts'
import type { Failure } from '../failure.ts'
import type { Clock } from '../system/clock.ts'
import { createBell } from './bell.ts'

export interface ScheduleOptions {
  readonly clock: Clock
  readonly intervalMs: number
  /** Takes one sample and keeps it. */
  readonly take: () => Promise<void>
  /** Hears of a sample that could not be taken or kept; the next one is tried at its time. */
  readonly onFailure: (failure: Failure) => void
}

export interface Schedule {
  intervalMs(): number
  /** Counts from the last sample on: a shorter interval may make the next one due at once. */
  setIntervalMs(intervalMs: number): void
  /**
   * Takes the first sample at once and then one every interval.
   *
   * @throws signal.reason when aborted
   */
  run(signal: AbortSignal): Promise<never>
}

/**
 * Takes samples at an even pace. The instants are multiples of the interval after the first, so that slow samples add no
 * drift; those that a suspended or busy machine missed are left out instead of being made up for.
 */
export function createSchedule(options: ScheduleOptions): Schedule {
  const { clock } = options
  const changed = createBell()
  let intervalMs = options.intervalMs

  const take = async () => {
    try {
      await options.take()
    } catch (error) {
      options.onFailure(asFailure(error))
    }
  }

  return {
    intervalMs: () => intervalMs,
    setIntervalMs(next) {
      intervalMs = next
      changed.ring()
    },
    async run(signal) {
      let lastDueMs = clock.monotonicMs()
      signal.throwIfAborted()
      for (;;) {
        await take()
        lastDueMs = await waitForNext(lastDueMs, signal)
      }
    },
  }

  /** @returns the instant that has come, on the grid of the interval that holds now */
  async function waitForNext(lastDueMs: number, signal: AbortSignal): Promise<number> {
    for (;;) {
      signal.throwIfAborted()
      const leftMs = lastDueMs + intervalMs - clock.monotonicMs()
      if (leftMs <= 0) return lastDueMs + intervalMs * Math.floor(1 - leftMs / intervalMs)
      await waitOrChange(leftMs, signal)
    }
  }

  async function waitOrChange(delayMs: number, signal: AbortSignal): Promise<void> {
    const either = new AbortController()
    const halt = () => either.abort(signal.reason)
    signal.addEventListener('abort', halt, { once: true })
    const ends = [clock.wait(delayMs, either.signal), changed.next(either.signal)]
    try {
      await Promise.race(ends)
    } finally {
      signal.removeEventListener('abort', halt)
      either.abort()
      await Promise.allSettled(ends)
    }
  }
}
