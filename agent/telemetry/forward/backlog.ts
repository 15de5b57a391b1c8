import type { StreamView } from '../outbox/port.ts'

/** What had gathered in each stream before the present session: the number of the newest sample that counts as old. */
export type Backlog = ReadonlyMap<number, number>

/** With so many samples or fewer nobody needs to be spared, and nothing is held back. */
const WORTH_SPREADING = 100

/** What has gathered by the time that a session begins; what is left of an earlier backlog stays one. */
export function gatheredBy(streams: readonly StreamView[], before: Backlog): Backlog {
  const depth = streams.reduce((sum, { head, tail }) => sum + tail - head + 1, 0)
  if (depth > WORTH_SPREADING) return new Map(streams.map(({ key, tail }) => [key, tail]))
  return new Map(streams.flatMap(({ key, head }) => leftOf(before, key, head)))
}

/** Samples that are left of it. */
export function backlogDepth(streams: readonly StreamView[], backlog: Backlog): number {
  return streams.reduce((sum, { key, head }) => sum + Math.max(0, (backlog.get(key) ?? 0) - head + 1), 0)
}

function leftOf(before: Backlog, key: number, head: number): readonly (readonly [number, number])[] {
  const upTo = before.get(key)
  return upTo === undefined || upTo < head ? [] : [[key, upTo]]
}
