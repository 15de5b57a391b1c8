import { priorities } from '../sample.ts'
import type { Priority } from '../sample.ts'

/** What counts of a stream when room is needed. */
export interface Holder {
  readonly priority: Priority
  readonly head: number
  readonly tail: number
  readonly headSum: number
  readonly endSum: number
  readonly headAtMs: number
}

export interface Victim<Stream> {
  readonly stream: Stream
  /** Its samples that came in up to here are the oldest of their priority. */
  readonly untilMs: number
}

/** The lowest of these; `audit` of none. */
export function lowestOf(present: Iterable<Priority>): Priority {
  let lowest = priorities.length - 1
  for (const priority of present) lowest = Math.min(lowest, priorities.indexOf(priority))
  return priorities[lowest] ?? 'audit'
}

/** Bytes that could be given up for a newcomer of this priority. */
export function yieldingBytes(streams: Iterable<Holder>, newcomer: Priority): number {
  let bytes = 0
  for (const stream of streams) if (isUpTo(stream.priority, newcomer)) bytes += stream.endSum - stream.headSum
  return bytes
}

/** The stream whose oldest sample came first, among those of the lowest priority that is present. */
export function victimAmong<Stream extends Holder>(streams: Iterable<Stream>): Victim<Stream> | undefined {
  const present = [...streams].filter((stream) => stream.head <= stream.tail)
  const lowest = lowestOf(present.map(({ priority }) => priority))
  let first: Stream | undefined
  let untilMs = Infinity
  for (const stream of present) {
    if (stream.priority !== lowest) continue
    if (first === undefined || stream.headAtMs < first.headAtMs) {
      untilMs = first?.headAtMs ?? Infinity
      first = stream
    } else {
      untilMs = Math.min(untilMs, stream.headAtMs)
    }
  }
  return first === undefined ? undefined : { stream: first, untilMs }
}

function isUpTo(priority: Priority, limit: Priority): boolean {
  return priorities.indexOf(priority) <= priorities.indexOf(limit)
}
