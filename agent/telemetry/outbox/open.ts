import { Failure, asFailure } from '../../failure.ts'
import { IN_MEMORY } from './database.ts'
import type { OutboxOptions } from './options.ts'
import { createOutbox } from './outbox.ts'
import type { Outbox } from './port.ts'
import { restore } from './restore.ts'
import { isUnfinished } from './set-aside.ts'
import { openStore } from './store.ts'
import type { Store } from './store.ts'

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
  const openNew = () => openStore(path, storeOptions(options))
  const store = (await isUnfinished(path)) ? undefined : await openWhole(openNew, options)
  return createOutbox(
    {
      ...(store !== undefined && { store }),
      restore: (before, signal) => restore(path, before, openNew, options.clock, signal),
    },
    options,
  )
}

/**
 * An outbox in memory, for a device whose disk takes none: what it holds is gone with the process, and only what asks for
 * no more is accepted.
 */
export async function openMemoryOutbox(reason: Failure, options: OutboxOptions): Promise<Outbox> {
  const maxBytes = Math.min(options.limits.maxBytes, MAX_MEMORY_BYTES)
  const small = { ...options, limits: { ...options.limits, maxBytes } }
  const openNew = () => openStore(IN_MEMORY, storeOptions(small))
  const restoreEmpty = async () => ({ store: await openNew(), lost: 0, failure: reason })
  return createOutbox({ store: await openNew(), restore: restoreEmpty }, small, reason)
}

/** The outbox in this file, or one in memory when there can be none, which is reported. */
export async function openOutboxOrMemory(path: string, options: OutboxOptions): Promise<Outbox> {
  try {
    return await openOutbox(path, options)
  } catch (error) {
    const cause = asFailure(error)
    const fact = `samples are kept in memory only: ${cause.message}`
    options.onFailure(new Failure('OUTBOX_IN_MEMORY', fact, { cause, context: cause.context }))
    return await openMemoryOutbox(cause, options)
  }
}

/** Undefined when it is damaged. */
async function openWhole(open: () => Promise<Store>, options: OutboxOptions): Promise<Store | undefined> {
  try {
    return await open()
  } catch (error) {
    const failure = asFailure(error)
    if (failure.code !== 'OUTBOX_TORN') throw failure
    options.onFailure(failure)
    return undefined
  }
}

function storeOptions({ clock, limits, trusted = () => true, sync = (datasync) => datasync() }: OutboxOptions) {
  return { clock, limits, trusted, sync }
}
