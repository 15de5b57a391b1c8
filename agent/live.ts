import { createBell } from './telemetry/bell.ts'

/** The session that lives at this moment, for whoever has something to do on it beside its own work. */
export interface Live<S> {
  enter(session: S): void
  leave(session: S): void
  now(): S | undefined
  /**
   * The present session, or the next one.
   *
   * @throws signal.reason when aborted
   */
  next(signal: AbortSignal): Promise<S>
}

export function createLive<S>(): Live<S> {
  const changed = createBell()
  let present: S | undefined
  return {
    now: () => present,
    enter(session) {
      present = session
      changed.ring()
    },
    leave(session) {
      if (present === session) present = undefined
    },
    async next(signal) {
      for (;;) {
        signal.throwIfAborted()
        if (present !== undefined) return present
        await changed.next(signal)
      }
    },
  }
}
