/** How many D2C messages a hub takes: its rate, and what is left of the day. azure-protocols.md 4.2 and 4.5. */
import type { Clock } from '../../../agent/system/clock.ts'
import type { Faults } from '../faults.ts'

export type Shaped =
  | { readonly taken: true; readonly delayMs: number }
  /** The connection closes: a server of 3.1.1 has no other way to tell. */
  | { readonly taken: false; readonly reason: string }

/** A message is charged in parts of this size. Source: IoT Hub pricing, standard tier. */
const METER_BYTES = 4096

const DAY_MS = 86_400_000

/**
 * One queue for all devices of a hub, which empties at the rate of the fault `d2cPerSecond`. A real hub lets a burst
 * through first, for a time that is not documented; here the queue begins with the second message.
 */
export function createShaping(faults: Faults, clock: Clock): (bytes: number) => Shaped {
  let freeAtMs = 0
  let day = 0
  let metered = 0

  return (bytes) => {
    const parts = Math.max(1, Math.ceil(bytes / METER_BYTES))
    const today = Math.floor(clock.now() / DAY_MS)
    if (today !== day) [day, metered] = [today, 0]
    const quota = faults.get('dailyMessages')
    if (quota > 0 && metered + parts > quota)
      return { taken: false, reason: `403002: the hub has taken its ${quota} messages of today` }

    const rate = faults.get('d2cPerSecond')
    const nowMs = clock.monotonicMs()
    const delayMs = rate > 0 ? Math.max(0, freeAtMs - nowMs) : 0
    const longestMs = faults.get('d2cQueueSeconds') * 1000
    if (delayMs > longestMs) return { taken: false, reason: `429001: more than ${longestMs} ms of messages wait` }
    if (rate > 0) freeAtMs = nowMs + delayMs + 1000 / rate
    metered += parts
    return { taken: true, delayMs }
  }
}
