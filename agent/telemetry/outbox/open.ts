import { asFailure } from '../../failure.ts'
import type { Failure } from '../../failure.ts'
import { IN_MEMORY } from './database.ts'
import type { OutboxOptions } from './options.ts'
import { createOutbox } from './outbox.ts'
import type { Outbox, OutboxLimits } from './port.ts'
import { restore } from './restore.ts'
import { openReturning } from './return-to-disk.ts'
import type { Places } from './return-to-disk.ts'
import { isUnfinished } from './set-aside.ts'
import { openStore } from './store.ts'
import type { Store } from './store.ts'
import type { Ground } from './worker.ts'

export type { OutboxOptions } from './options.ts'

/** Room of an outbox in memory, at most. */
const MAX_MEMORY_BYTES = 8 * 1024 * 1024

/**
 * Opens the outbox in this file, for this process alone, and makes it when there is none. Damage is no failure: it is
 * mended while the outbox says that it is `mending`.
 *
 * @throws Failure DISK_FULL, STATE_UNWRITABLE
 */
export async function openOutbox(path: string, options: OutboxOptions): Promise<Outbox> {
  const store = await openWhole(path, options)
  return createOutbox({ ...(store !== undefined && { store }), restore: restorer(path, options) }, options)
}

/**
 * An outbox in memory, for a device whose disk takes none: what it holds is gone with the process, and only what asks for
 * no more is accepted.
 */
export async function openMemoryOutbox(reason: Failure, options: OutboxOptions): Promise<Outbox> {
  const small = smallOptions(options)
  const openNew = () => openStore(IN_MEMORY, storeOptions(small))
  const restoreEmpty = async () => ({ store: await openNew(), lost: 0, failure: reason })
  return createOutbox({ store: await openNew(), restore: restoreEmpty }, small, { inMemory: reason })
}

/**
 * The outbox in this file. When there can be none, that is reported, and it is in memory until the file can be opened
 * after all.
 */
export async function openOutboxOrMemory(path: string, options: OutboxOptions): Promise<Outbox> {
  try {
    return await openOutbox(path, options)
  } catch (error) {
    return await openReturning(placesOf(path, options), options, asFailure(error))
  }
}

function placesOf(path: string, options: OutboxOptions): Places {
  const small = smallOptions(options)
  return {
    openMemory: () => openStore(IN_MEMORY, storeOptions(small)),
    openDisk: (signal) => openMended(path, options, signal),
    inMemory: (ground, reason, arrived) => createOutbox(ground, small, { inMemory: reason, arrived }),
    onDisk: (store, arrived) => createOutbox({ store, restore: restorer(path, options) }, options, { arrived }),
  }
}

/** The file, which is mended first when it is damaged. */
async function openMended(path: string, options: OutboxOptions, signal: AbortSignal): Promise<Store> {
  const whole = await openWhole(path, options)
  if (whole !== undefined) return whole
  const { store, lost, failure } = await restorer(path, options)({ heads: new Map(), dropped: undefined }, signal)
  options.onFailure(failure)
  if (lost > 0) options.onDropped?.(lost, 'torn')
  return store
}

/** Undefined when it is damaged. */
async function openWhole(path: string, options: OutboxOptions): Promise<Store | undefined> {
  if (await isUnfinished(path)) return undefined
  try {
    return await openStore(path, storeOptions(options))
  } catch (error) {
    const failure = asFailure(error)
    if (failure.code !== 'OUTBOX_TORN') throw failure
    options.onFailure(failure)
    return undefined
  }
}

function restorer(path: string, options: OutboxOptions): Ground['restore'] {
  const openNew = () => openStore(path, storeOptions(options))
  return (before, signal) => restore(path, before, openNew, options.clock, signal)
}

function smallOptions(options: OutboxOptions): OutboxOptions {
  // On top of limits that may change: a copy would not follow them.
  const limits: OutboxLimits = Object.create(options.limits, {
    maxBytes: { get: () => Math.min(options.limits.maxBytes, MAX_MEMORY_BYTES) },
  })
  return { ...options, limits }
}

function storeOptions({ clock, limits, trusted = () => true, sync = (datasync) => datasync() }: OutboxOptions) {
  return { clock, limits, trusted, sync }
}
