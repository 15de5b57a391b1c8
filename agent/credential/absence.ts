import type { Clock } from '../system/clock.ts'
import type { ClockTrust } from './policy.ts'
import type { LinkEvents } from './rotation-ports.ts'

export interface AbsenceFacts {
  readonly clock: Pick<Clock, 'now' | 'monotonicMs'>
  readonly trust: () => ClockTrust
  /** The last time that was trusted and saved before this start; wall time. Undefined for none. */
  readonly savedMs?: number | undefined
}

/** How long the device was away from its hub before the present session, switched off or not. */
export interface Absence {
  /** In milliseconds. */
  lastMs(): number
  watched(events: LinkEvents): LinkEvents
}

/** The time is saved no more often than this, so that a restart may seem to have taken so long. */
const SAVED_WITHIN_MS = 3_600_000

/**
 * Measures by the clock that nobody sets, from the first attempt that failed: waiting for a certificate is no absence. While
 * it was switched off only the wall clock ran; that counts once, from the last time that was trusted to the first session,
 * and only by a clock that is trusted.
 */
export function measureAbsence({ clock, trust, savedMs }: AbsenceFacts): Absence {
  let sinceMs: number | undefined
  let lastMs = 0
  let offSinceMs = savedMs
  let firstSessionMs: number | undefined

  const switchedOffMs = () => {
    if (offSinceMs === undefined || firstSessionMs === undefined || trust() !== 'trusted') return 0
    const beganMs = clock.now() - (clock.monotonicMs() - firstSessionMs)
    const offMs = beganMs - offSinceMs - SAVED_WITHIN_MS
    offSinceMs = undefined
    return offMs
  }
  return {
    lastMs: () => (lastMs = Math.max(lastMs, switchedOffMs())),
    watched: (events) => ({
      ...events,
      failed(failure) {
        sinceMs ??= clock.monotonicMs()
        events.failed(failure)
      },
      connected(presented) {
        firstSessionMs ??= clock.monotonicMs()
        if (sinceMs !== undefined) lastMs = clock.monotonicMs() - sinceMs
        sinceMs = undefined
        events.connected(presented)
      },
    }),
  }
}
