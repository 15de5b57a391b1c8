/** What the record of the cloud says about a whole story, whatever the device claims. Pure. */
import type { RecordedEvent } from '../../test/cloud/record.ts'
import type { Telemetry } from '../../test/cloud/model.ts'

/** A sample that is missing leaves a gap of two intervals, less how late the one before it was; of 1 s each. */
const LONGEST_GAP_MS = 1_900

/** How the device had proved itself in the session in which it sent this message: the stamp of the hub. */
export function stampOf({ system }: Telemetry): string {
  const stamp = JSON.parse(system['iothub-connection-auth-method'] ?? '{}') as { readonly type?: string }
  return stamp.type ?? 'none'
}

/** What a hub says of a session that ended for a newer one of the same device: there were two for a moment. */
const TAKEN_OVER = /^400027\b/

/** The most sessions that one device ever had at a time with one hub. */
export function mostSessions(events: readonly RecordedEvent[], host: string, deviceId: string): number {
  let open = 0
  let most = 0
  for (const event of events) {
    if (event.kind !== 'connected' && event.kind !== 'disconnected') continue
    if (event.host !== host || event.clientId !== deviceId) continue
    const isTakenOver = event.kind === 'disconnected' && TAKEN_OVER.test(event.reason)
    most = Math.max(most, open + (event.kind === 'connected' || isTakenOver ? 1 : 0))
    open += event.kind === 'connected' ? 1 : -1
  }
  return most
}

export interface Delivery {
  /** Samples, each counted once however often it came. */
  readonly samples: number
  /** Between two samples that follow each other in one life of the agent, by the clock of the device. */
  readonly longestGapMs: number
  /** No sample came for the first time after a younger one. */
  readonly inOrder: boolean
}

/**
 * Judges the messages of one device that takes a sample a second. While it has no power it takes none, so that a gap
 * over one of `powerCutsMs` (wall time) is none.
 */
export function judgeDelivery(events: readonly RecordedEvent[], powerCutsMs: readonly number[]): Delivery {
  const firsts = new Map<string, number>()
  for (const event of events) {
    if (event.kind !== 'telemetry') continue
    const id = event.message.system['message-id'] ?? ''
    if (!firsts.has(id)) firsts.set(id, takenAtMs(event.message))
  }
  const taken = [...firsts.values()]
  const gaps = taken.flatMap((ms, index) => {
    const before = taken[index - 1]
    return before === undefined || powerCutsMs.some((cutMs) => before <= cutMs && cutMs < ms) ? [] : [ms - before]
  })
  return { samples: taken.length, longestGapMs: Math.max(0, ...gaps), inOrder: gaps.every((gapMs) => gapMs >= 0) }
}

/** Whether all that was taken came, and in its order. */
export function isComplete({ samples, longestGapMs, inOrder }: Delivery): boolean {
  return samples > 1 && inOrder && longestGapMs <= LONGEST_GAP_MS
}

function takenAtMs({ body }: Telemetry): number {
  return Date.parse((JSON.parse(body.toString()) as { readonly timestamp: string }).timestamp)
}
