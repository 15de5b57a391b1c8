import type { Clock } from '../system/clock.ts'
import type { MethodName, MethodStatus } from './table.ts'

/** What the audit trail keeps of a call of a method that changes something. */
export interface MethodAudit {
  readonly method: MethodName
  readonly outcome: 'accepted' | 'rehearsed' | 'refused' | 'failed'
  readonly status: MethodStatus
  readonly code?: string
  /** Only one that was understood, without long values: it has no secrets. */
  readonly payload?: Readonly<Record<string, string | boolean>>
  /** Calls with the same code since the entry before that were left out. */
  readonly leftOut?: number
}

/** Codes of calls that were answered without a look at them, and which nothing else bounds. */
const floodCodes: readonly string[] = ['METHOD_TOO_OFTEN', 'METHOD_NOT_ALLOWED']

/** One entry for each of these codes in so long, in milliseconds. */
const FLOOD_ENTRY_MS = 60_000

/** Lets entries through to `write`, but no flood: it would push everything else out of the trail, which is bounded. */
export function createFloodGate(clock: Clock, write: (entry: MethodAudit) => void): (entry: MethodAudit) => void {
  const last = new Map<string, { readonly atMs: number; readonly leftOut: number }>()
  return (entry) => {
    const { code } = entry
    if (code === undefined || !floodCodes.includes(code)) return write(entry)
    const nowMs = clock.monotonicMs()
    const { atMs, leftOut } = last.get(code) ?? { atMs: Number.NEGATIVE_INFINITY, leftOut: 0 }
    if (nowMs - atMs < FLOOD_ENTRY_MS) {
      last.set(code, { atMs, leftOut: leftOut + 1 })
      return undefined
    }
    last.set(code, { atMs: nowMs, leftOut: 0 })
    return write(leftOut === 0 ? entry : { ...entry, leftOut })
  }
}
