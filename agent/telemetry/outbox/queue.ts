import type { Clock } from '../../system/clock.ts'
import type { Failure } from '../../failure.ts'
import type { Delivery } from './incoming.ts'
import type { Durability } from './port.ts'

/** A delivery that is not in the file yet. */
export interface Waiting {
  readonly delivery: Delivery
  readonly durability: Durability
  /** Monotonic time by which it is to be written. */
  readonly dueMs: number
  /** Whether it was accepted already. */
  readonly promised: boolean
  readonly resolve: () => void
  readonly reject: (failure: Failure) => void
}

/** Deliveries that wait to be written, in their order. */
export interface Queue {
  /** @returns false when there is no room for it */
  offer(waiting: Waiting): boolean
  /** As many as one transaction takes; at least one when there is one. */
  take(): readonly Waiting[]
  /** Monotonic time by which something is to be written; undefined when nothing waits. */
  dueMs(): number | undefined
  isEmpty(): boolean
  /** Whether so much waits that whoever brings more should wait until it is written. */
  isLong(): boolean
  /** Takes all out. */
  clear(): readonly Waiting[]
}

/** Bytes that may wait. */
const MAX_WAITING_BYTES = 16 * 1024 * 1024

/** What nobody waits for is written before its time when it has become this much. */
const PATIENT_BYTES = 1024 * 1024

/** Bounds of one transaction: so much is written in some 10 ms, in which nothing else happens. */
const MAX_SAMPLES = 2000
const MAX_BYTES = 4 * 1024 * 1024

export function createQueue(clock: Pick<Clock, 'monotonicMs'>): Queue {
  let waiting: Waiting[] = []
  let bytes = 0
  let dueMs = Infinity
  return {
    offer(one) {
      if (waiting.length > 0 && bytes + one.delivery.bytes > MAX_WAITING_BYTES) return false
      waiting.push(one)
      bytes += one.delivery.bytes
      dueMs = bytes > PATIENT_BYTES ? clock.monotonicMs() : Math.min(dueMs, one.dueMs)
      return true
    },
    take() {
      const count = countOfOne(waiting)
      const taken = waiting.slice(0, count)
      waiting = waiting.slice(count)
      for (const { delivery } of taken) bytes -= delivery.bytes
      dueMs = waiting.length === 0 ? Infinity : clock.monotonicMs()
      return taken
    },
    dueMs: () => (waiting.length === 0 ? undefined : dueMs),
    isEmpty: () => waiting.length === 0,
    isLong: () => bytes > PATIENT_BYTES,
    clear() {
      const all = waiting
      waiting = []
      bytes = 0
      dueMs = Infinity
      return all
    },
  }
}

function countOfOne(waiting: readonly Waiting[]): number {
  let [samples, bytes] = [0, 0]
  const beyond = waiting.findIndex(({ delivery }) => {
    samples += delivery.samples.length
    bytes += delivery.bytes
    return samples > MAX_SAMPLES || bytes > MAX_BYTES
  })
  return beyond < 0 ? waiting.length : Math.max(1, beyond)
}
