import { lastDay } from './memory.ts'
import type { PolicyFacts } from './policy.ts'

const DAY_MS = 86_400_000

/**
 * When something that `instants` count may happen once more in a day that allows it `perDay` times; undefined when it
 * may happen now. Wall time.
 */
export function freeAtMs(instants: readonly number[], perDay: number, nowMs: number): number | undefined {
  const spent = lastDay(instants, nowMs).toSorted((one, other) => one - other)
  if (spent.length < perDay) return undefined
  return (spent[spent.length - perDay] ?? nowMs) + DAY_MS
}

/** When the next move is within the budget of the day; undefined when it is now. */
export function moveFreeAtMs({ memory, policy, nowMs }: PolicyFacts): number | undefined {
  return freeAtMs(memory.moves, policy.movesPerDay, nowMs)
}
