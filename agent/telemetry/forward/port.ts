import type { Failure } from '../../failure.ts'
import type { Clock } from '../../system/clock.ts'
import type { Outgoing } from '../message.ts'
import type { Outbox, Parcel } from '../outbox/port.ts'
import type { Sample } from '../sample.ts'

export interface ForwardLimits {
  /** Messages that may be on their way at a time. */
  readonly window: number
  /** Messages a second out of what had gathered without a session; 0 for no bound. */
  readonly drainPerSecond: number
  /** Longest wait before that begins, so that the devices of a fleet do not drain at the same moment, in milliseconds. */
  readonly drainJitterMs: number
}

export interface ForwarderOptions {
  readonly outbox: Outbox
  readonly clock: Clock
  /** Uniform in [0, 1). */
  readonly random: () => number
  /** Looked at whenever they matter: they may change. */
  readonly limits: ForwardLimits
  readonly build: (parcel: Parcel) => Outgoing
  readonly onAcknowledged?: (parcel: Parcel) => void
  readonly onSetAside?: (parcel: Parcel, failure: Failure) => void
  /** Asks for a sample to send beside, so that the hub has taken one before it gets the one that it seems not to take. */
  readonly askForWitness?: () => void
}

/** Resolves when the hub has acknowledged the message. */
export type Send = (message: Outgoing) => Promise<void>

/** How the sending goes. */
export interface ForwardFacts {
  /** Messages on their way. */
  readonly inFlight: number
  /** Messages that may be on their way at present; the hub's answers widen and narrow it. */
  readonly window: number
  /** Samples acknowledged a second, over about the last half minute. */
  readonly samplesPerSecond: number
  /** Samples left of what had gathered without a session. */
  readonly backlog: number
  /** Until the backlog begins to drain; undefined when it does, or there is none. */
  readonly drainBeginsInMs?: number
  /** Messages a second that the hub seems to bear, after it has closed sessions; undefined for no bound. */
  readonly paceLimitPerSecond?: number
}

/** Sends what the outbox holds, session after session; what it has learnt of the hub outlives each of them. */
export interface Forwarder {
  /**
   * Sends for as long as one session lives.
   *
   * @returns never
   * @throws Failure       of the first send that failed for another reason than the message itself
   * @throws signal.reason when aborted
   */
  run(send: Send, signal: AbortSignal): Promise<never>
  /**
   * Sends a sample past the outbox, before everything that waits there: for whoever needs to see the hub acknowledge
   * something now, whatever the disk, the backlog and the pace. It goes with the present session or the next; if that
   * fails it is gone, and of several the last one counts.
   */
  sendBeside(sample: Sample): void
  facts(): ForwardFacts
}
