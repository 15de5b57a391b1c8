/** So many a second and no more: unused time is kept for at most one second, and for one message at least. */
export interface Allowance {
  /** Milliseconds until the next one may go; 0 when it may now. */
  waitMs(perSecond: number, nowMs: number): number
  /** Counts one that goes now. */
  take(perSecond: number, nowMs: number): void
}

export function createAllowance(nowMs: number): Allowance {
  let tokens = 1
  let filledAtMs = nowMs

  const fill = (perSecond: number, atMs: number) => {
    tokens = Math.min(Math.max(1, perSecond), tokens + ((atMs - filledAtMs) * perSecond) / 1000)
    filledAtMs = atMs
  }

  return {
    waitMs(perSecond, atMs) {
      fill(perSecond, atMs)
      return tokens >= 1 ? 0 : Math.ceil(((1 - tokens) * 1000) / perSecond)
    },
    take(perSecond, atMs) {
      fill(perSecond, atMs)
      tokens -= 1
    },
  }
}
