import type { Failure } from '../../failure.ts'
import type { OutboxLevel } from './port.ts'
import type { Store } from './store.ts'
import { isEmpty } from './streams.ts'

/** @param store undefined while it is being mended */
export function levelOf(
  store: Store | undefined,
  known: { readonly inMemory: Failure | undefined; readonly trouble: Failure | undefined; readonly maxBytes: number },
): OutboxLevel {
  const { inMemory, trouble, maxBytes } = known
  const { streams, tally } = store?.shelf ?? {}
  let depth = 0
  let oldestAtMs = Infinity
  for (const stream of streams?.all() ?? []) {
    if (isEmpty(stream)) continue
    depth += stream.tail - stream.head + 1
    oldestAtMs = Math.min(oldestAtMs, stream.headAtMs)
  }
  return {
    depth,
    bytes: streams?.bytes() ?? 0,
    maxBytes,
    ...(depth > 0 && { oldestAtMs }),
    dropped: tally?.totals() ?? { full: 0, expired: 0, refused: 0, torn: 0 },
    aside: store?.aside.count() ?? 0,
    place: store === undefined ? 'mending' : inMemory === undefined ? 'disk' : 'memory',
    ...(trouble !== undefined && { trouble }),
  }
}
