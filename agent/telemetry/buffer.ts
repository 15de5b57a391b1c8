import { createBell } from './bell.ts'
import type { Sample } from './sample.ts'

/**
 * Why a sample was given up: `full` no room for newer ones, `tooLarge` bigger than all of the room, `refused` the hub
 * does not take it.
 */
export type DropCause = 'full' | 'tooLarge' | 'refused'

/** Keeps samples in their order until the cloud has acknowledged them. */
export interface Spool extends AsyncDisposable {
  append(sample: Sample): Promise<void>
  /**
   * Oldest unacknowledged first, then waits for more. One reader at a time: what it has been given is not dropped to
   * make room for newer samples as long as others can be.
   *
   * @throws signal.reason when aborted
   */
  read(signal: AbortSignal): AsyncIterable<Sample>
  /** Removes this sample and all before it; nothing when it is no longer there. */
  acknowledge(upTo: Sample['id']): Promise<void>
  /** Gives one sample up and counts it. */
  drop(id: Sample['id'], cause: DropCause): Promise<void>
  level(): SpoolLevel
}

export interface SpoolLevel {
  /** Samples kept. */
  readonly depth: number
  /** Bytes of their bodies. */
  readonly bytes: number
  /** Samples given up since the start, by cause. */
  readonly dropped: Readonly<Record<DropCause, number>>
}

export interface BufferLimits {
  readonly maxSamples: number
  readonly maxBytes: number
}

/** Room for about 16,000 samples of a usual size, which keeps the process small while the hub is away. */
export const DEFAULT_BUFFER_BYTES = 8 * 1024 * 1024

interface Entry {
  /** Place in the order of arrival; never used again. */
  readonly place: number
  readonly bytes: number
  readonly sample: Sample
}

/**
 * A spool in memory: what it holds is gone when the process ends. The oldest sample that nobody is sending makes room.
 *
 * @param onDropped hears of each sample that is given up
 */
export function createBuffer(
  limits: BufferLimits,
  onDropped: (sample: Sample, cause: DropCause) => void = () => undefined,
): Spool {
  const dropped: Record<DropCause, number> = { full: 0, tooLarge: 0, refused: 0 }
  const arrived = createBell()
  const entries: Entry[] = []
  let bytes = 0
  let nextPlace = 1
  /** The newest place that the present reader has been given. */
  let handedOut = 0

  const remove = (at: number, count: number) => {
    for (const entry of entries.splice(at, count)) bytes -= entry.bytes
  }

  const giveUp = (sample: Sample, cause: DropCause) => {
    dropped[cause] += 1
    onDropped(sample, cause)
  }

  /** Where the sample is that makes room; the newest, which has just come, never does. */
  const victimAt = () => {
    const at = entries.findIndex((entry) => entry.place > handedOut)
    return at < 0 || at === entries.length - 1 ? 0 : at
  }

  const makeRoom = () => {
    while (entries.length > limits.maxSamples || bytes > limits.maxBytes) {
      const at = victimAt()
      const victim = entries[at]
      if (victim === undefined) return
      remove(at, 1)
      giveUp(victim.sample, 'full')
    }
  }

  return {
    async append(sample) {
      const size = Buffer.byteLength(sample.body)
      if (size > limits.maxBytes) return giveUp(sample, 'tooLarge')
      entries.push({ place: nextPlace, bytes: size, sample })
      bytes += size
      nextPlace += 1
      makeRoom()
      arrived.ring()
    },
    async *read(signal) {
      let given = 0
      try {
        for (;;) {
          signal.throwIfAborted()
          const next = entries.find((entry) => entry.place > given)
          if (next === undefined) {
            await arrived.next(signal)
          } else {
            given = next.place
            handedOut = given
            yield next.sample
          }
        }
      } finally {
        handedOut = 0
      }
    },
    async acknowledge(upTo) {
      remove(0, entries.findIndex((entry) => entry.sample.id === upTo) + 1)
    },
    async drop(id, cause) {
      const at = entries.findIndex(({ sample }) => sample.id === id)
      const entry = entries[at]
      if (entry === undefined) return
      remove(at, 1)
      giveUp(entry.sample, cause)
    },
    level: () => ({ depth: entries.length, bytes, dropped: { ...dropped } }),
    async [Symbol.asyncDispose]() {
      remove(0, entries.length)
    },
  }
}
