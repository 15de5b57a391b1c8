import { Failure } from '../../failure.ts'
import { createBell } from '../bell.ts'
import type { Bell } from '../bell.ts'
import type { Sample } from '../sample.ts'
import { deliveryOf } from './incoming.ts'
import { levelOf } from './level.ts'
import type { OutboxOptions } from './options.ts'
import type { Durability, Outbox, Parcel } from './port.ts'
import { createQueue } from './queue.ts'
import type { Store } from './store.ts'
import { isEmpty, viewOf } from './streams.ts'
import { closedFailure, createWorker, mendingFailure } from './worker.ts'
import type { Ground } from './worker.ts'

/** What nobody waits for is written after this. */
const RELAXED_MS = 1000

export interface OutboxParts {
  /** Why there is no file, when there is none. */
  readonly inMemory?: Failure
  /** Its own one when left out. */
  readonly arrived?: Bell
}

export function createOutbox(ground: Ground, options: OutboxOptions, parts: OutboxParts = {}): Outbox {
  const { clock, limits } = options
  const { inMemory, arrived = createBell() } = parts
  const queue = createQueue(clock)
  let epoch = 1
  let isClosed = false
  const worker = createWorker(ground, queue, options, {
    stored: () => arrived.ring(),
    renumbered() {
      epoch += 1
      arrived.ring()
    },
  })

  /** Damage may be found wherever something is read. */
  const reading = <Result>(read: (store: Store) => Result, otherwise: Result): Result => {
    const store = worker.store()
    if (store === undefined) return otherwise
    try {
      return read(store)
    } catch (error) {
      worker.failed(error)
      return otherwise
    }
  }
  const remove = (parcel: Parcel, also: (store: Store) => void) =>
    reading((store) => {
      if (parcel.epoch !== epoch || !store.remove(parcel)) return
      also(store)
      worker.fallBehind()
    }, undefined)

  const append = (samples: readonly Sample[], durability: Durability) =>
    new Promise<void>((resolve, reject) => {
      // While nothing can be stored, nothing is promised; while much waits to be, who brings more is held up by it.
      const promised = durability === 'relaxed' && worker.trouble() === undefined && !queue.isLong()
      const dueMs = clock.monotonicMs() + (promised ? RELAXED_MS : 0)
      const delivery = deliveryOf(samples)
      if (!queue.offer({ delivery, durability, dueMs, promised, resolve, reject })) throw busyFailure()
      if (promised) resolve()
      worker.wake()
    })

  return {
    arrived,
    epoch: () => epoch,
    async append(samples, durability) {
      if (isClosed) throw closedFailure()
      if (inMemory !== undefined && durability !== 'relaxed') throw memoryFailure(durability, inMemory)
      if (worker.store() === undefined) throw mendingFailure()
      if (samples.length > 0) await append(samples, durability)
    },
    streams: () =>
      reading(
        ({ shelf }) =>
          Array.from(shelf.streams.all())
            .filter((one) => !isEmpty(one))
            .map(viewOf),
        [],
      ),
    closeBatches(all = false) {
      return reading(({ shelf }) => {
        let dueMs: number | undefined
        let closed = false
        for (const stream of shelf.streams.all()) {
          if (stream.open === undefined) continue
          const streamDueMs = stream.open.sinceMs + limits.batchMs
          if (all || streamDueMs <= clock.monotonicMs()) {
            shelf.streams.change(stream, { open: undefined })
            closed = true
          } else {
            dueMs = Math.min(dueMs ?? Infinity, streamDueMs)
          }
        }
        if (closed) arrived.ring()
        return dueMs
      }, undefined)
    },
    next: (stream, after) => reading((store) => store.next(stream, after, epoch), undefined),
    acknowledge: (parcel) => remove(parcel, () => undefined),
    setAside: (parcel, reason) =>
      remove(parcel, ({ aside, shelf }) => {
        for (const sample of parcel.samples) aside.add(sample, reason, Math.round(clock.now()))
        shelf.tally.add('refused', parcel.samples.length)
        options.onDropped?.(parcel.samples.length, 'refused')
      }),
    asideList: () => reading(({ aside }) => aside.list(), []),
    asideBody: (id) => reading(({ aside }) => aside.body(id), undefined),
    level: () => levelOf(worker.store(), { inMemory, trouble: worker.trouble(), maxBytes: limits.maxBytes }),
    async [Symbol.asyncDispose]() {
      if (isClosed) return
      isClosed = true
      await worker[Symbol.asyncDispose]()
    },
  }
}

function busyFailure(): Failure {
  return new Failure('OUTBOX_BUSY', 'more samples wait to be stored than the disk can take', { retryAfterMs: 1000 })
}

function memoryFailure(durability: Durability, reason: Failure): Failure {
  const fact = `nothing can be ${durability}, as the outbox is in memory: ${reason.message}`
  return new Failure('OUTBOX_IN_MEMORY', fact, { cause: reason, context: reason.context })
}
