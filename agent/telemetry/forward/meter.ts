/** A rate that follows what happens and forgets it again. */
export interface Meter {
  add(count: number, nowMs: number): void
  perSecond(nowMs: number): number
}

/** After so long a third of the memory is left, in milliseconds. */
const MEMORY_MS = 30_000

export function createMeter(nowMs: number): Meter {
  let rate = 0
  let atMs = nowMs

  const decay = (toMs: number) => {
    rate *= Math.exp(-(toMs - atMs) / MEMORY_MS)
    atMs = toMs
  }

  return {
    add(count, toMs) {
      decay(toMs)
      rate += count / (MEMORY_MS / 1000)
    },
    perSecond(toMs) {
      decay(toMs)
      return rate
    },
  }
}
