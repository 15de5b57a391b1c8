import type { Clock } from '../../system/clock.ts'

export interface PatienceOptions<T> {
  readonly clock: Clock
  readonly withinMs: number
  /** What stands for a reading that is not there in time. */
  readonly otherwise: T
}

/**
 * Makes a reading that may hang into one that ends in time. While one that was too late still hangs no other is begun,
 * so that a dead bus holds one thread and not all of them.
 */
export function createPatientReader<T>(read: () => Promise<T>, options: PatienceOptions<T>): () => Promise<T> {
  const { clock, withinMs, otherwise } = options
  let hanging = false
  return async () => {
    if (hanging) return otherwise
    hanging = true
    const reading = read().finally(() => {
      hanging = false
    })
    const over = new AbortController()
    const instead = () => otherwise
    // The wait is aborted only when the reading was in time, and then nobody looks at what it gives.
    const late = clock.wait(withinMs, over.signal).then(instead, instead)
    try {
      return await Promise.race([reading, late])
    } finally {
      over.abort()
    }
  }
}
