/** At most so many calls in any stretch of this length, in milliseconds. */
export interface Limit {
  readonly calls: number
  readonly inMs: number
}

/** Instants of the calls that were let through and still count, oldest first; monotonic milliseconds. */
export type Past = readonly number[]

export type Admission =
  | { readonly ok: true; readonly past: Past }
  /** How long until the next call is let through. */
  | { readonly ok: false; readonly waitMs: number }

/**
 * Lets a call through unless that breaks one of the limits. One that is turned away counts for nothing, so that patience
 * is always rewarded, and `past` never holds more instants than the largest limit has calls.
 */
export function admit(past: Past, limits: readonly Limit[], nowMs: number): Admission {
  const waitMs = Math.max(0, ...limits.map((limit) => waitOf(past, limit, nowMs)))
  if (waitMs > 0) return { ok: false, waitMs }
  const longestMs = Math.max(...limits.map(({ inMs }) => inMs))
  return { ok: true, past: [...past.filter((ms) => ms > nowMs - longestMs), nowMs] }
}

/** The call that has to grow old enough is the one that lies `calls` back. */
function waitOf(past: Past, { calls, inMs }: Limit, nowMs: number): number {
  const blocking = past.at(-calls)
  return blocking === undefined ? 0 : Math.max(0, blocking + inMs - nowMs)
}
