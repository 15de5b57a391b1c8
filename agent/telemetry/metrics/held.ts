import type { Clock } from '../../system/clock.ts'

export interface HoldOptions {
  readonly clock: Clock
  readonly forMs: number
}

/** Makes a reading of what hardly changes into one that is made at most every `forMs`. A failed one is not kept. */
export function createHeldReader<T>(read: () => Promise<T>, { clock, forMs }: HoldOptions): () => Promise<T> {
  let held: { readonly value: T; readonly untilMs: number } | undefined
  return async () => {
    if (held === undefined || clock.monotonicMs() >= held.untilMs) {
      const value = await read()
      held = { value, untilMs: clock.monotonicMs() + forMs }
    }
    return held.value
  }
}
