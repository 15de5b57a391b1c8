import { ENTRY_BYTES } from '../batch.ts'

/** A batch that still takes company. */
export interface OpenBatch {
  /** Number of its first sample. */
  readonly first: number
  readonly count: number
  /** Of the bodies, with what each costs in a message. */
  readonly bytes: number
  readonly label: string | null
  readonly unsure: boolean
  /** Monotonic time at which it began. */
  readonly sinceMs: number
}

/** What counts of a sample when it is put into a batch. */
export interface Newcomer {
  /** Of its body and ID. */
  readonly bytes: number
  readonly label: string | null
  readonly unsure: boolean
}

/**
 * Largest sum of bodies, IDs and what stands around each in a batch: half of what the hub takes as one message, since text
 * and bytes take up to 4/3 of their length in it, and properties need room too.
 */
export const MAX_BATCH_BYTES = 128 * 1024

/** Whether the newcomer goes into the same message. */
export function joins(open: OpenBatch, newcomer: Newcomer, batchSamples: number): boolean {
  return (
    open.count < batchSamples &&
    open.label === newcomer.label &&
    open.unsure === newcomer.unsure &&
    open.bytes + costOf(newcomer) <= MAX_BATCH_BYTES
  )
}

/**
 * The batch with the newcomer in it; undefined when it is complete.
 *
 * @param open    the batch it joins; undefined when it begins one
 * @param number  of the newcomer in its stream
 */
export function extended(
  open: OpenBatch | undefined,
  newcomer: Newcomer,
  at: { readonly number: number; readonly monotonicMs: number; readonly batchSamples: number },
): OpenBatch | undefined {
  const count = (open?.count ?? 0) + 1
  if (count >= at.batchSamples) return undefined
  return {
    first: open?.first ?? at.number,
    count,
    bytes: (open?.bytes ?? 0) + costOf(newcomer),
    label: newcomer.label,
    unsure: newcomer.unsure,
    sinceMs: open?.sinceMs ?? at.monotonicMs,
  }
}

function costOf({ bytes }: Newcomer): number {
  return bytes + ENTRY_BYTES
}
