import type { Clock } from '../../agent/system/clock.ts'

/** A clock that stands still until a test moves it. */
export interface FakeClock extends Clock {
  /** Moves both clocks on; whoever waits for an instant on the way is woken in order. */
  advance(ms: number): Promise<void>
  /** Moves the wall clock only, as NTP or a technician does. */
  stepWall(ms: number): void
  /** Resolves once somebody waits for `atLeastMs` or longer. */
  waiting(atLeastMs?: number): Promise<void>
  /** How long each present waiter still has, shortest first. */
  pending(): readonly number[]
}

interface Waiter {
  readonly atMs: number
  readonly wake: () => void
}

export function createFakeClock(startMs = Date.UTC(2026, 0, 1)): FakeClock {
  let wallMs = startMs
  let monotonicMs = 0
  let waiters: Waiter[] = []
  let watchers: { readonly atLeastMs: number; readonly seen: () => void }[] = []

  const pending = () => waiters.map((waiter) => waiter.atMs - monotonicMs).toSorted((a, b) => a - b)

  const tellWatchers = () => {
    const longest = pending().at(-1) ?? -1
    const told = watchers.filter((watcher) => watcher.atLeastMs <= longest)
    watchers = watchers.filter((watcher) => !told.includes(watcher))
    for (const watcher of told) watcher.seen()
  }

  return {
    now: () => wallMs,
    monotonicMs: () => monotonicMs,
    pending,
    wait(delayMs, signal) {
      if (signal?.aborted === true) return Promise.reject(signal.reason as Error)
      if (delayMs <= 0) return Promise.resolve()
      return new Promise<void>((resolve, reject) => {
        const leave = () => {
          waiters = waiters.filter((other) => other !== waiter)
          signal?.removeEventListener('abort', stop)
        }
        const stop = () => {
          leave()
          reject(signal?.reason as Error)
        }
        const waiter: Waiter = {
          atMs: monotonicMs + delayMs,
          wake() {
            leave()
            resolve()
          },
        }
        waiters.push(waiter)
        signal?.addEventListener('abort', stop, { once: true })
        tellWatchers()
      })
    },
    async advance(ms) {
      const end = monotonicMs + ms
      for (;;) {
        await settle()
        const next = waiters.filter((waiter) => waiter.atMs <= end).toSorted((a, b) => a.atMs - b.atMs)[0]
        const until = next?.atMs ?? end
        wallMs += until - monotonicMs
        monotonicMs = until
        if (next === undefined) break
        next.wake()
      }
      await settle()
    },
    stepWall(ms) {
      wallMs += ms
    },
    waiting(atLeastMs = 0) {
      return new Promise<void>((resolve) => {
        watchers.push({ atLeastMs, seen: resolve })
        tellWatchers()
      })
    },
  }
}

/** Lets every promise that is ready run before time moves on. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) await new Promise<void>((resolve) => setImmediate(resolve))
}
