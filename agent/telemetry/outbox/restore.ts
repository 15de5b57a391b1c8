import { Failure } from '../../failure.ts'
import type { Clock } from '../../system/clock.ts'
import { dropCauses } from './port.ts'
import { recover } from './recover.ts'
import type { RecoveredRow, Recovery } from './recover.ts'
import { bytesOf, keyAt, numberAt } from './schema.ts'
import { finishRecovery } from './set-aside.ts'
import type { Store } from './store.ts'
import type { Dropped } from './tally.ts'

/** What is known of the damaged file from the time before. */
export interface Before {
  /** Heads of its streams by key: what lies before them has been acknowledged. */
  readonly heads: ReadonlyMap<number, number>
  readonly dropped: Dropped | undefined
}

export interface Restored {
  readonly store: Store
  readonly lost: number
  /** What is to be told of it. */
  readonly failure: Failure
}

/**
 * Makes the file anew from what can be read of the damaged one, which must be closed, and keeps that beside it.
 *
 * @param openNew opens the new file, which is empty then
 * @throws signal.reason when aborted, or whatever the file system refuses; another call begins again
 */
export async function restore(
  path: string,
  before: Before,
  openNew: () => Promise<Store>,
  clock: Clock,
  signal: AbortSignal,
): Promise<Restored> {
  let store: Store | undefined
  const watchful = {
    monotonicMs() {
      signal.throwIfAborted()
      return clock.monotonicMs()
    },
  }
  try {
    const put = createPutter(before.heads)
    const recovery = await recover(
      path,
      async (rows) => {
        store ??= await openNew()
        put(store, rows)
        await store.log.trim()
      },
      watchful,
    )
    store ??= await openNew()
    countDropped(store, before.dropped ?? recovery.dropped, recovery.lost)
    store.log.truncate()
    const aside = await finishRecovery(path, clock.now())
    return { store, lost: recovery.lost, failure: tornFailure(path, aside, recovery) }
  } catch (error) {
    await store?.[Symbol.asyncDispose]()
    throw error
  }
}

/** Stores rows under new numbers, in their order, batches as they were. */
function createPutter(heads: Before['heads']): (store: Store, rows: readonly RecoveredRow[]) => void {
  let batch = { old: -1, key: -1, now: 0 }
  const put = ({ keeper }: Store, row: RecoveredRow) => {
    const { place, name, priority, at } = row
    const key = keyAt(place)
    if (numberAt(place) < (heads.get(key) ?? 0)) return
    const stream = keeper.streamOf(name, priority)
    if (batch.old !== row.batch || batch.key !== key) batch = { old: row.batch, key, now: stream.tail + 1 }
    const { id, created, unsure, label, body } = row
    const columns = { id, created, unsure, label, body }
    keeper.append(stream, columns, bytesOf(columns), { ms: at, batch: batch.now })
  }
  return (store, rows) => store.transact(() => rows.forEach((row) => put(store, row)))
}

function countDropped(store: Store, before: Recovery['dropped'], lost: number): void {
  const { tally } = store.shelf
  store.transact(() => {
    for (const cause of dropCauses) tally.add(cause, before[cause] ?? 0)
    tally.add('torn', lost)
  })
}

function tornFailure(path: string, aside: string, { recovered, lost, isUnsure }: Recovery): Failure {
  const more = isUnsure ? ', and perhaps more' : ''
  const fact = `${path} was damaged: ${recovered} samples are kept, ${lost} are lost${more}; it is now ${aside}`
  return new Failure('OUTBOX_TORN', fact, { context: { path, aside, recovered, lost } })
}
