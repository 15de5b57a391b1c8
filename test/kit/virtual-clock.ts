import type { Clock } from '../../agent/system/clock.ts'

/**
 * A clock for worlds made of promises alone, without a file or a socket: between two instants only microtasks run, so
 * that hours pass in a millisecond.
 */
export interface VirtualClock extends Clock {
  /**
   * Wakes whoever waits for the next instant, and resolves when all that follows from it has come to rest.
   *
   * @param untilMs monotonic; when nobody waits for an instant up to it, time moves there and the answer is false
   */
  step(untilMs: number): Promise<boolean>
  /** Moves the wall clock only, as NTP or a technician does. */
  stepWall(ms: number): void
  /** How long each present waiter still has, shortest first. */
  pending(): readonly number[]
  /** From now on nobody is woken: the machine has no power. */
  stop(): void
}

interface Waiter {
  readonly atMs: number
  readonly wake: () => void
}

export function createVirtualClock(startMs = Date.UTC(2026, 0, 1)): VirtualClock {
  const waiters = new Set<Waiter>()
  let wallAheadMs = startMs
  let monotonicMs = 0
  let stopped = false

  const earliest = () => {
    let first: Waiter | undefined
    for (const waiter of waiters) if (first === undefined || waiter.atMs < first.atMs) first = waiter
    return first
  }

  return {
    now: () => wallAheadMs + monotonicMs,
    monotonicMs: () => monotonicMs,
    pending: () => Array.from(waiters, ({ atMs }) => atMs - monotonicMs).toSorted((a, b) => a - b),
    wait(delayMs, signal) {
      if (stopped) return never
      if (signal?.aborted === true) return Promise.reject(signal.reason as Error)
      if (delayMs <= 0) return Promise.resolve()
      return new Promise<void>((resolve, reject) => {
        const stop = () => {
          waiters.delete(waiter)
          reject(signal?.reason as Error)
        }
        const waiter: Waiter = {
          atMs: monotonicMs + delayMs,
          wake() {
            waiters.delete(waiter)
            signal?.removeEventListener('abort', stop)
            resolve()
          },
        }
        waiters.add(waiter)
        signal?.addEventListener('abort', stop, { once: true })
      })
    },
    async step(untilMs) {
      const next = earliest()
      const woken = next !== undefined && next.atMs <= untilMs
      monotonicMs = Math.max(monotonicMs, woken ? next.atMs : untilMs)
      if (woken) next.wake()
      await settled()
      return woken
    },
    stepWall(ms) {
      wallAheadMs += ms
    },
    stop() {
      stopped = true
      waiters.clear()
    },
  }
}

/** Resolves when every promise that was ready, and all that follows from it, has run. */
export function settled(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve)
  })
}

const never = new Promise<never>(() => undefined)
