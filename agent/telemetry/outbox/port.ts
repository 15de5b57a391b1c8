import type { Failure } from '../../failure.ts'
import type { Bell } from '../bell.ts'
import type { Label, Priority, Sample } from '../sample.ts'

/**
 * How much is promised when a sample has been accepted: `synced` it survives a power cut, `written` it survives the
 * death of the agent, and a power cut 5 s later, `relaxed` the same after another second.
 */
export type Durability = 'synced' | 'written' | 'relaxed'

export const durabilities: readonly Durability[] = ['synced', 'written', 'relaxed']

/**
 * Why an accepted sample was given up: `full` newer ones of no lower priority needed the room, `expired` older than the
 * limit, `refused` the hub will never take it, `torn` the file was damaged.
 */
export type DropCause = 'full' | 'expired' | 'refused' | 'torn'

export const dropCauses: readonly DropCause[] = ['full', 'expired', 'refused', 'torn']

/** A stream that holds samples. Its samples are numbered without gaps; what leaves it leaves from its head. */
export interface StreamView {
  readonly key: number
  readonly name: string
  readonly priority: Priority
  /** Numbers of the oldest and of the newest sample. */
  readonly head: number
  readonly tail: number
  /** Number of the newest sample that may be sent; behind it is a batch that is still open. Below `head` when there is none. */
  readonly closed: number
  /** Wall time at which the oldest and the newest came in. */
  readonly headAtMs: number
  readonly tailAtMs: number
}

/** What goes to the hub as one message: one sample, or the samples of one batch, always the same ones. */
export interface Parcel {
  /** Changes when the file was made anew, and with it all numbers. */
  readonly epoch: number
  /** Key of the stream. */
  readonly stream: number
  readonly first: number
  readonly last: number
  /** In their order; at least one. All of a batch have the same label. */
  readonly samples: readonly [Sample, ...Sample[]]
  /** Of the bodies. */
  readonly bytes: number
}

export interface OutboxLevel {
  /** Samples kept. */
  readonly depth: number
  /** Bytes that they take, and that they may take. */
  readonly bytes: number
  readonly maxBytes: number
  /** Wall time at which the oldest came in. */
  readonly oldestAtMs?: number
  /** Samples given up by cause, restarts included. */
  readonly dropped: Readonly<Record<DropCause, number>>
  /** Messages that the hub will never take, kept for a look at them. */
  readonly aside: number
  /** `disk`; `memory` when no file can be had, and then nothing survives the process; `mending` after damage. */
  readonly place: 'disk' | 'memory' | 'mending'
  /** The last refusal to store, until something could be stored again. */
  readonly trouble?: Failure
}

/** A sample that the hub will never take. */
export interface AsideSample {
  readonly id: string
  readonly stream: string
  /** Wall time at which it was set aside. */
  readonly atMs: number
  /** Why. */
  readonly code: string
  readonly message: string
  readonly label: Label
  /** Of the body. */
  readonly bytes: number
}

/** Keeps samples on disk until the cloud has acknowledged them. */
export interface Outbox extends AsyncDisposable {
  /** Rings when there may be something new to send. */
  readonly arrived: Bell
  /**
   * Keeps all of the samples or none; resolves when they are kept as the durability says. Older samples of the lowest
   * priority make room.
   *
   * @throws Failure OUTBOX_FULL  nothing of a lower or the same priority can make room
   * @throws Failure DISK_FULL, STATE_UNWRITABLE  the file system refuses; what was kept before is untouched
   * @throws Failure OUTBOX_BUSY  too much waits to be stored, or damage is being mended
   * @throws Failure OUTBOX_IN_MEMORY  `synced` or `written` was asked for and there is no file
   */
  append(samples: readonly Sample[], durability: Durability): Promise<void>
  /** Every stream that holds something. */
  streams(): readonly StreamView[]
  /** Changes when all numbers do. */
  epoch(): number
  /**
   * Closes open batches that have waited long enough for company, or all of them when `all`.
   *
   * @returns the monotonic time at which the next one is due; undefined when none is open
   */
  closeBatches(all?: boolean): number | undefined
  /** The message that begins with the sample behind number `after`; undefined when there is none that may be sent. */
  next(stream: number, after: number): Parcel | undefined
  /** Removes the parcel and all before it in its stream. Written with the next transaction, within 2 s. */
  acknowledge(parcel: Parcel): void
  /** Removes the parcel and all before it in its stream, counts it as refused, and keeps it for a look. */
  setAside(parcel: Parcel, reason: Failure): void
  /** What was set aside and is still kept, the newest first. */
  asideList(): readonly AsideSample[]
  /** The body of the newest that was set aside under this ID; undefined when none is kept. */
  asideBody(id: string): Sample['body'] | undefined
  level(): OutboxLevel
}

export interface OutboxLimits {
  readonly maxBytes: number
  readonly maxAgeMs: number
  /** Samples in one message; 1 for one each. */
  readonly batchSamples: number
  /** How long a batch waits for company, in milliseconds. */
  readonly batchMs: number
}
