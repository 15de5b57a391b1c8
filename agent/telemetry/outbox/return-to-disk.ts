import { Failure, asFailure } from '../../failure.ts'
import { createBell } from '../bell.ts'
import type { Bell } from '../bell.ts'
import { carryOver } from './carry-over.ts'
import type { OutboxOptions } from './options.ts'
import type { Outbox } from './port.ts'
import type { Store } from './store.ts'
import type { Ground } from './worker.ts'

/** How often the file is tried again, give or take a quarter. */
const RETRY_MS = 30_000

/** Where samples may lie. The outboxes close the store that they are given. */
export interface Places {
  /** An empty store. */
  openMemory(): Promise<Store>
  /**
   * The store in the file, whole.
   *
   * @throws Failure DISK_FULL, STATE_UNWRITABLE, or signal.reason when aborted while damage is mended
   */
  openDisk(signal: AbortSignal): Promise<Store>
  inMemory(ground: Ground, reason: Failure, arrived: Bell): Outbox
  onDisk(store: Store, arrived: Bell): Outbox
}

/**
 * An outbox in memory that tries to open its file every 30 s, and lies in it from then on: what was kept in memory comes
 * behind what the file holds, and all numbers change. A message that is on its way at that moment is sent again.
 *
 * @param cause why there is no file at first
 */
export async function openReturning(places: Places, options: OutboxOptions, cause: Failure): Promise<Outbox> {
  const { clock, random = Math.random } = options
  const arrived = createBell()
  const stop = new AbortController()
  let memory = await places.openMemory()
  let reason = cause
  /** Added to the epochs of the present outbox. */
  let base = 0
  let moving: Promise<void> | undefined
  let isBack = false

  const restore = async () => {
    await memory[Symbol.asyncDispose]()
    memory = await places.openMemory()
    return { store: lend(memory), lost: 0, failure: reason }
  }
  const overMemory = () => places.inMemory({ store: lend(memory), restore }, reason, arrived)
  let inner = overMemory()

  const move = async (disk: Store) => {
    await inner[Symbol.asyncDispose]()
    try {
      await carryOver(memory, disk, options.onDropped)
    } catch (error) {
      // The numbers of what is left in memory are what they were.
      base += inner.epoch() - 1
      inner = overMemory()
      await disk[Symbol.asyncDispose]()
      throw error
    }
    base += inner.epoch()
    inner = places.onDisk(disk, arrived)
    isBack = true
    arrived.ring()
    await memory[Symbol.asyncDispose]()
  }
  const tryDisk = async () => {
    const disk = await places.openDisk(stop.signal)
    moving = move(disk).finally(() => {
      moving = undefined
    })
    await moving
    options.onReturn?.()
  }
  const goBack = async () => {
    while (!isBack) {
      try {
        await clock.wait(RETRY_MS * (0.75 + random() / 2), stop.signal)
        await tryDisk()
      } catch (error) {
        if (stop.signal.aborted) return
        const failure = asFailure(error)
        if (failure.code !== reason.code) options.onFailure(inMemory(failure))
        reason = failure
      }
    }
  }

  options.onFailure(inMemory(cause))
  const returning = goBack()
  let closing: Promise<void> | undefined
  const close = async () => {
    stop.abort()
    await returning
    await inner[Symbol.asyncDispose]()
    if (!isBack) await memory[Symbol.asyncDispose]()
  }
  return {
    arrived,
    epoch: () => base + inner.epoch(),
    async append(samples, durability) {
      // Nobody waits longer than a second or two: so much is moved at the most (open.ts, MAX_MEMORY_BYTES).
      while (moving !== undefined) await Promise.allSettled([moving])
      await inner.append(samples, durability)
    },
    streams: () => inner.streams(),
    closeBatches: (all) => inner.closeBatches(all),
    next(stream, after) {
      const parcel = inner.next(stream, after)
      return parcel && { ...parcel, epoch: base + parcel.epoch }
    },
    acknowledge: (parcel) => inner.acknowledge({ ...parcel, epoch: parcel.epoch - base }),
    setAside: (parcel, why) => inner.setAside({ ...parcel, epoch: parcel.epoch - base }, why),
    asideList: () => inner.asideList(),
    asideBody: (id) => inner.asideBody(id),
    level: () => inner.level(),
    [Symbol.asyncDispose]: () => (closing ??= close()),
  }
}

/** What an outbox leaves in its store when it is closed can still be read. */
function lend(store: Store): Store {
  return { ...store, [Symbol.asyncDispose]: async () => undefined }
}

function inMemory(cause: Failure): Failure {
  const fact = `samples are kept in memory only: ${cause.message}`
  return new Failure('OUTBOX_IN_MEMORY', fact, { cause, context: cause.context })
}
