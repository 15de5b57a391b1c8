import { createBell } from '../../agent/telemetry/bell.ts'
import type { Outbox, OutboxLevel } from '../../agent/telemetry/outbox/port.ts'

/** The level of an outbox on disk that is empty and has given nothing up. */
export const emptyLevel: OutboxLevel = {
  ...{ depth: 0, bytes: 0, maxBytes: 1_000_000, aside: 0, place: 'disk' },
  dropped: { full: 0, expired: 0, refused: 0, torn: 0 },
}

/** An outbox that holds no samples and tells the level that it is given. */
export function outboxAt(level: () => OutboxLevel): Outbox {
  return {
    arrived: createBell(),
    append: () => Promise.reject(new Error('nothing is stored here')),
    streams: () => [],
    epoch: () => 0,
    closeBatches: () => undefined,
    next: () => undefined,
    acknowledge: () => undefined,
    setAside: () => undefined,
    asideList: () => [],
    asideBody: () => undefined,
    level,
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
}
