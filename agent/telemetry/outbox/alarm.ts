import type { Clock } from '../../system/clock.ts'

/** Rings once at the earliest of the instants that were asked for. Nothing waits while nothing was asked for. */
export interface Alarm extends Disposable {
  /** @param dueMs monotonic */
  set(dueMs: number): void
}

export function createAlarm(clock: Clock, ring: () => void): Alarm {
  let waiting: { readonly dueMs: number; readonly stop: AbortController } | undefined

  const wait = async (dueMs: number, stop: AbortController) => {
    try {
      await clock.wait(Math.max(1, dueMs - clock.monotonicMs()), stop.signal)
    } catch (error) {
      if (stop.signal.aborted) return
      throw error
    }
    if (waiting?.stop === stop) waiting = undefined
    if (!stop.signal.aborted) ring()
  }
  const cancel = () => {
    waiting?.stop.abort()
    waiting = undefined
  }

  return {
    set(dueMs) {
      if (waiting !== undefined && waiting.dueMs <= dueMs) return
      cancel()
      const stop = new AbortController()
      waiting = { dueMs, stop }
      void wait(dueMs, stop)
    },
    [Symbol.dispose]: cancel,
  }
}
