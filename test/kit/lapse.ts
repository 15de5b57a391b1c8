import { setImmediate } from 'node:timers/promises'
import type { Clock } from '../../agent/system/clock.ts'

/**
 * A clock for days that go by in seconds around real sockets: it stands still while anybody waits for an answer under a
 * deadline, and then leaps.
 */
export interface Lapse extends Clock {
  /** Moves both clocks on at once, as after a machine that slept; whoever is due is woken, in order. */
  leap(ms: number): Promise<void>
  /** Moves the wall clock only, as NTP or a technician does. */
  stepWall(ms: number): void
  /** Whether somebody waits for an answer that may take so long and no longer. */
  isBusy(): boolean
  /** How long each present waiter still has, shortest first. */
  pending(): readonly number[]
  /**
   * Resolves when what is under way has come to rest.
   *
   * @param moved a number that changes while bytes arrive
   * @param isStuck says that an answer is waited for which never comes
   */
  rest(moved: () => number, isStuck?: () => boolean): Promise<void>
}

interface Waiter {
  readonly atMs: number
  readonly isDeadline: boolean
  readonly wake: () => void
}

/** Every wait for an answer is bounded in this module. */
const DEADLINES = '/system/deadline.ts'

/** Rounds without a move after which nothing is on its way any more. */
const QUIET_ROUNDS = 6

export function createLapse(startMs: number): Lapse {
  const waiters = new Set<Waiter>()
  let wallAheadMs = startMs
  let monotonicMs = 0

  const isBusy = () => Array.from(waiters).some(({ isDeadline }) => isDeadline)
  const pending = () => Array.from(waiters, ({ atMs }) => atMs - monotonicMs).toSorted((a, b) => a - b)

  return {
    now: () => wallAheadMs + monotonicMs,
    monotonicMs: () => monotonicMs,
    ...{ isBusy, pending },
    wait(delayMs, signal) {
      if (signal?.aborted === true) return Promise.reject(signal.reason as Error)
      if (delayMs <= 0) return Promise.resolve()
      const isDeadline = new Error('who waits').stack?.includes(DEADLINES) === true
      return new Promise<void>((resolve, reject) => {
        const leave = () => {
          waiters.delete(waiter)
          signal?.removeEventListener('abort', stop)
        }
        const stop = () => {
          leave()
          reject(signal?.reason as Error)
        }
        const wake = () => {
          leave()
          resolve()
        }
        const waiter: Waiter = { atMs: monotonicMs + delayMs, isDeadline, wake }
        waiters.add(waiter)
        signal?.addEventListener('abort', stop, { once: true })
      })
    },
    async leap(ms) {
      monotonicMs += ms
      const due = [...waiters].filter(({ atMs }) => atMs <= monotonicMs).toSorted((a, b) => a.atMs - b.atMs)
      for (const { wake } of due) wake()
      await setImmediate()
    },
    stepWall(ms) {
      wallAheadMs += ms
    },
    async rest(moved, isStuck = () => false) {
      for (let quiet = 0, before = moved(); quiet < QUIET_ROUNDS; quiet += 1) {
        await setImmediate()
        const now = moved()
        if (now !== before || (isBusy() && !isStuck()) || isWorking()) quiet = -1
        before = now
      }
    },
  }
}

/** Whether this process waits for its disk, a name, a connection or another process; open sockets alone do not count. */
function isWorking(): boolean {
  return process
    .getActiveResourcesInfo()
    .some((kind) => /Req|ConnectWrap|WriteWrap|ShutdownWrap|ProcessWrap|Job/.test(kind))
}
