/** What the stand-in remembers: events in a ring, and the bytes that clients sent. Both are bounded; what fell out is counted. */
import type { CloudEvent, Recorder, Telemetry } from './model.ts'

export type RecordedEvent = CloudEvent & {
  /** 1 for the first event; never reused. */
  readonly seq: number
  /** Wall time in milliseconds. */
  readonly at: number
}

export interface WaitOptions {
  /** Real milliseconds after which it gives up; 5000 when left out. */
  readonly withinMs?: number
  /** Passes over events up to this `seq`; 0 when left out, so that what already happened counts. */
  readonly since?: number
}

export interface Record extends Recorder {
  /** Oldest first; events older than the ring holds are gone. */
  events(since?: number): readonly RecordedEvent[]
  /** `seq` of the newest event. */
  seq(): number
  /** How many events of a kind there ever were. */
  count(kind: CloudEvent['kind']): number
  /** The first event that fits, past or future. */
  waitFor(fits: (event: RecordedEvent) => boolean, options?: WaitOptions): Promise<RecordedEvent>
  /** Calls `listener` at every event until the returned function is called. */
  listen(listener: (event: RecordedEvent) => void): () => void
  /**
   * Hands every D2C message to `take`, in the order of arrival, in place of keeping it, until the returned function is
   * called. They are counted and numbered, but nobody who listens or waits hears of them: for very many messages.
   */
  divert(take: (message: Telemetry, seq: number) => void): () => void
  /** Application bytes from one client, after TLS. */
  addReceived(bytes: Buffer): void
  /** Every byte received so far, up to the bound. */
  received(): Buffer
  /** Bytes received in all, kept or not. */
  receivedBytes(): number
  /** Lets go of the events and bytes that were kept; counts and numbers stay. For runs of hours. */
  forget(): void
  /** Rejects whoever still waits. */
  close(): void
}

const MAX_EVENTS = 20_000
const MAX_EVENT_BYTES = 64 * 1024 * 1024
const MAX_RECEIVED_BYTES = 16 * 1024 * 1024

export function createRecord(now: () => number): Record {
  const ring: RecordedEvent[] = []
  const counts = new Map<CloudEvent['kind'], number>()
  const listeners = new Set<(event: RecordedEvent) => void>()
  const waiting = new Set<(reason: Error) => void>()
  const received: Buffer[] = []
  let diverted: ((message: Telemetry, seq: number) => void) | undefined
  let heldBytes = 0
  let seq = 0
  let keptBytes = 0
  let allBytes = 0

  const forget = () => {
    const half = Math.ceil(ring.length / 2)
    for (const event of ring.splice(0, half)) heldBytes -= weight(event)
  }

  return {
    add(event) {
      seq += 1
      counts.set(event.kind, (counts.get(event.kind) ?? 0) + 1)
      if (event.kind === 'telemetry' && diverted !== undefined) return diverted(event.message, seq)
      const recorded: RecordedEvent = { ...event, seq, at: now() }
      ring.push(recorded)
      heldBytes += weight(recorded)
      if (ring.length > MAX_EVENTS || (heldBytes > MAX_EVENT_BYTES && ring.length > 1)) forget()
      for (const listener of listeners) listener(recorded)
    },
    events: (since = 0) => (since === 0 ? [...ring] : ring.filter((event) => event.seq > since)),
    seq: () => seq,
    count: (kind) => counts.get(kind) ?? 0,
    listen(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    divert(take) {
      diverted = take
      return () => {
        if (diverted === take) diverted = undefined
      }
    },
    waitFor(fits, { withinMs = 5000, since = 0 } = {}) {
      const past = ring.find((event) => event.seq > since && fits(event))
      if (past !== undefined) return Promise.resolve(past)
      return new Promise((resolve, reject) => {
        const leave = () => {
          clearTimeout(timer)
          listeners.delete(look)
          waiting.delete(fail)
        }
        const fail = (reason: Error) => {
          leave()
          reject(reason)
        }
        const look = (event: RecordedEvent) => {
          if (!fits(event)) return
          leave()
          resolve(event)
        }
        const timer = setTimeout(
          () => fail(new Error(`no such event within ${withinMs} ms; ${latest(ring)}`)),
          withinMs,
        )
        listeners.add(look)
        waiting.add(fail)
      })
    },
    addReceived(bytes) {
      allBytes += bytes.length
      const room = MAX_RECEIVED_BYTES - keptBytes
      if (room <= 0) return
      const kept = Buffer.from(bytes.subarray(0, room))
      received.push(kept)
      keptBytes += kept.length
    },
    received: () => Buffer.concat(received),
    receivedBytes: () => allBytes,
    forget() {
      ring.length = 0
      received.length = 0
      heldBytes = 0
      keptBytes = 0
    },
    close() {
      for (const fail of [...waiting]) fail(new Error('the stand-in was closed'))
    },
  }
}

/** Bytes that an event may hold on to, roughly. */
function weight(event: CloudEvent): number {
  if (event.kind === 'telemetry') return 512 + event.message.body.length
  return event.kind === 'reported' ? 2048 : 512
}

function latest(ring: readonly RecordedEvent[]): string {
  const lines = ring.slice(-8).map((event) => `${event.kind} ${'reason' in event ? event.reason : ''}`.trim())
  return `the latest were: ${lines.join('; ') || 'none'}`
}
