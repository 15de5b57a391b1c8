import { Failure, asFailure } from '../../failure.ts'
import { createAlarm } from './alarm.ts'
import type { OutboxOptions } from './options.ts'
import { createPatience } from './patience.ts'
import { dropCauses } from './port.ts'
import type { Queue, Waiting } from './queue.ts'
import type { Before, Restored } from './restore.ts'
import type { Store } from './store.ts'
import { isEmpty } from './streams.ts'
import type { Dropped } from './tally.ts'

/** What an outbox works on. */
export interface Ground {
  /** Open and whole; left out when it must be restored first. */
  readonly store?: Store
  restore(before: Before, signal: AbortSignal): Promise<Restored>
}

/**
 * The only one that writes. It works in rounds: a transaction of all that waits, a sync when somebody asked for one, then
 * the answers; what comes meanwhile is taken by the next round. Damage is mended between two rounds.
 */
export interface Worker extends AsyncDisposable {
  /** Undefined while damage is being mended. */
  store(): Store | undefined
  /** The last refusal to store, until something could be stored again. */
  trouble(): Failure | undefined
  /** Something was put into the queue, or is to be removed from the file. */
  wake(): void
  /** Something is to be removed from the file, before long. */
  fallBehind(): void
  /** Something went wrong outside of a round. */
  failed(error: unknown): void
}

/** What is removed is written after this, and all that is written is synced after this. */
const BEHIND_MS = 2000
const UNSYNCED_MS = 5000

/** Storage that damages the file again so soon is given time. */
const MEND_EVERY_MS = 60_000

export interface WorkerEvents {
  /** Something new is in the file. */
  stored(): void
  /** All numbers have changed. */
  renumbered(): void
}

export function createWorker(ground: Ground, queue: Queue, options: OutboxOptions, events: WorkerEvents): Worker {
  const { clock, onFailure } = options
  const patience = createPatience(clock, options.random ?? Math.random)
  const stop = new AbortController()
  let store = ground.store
  let torn: Store | undefined
  let before: Before = { heads: new Map(), dropped: undefined }
  let trouble: Failure | undefined
  let behindSinceMs: number | undefined
  let mendedAtMs = -Infinity
  let working: Promise<void> | undefined
  const alarm = createAlarm(clock, () => start())

  const refuse = (failure: Failure) => {
    if (trouble?.code !== failure.code) onFailure(failure)
    trouble = failure
  }
  const failed = (error: unknown) => {
    const failure = asFailure(error)
    if (failure.code !== 'OUTBOX_TORN' || store === undefined) {
      refuse(failure)
      patience.failed()
      return
    }
    const heads = new Map(Array.from(store.shelf.streams.all(), ({ key, head }) => [key, head]))
    before = { heads, dropped: store.shelf.tally.totals() }
    onFailure(failure)
    torn = store
    store = undefined
    if (clock.monotonicMs() - mendedAtMs < MEND_EVERY_MS) patience.failed()
    else patience.succeeded()
  }

  const round = async (open: Store) => {
    const group = queue.take()
    const refused = writeGroup(open, group)
    const kept = group.filter(({ delivery }) => !refused.has(delivery))
    if (kept.length > 0) events.stored()
    for (const { durability, resolve } of kept) if (durability !== 'synced') resolve()
    await syncGroup(
      open,
      kept.filter(({ durability }) => durability === 'synced'),
    )
    if (kept.length > 0) trouble = undefined
    for (const failure of refused.values()) trouble = failure
    await open.log.trim()
    if (queue.isEmpty() && !open.isBehind() && [...open.shelf.streams.all()].every(isEmpty)) open.shrink()
    patience.succeeded()
  }
  const writeGroup = (open: Store, group: readonly Waiting[]) => {
    const { tally } = open.shelf
    const was = tally.totals()
    try {
      makeWay(open)
      const refused = open.write(group.map(({ delivery }) => delivery))
      for (const one of group) {
        const failure = refused.get(one.delivery)
        if (failure !== undefined) giveUp(open, one, failure)
      }
      // What one transaction could not remove is removed by the next, at once.
      behindSinceMs = open.isBehind() ? -Infinity : undefined
      return refused
    } catch (error) {
      for (const one of group) giveUp(open, one, answerOf(asFailure(error)))
      if (open.isBehind()) behindSinceMs ??= clock.monotonicMs()
      throw error
    } finally {
      tellDropped(was, tally.totals())
    }
  }
  /** On a full disk the log is the only room there may be: it can be used again once it has been copied. */
  const makeWay = (open: Store) => {
    if (open.log.isOvergrown()) open.log.copy()
    if (trouble?.code !== 'DISK_FULL') return
    try {
      open.log.copy()
    } catch (error) {
      refuse(asFailure(error))
    }
  }
  const tellDropped = (was: Dropped, is: Dropped) => {
    for (const cause of dropCauses) if (is[cause] > was[cause]) options.onDropped?.(is[cause] - was[cause], cause)
  }
  const syncGroup = async (open: Store, synced: readonly Waiting[]) => {
    const since = open.log.unsyncedSinceMs() ?? Infinity
    if (synced.length === 0 && since + UNSYNCED_MS > clock.monotonicMs()) return
    try {
      await open.log.sync()
    } catch (error) {
      for (const { reject } of synced) reject(answerOf(asFailure(error)))
      throw error
    }
    for (const { resolve } of synced) resolve()
  }

  const mend = async () => {
    for (const one of queue.clear()) {
      if (one.promised) queue.offer(one)
      else one.reject(mendingFailure())
    }
    await torn?.[Symbol.asyncDispose]()
    torn = undefined
    const restored = await ground.restore(before, stop.signal)
    store = restored.store
    mendedAtMs = clock.monotonicMs()
    behindSinceMs = undefined
    trouble = undefined
    onFailure(restored.failure)
    if (restored.lost > 0) options.onDropped?.(restored.lost, 'torn')
    events.renumbered()
  }

  /** The earliest instant at which there is something to do; Infinity for none. */
  const dueMs = () => {
    if (store === undefined) return patience.retryAtMs()
    const unsyncedSinceMs = store.log.unsyncedSinceMs() ?? Infinity
    const patient = Math.min((behindSinceMs ?? Infinity) + BEHIND_MS, unsyncedSinceMs + UNSYNCED_MS)
    return Math.min(queue.dueMs() ?? Infinity, Math.max(patient, patience.retryAtMs()))
  }
  const work = async () => {
    // One transaction takes all that comes in the same turn of the event loop.
    await turn()
    while (!stop.signal.aborted && dueMs() <= clock.monotonicMs()) {
      try {
        await (store === undefined ? mend() : round(store))
      } catch (error) {
        if (!stop.signal.aborted) failed(error)
      }
      await turn()
    }
  }
  const start = () => {
    if (working !== undefined || stop.signal.aborted) return
    working = work().finally(() => {
      working = undefined
      plan()
    })
  }
  const plan = () => {
    const due = dueMs()
    if (working !== undefined || stop.signal.aborted || due === Infinity) return
    if (due <= clock.monotonicMs()) start()
    else alarm.set(due)
  }

  /** Writes what waits, as far as the disk takes it. */
  const finish = async (open: Store) => {
    try {
      while (!queue.isEmpty() || open.isBehind()) await round(open)
      if (open.log.unsyncedSinceMs() !== undefined) await open.log.sync()
    } catch (error) {
      refuse(asFailure(error))
    }
  }

  plan()
  return {
    store: () => store,
    trouble: () => trouble,
    wake: plan,
    fallBehind() {
      behindSinceMs ??= clock.monotonicMs()
      plan()
    },
    failed(error) {
      failed(error)
      plan()
    },
    async [Symbol.asyncDispose]() {
      stop.abort()
      alarm[Symbol.dispose]()
      await working
      if (store !== undefined) await finish(store)
      for (const { reject } of queue.clear()) reject(closedFailure())
      await (store ?? torn)?.[Symbol.asyncDispose]()
    },
  }
}

export function mendingFailure(): Failure {
  return new Failure('OUTBOX_BUSY', 'the outbox was damaged and is being mended', { retryAfterMs: 1000 })
}

export function closedFailure(): Failure {
  return new Failure('OUTBOX_BUSY', 'the outbox is being closed')
}

/** What was promised and cannot be kept is counted. */
function giveUp(open: Store, { delivery, promised, reject }: Waiting, failure: Failure): void {
  reject(failure)
  if (promised) open.shelf.tally.add('full', delivery.samples.length)
}

/** Lets everything else run that is ready. */
export function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve)
  })
}

/** What a caller is told: that the file is damaged is no business of theirs. */
function answerOf(failure: Failure): Failure {
  return failure.code === 'OUTBOX_TORN' ? mendingFailure() : failure
}
