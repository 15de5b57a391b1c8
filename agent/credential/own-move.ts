import { isSameRef } from './credential-ref.ts'
import type { Move } from './lifecycle.ts'
import type { Refusals } from './memory.ts'
import type { PolicyFacts } from './policy.ts'

/** Whether the device changes its credential by itself. `untilMs` is wall time, and always ahead. */
export type Fallback =
  | { readonly do: 'stay'; readonly why: string }
  | { readonly do: 'wait'; readonly untilMs: number }
  | { readonly do: 'fall'; readonly move: OwnMove }

export type OwnMove = Pick<Move, 'to' | 'candidate' | 'fresh' | 'cause' | 'because'>

/** What passes at no known time is looked at again after this, in milliseconds. */
const AGAIN_MS = 60_000

export function stay(why: string): Fallback {
  return { do: 'stay', why }
}

/** @param atMs when it may be judged again, if that is known and ahead */
export function waitUntil(nowMs: number, atMs?: number): Fallback {
  return { do: 'wait', untilMs: Math.max(atMs ?? 0, nowMs + AGAIN_MS) }
}

/**
 * The refusals of the active credential, if there are `count` of them and the last came `holdOffMs` after the first. The
 * span is one between answers of the cloud: that time passes proves nothing.
 */
export function refusedEnough(
  { active, memory, nowMs }: PolicyFacts,
  count: number,
  holdOffMs: number,
): Refusals | Fallback {
  const { refusals } = memory
  if (refusals === undefined || !isSameRef(refusals.of, active)) return stay('nothing was refused')
  if (refusals.count < count) return stay(`${refusals.count} of ${count} refusals were seen`)
  const { firstAtMs, lastAtMs } = refusals
  return lastAtMs - firstAtMs >= holdOffMs ? refusals : waitUntil(nowMs, firstAtMs + holdOffMs)
}
