import type { Socket } from 'node:net'
import type { Failure } from '../../failure.ts'
import type { Clock } from '../../system/clock.ts'
import type { Durability } from '../outbox/port.ts'
import type { Sample } from '../sample.ts'
import type { Stamp } from './sample-of.ts'

export interface IntakeOptions {
  /** `telemetry.sock` in the runtime folder. */
  readonly path: string
  readonly clock: Clock
  /** That of the outbox: all of them or none. */
  readonly append: (samples: readonly Sample[], durability: Durability) => Promise<void>
  /** The time of a sample that comes without one. */
  readonly stamp: () => Stamp
  /** What `GET /health` answers. */
  readonly health: () => IntakeHealth
  /** By user; 0 for no bound. Looked at with each arrival: it may change. */
  readonly samplesPerSecond: number
  /**
   * User ID of the process at the other end, undefined when nobody can tell; never rejects. Without it all clients
   * share one limit, and none may hand in what is for root and the agent.
   */
  readonly identify?: (socket: Socket) => Promise<number | undefined>
  /** User ID of the agent; that of this process when it is left out. */
  readonly ownUid?: number
  /** Hears of what is no client's fault. */
  readonly onFailure: (failure: Failure) => void
}

/** What a local program may want to know before it hands something in. Times are wall time in milliseconds. */
export interface IntakeHealth {
  /** Whether there is a session with the hub, and since when it is so. */
  readonly connected: boolean
  readonly sinceMs: number
  /** Samples that wait, and their bytes. */
  readonly depth: number
  readonly bytes: number
  readonly maxBytes: number
  readonly oldestAtMs?: number
  /** Samples given up by cause. */
  readonly dropped: Readonly<Record<string, number>>
  /** Why nothing can be stored. */
  readonly trouble?: Failure
}

/** Since the start. */
export interface IntakeCounts {
  /** Samples stored. */
  readonly accepted: number
  /** Requests refused, by code; those too that were stored in part. */
  readonly refused: Readonly<Record<string, number>>
}
