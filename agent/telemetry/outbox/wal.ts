import { open } from 'node:fs/promises'
import type { DatabaseSync } from 'node:sqlite'
import { Failure } from '../../failure.ts'
import { isSyncFailure, storeFailure } from './errors.ts'

/**
 * Frames after which they are copied into the database. SQLite would do so within a commit; here it is done between two
 * of them, when the log has been synced off the event loop. What is left to do on it is to copy a MiB at the most, and
 * to sync that: the fewer frames, the shorter. Each costs two syncs more, one in a hundred at one sample a commit.
 */
const CHECKPOINT_FRAMES = 256

/** When copying fails as long as this, 32 MiB, nothing more is written. */
const MAX_FRAMES = 8192

export interface Log extends AsyncDisposable {
  /** Something was committed. */
  committed(nowMs: number): void
  /** Monotonic time of the first commit that may not be on the disk; undefined when all are. */
  unsyncedSinceMs(): number | undefined
  /**
   * All that was committed survives a power cut once this resolves. Does not hold the event loop.
   *
   * @throws Failure DISK_FULL, STATE_UNWRITABLE, OUTBOX_TORN
   */
  sync(): Promise<void>
  /** Keeps the log short. Failures as of `sync`. */
  trim(): Promise<void>
  /** Makes the log empty, and the file no longer than it must be. Failures as of `sync`. */
  truncate(): void
  /** Copies what can be copied into the database, so that the file of the log can be used anew. Failures as of `sync`. */
  copy(): void
  isOvergrown(): boolean
}

/** Stands for fdatasync of the log. */
export type SyncLog = (datasync: () => Promise<void>) => Promise<void>

/** For a database that is in no file. */
export const noLog: Log = {
  committed: () => undefined,
  unsyncedSinceMs: () => undefined,
  sync: async () => undefined,
  trim: async () => undefined,
  truncate: () => undefined,
  copy: () => undefined,
  isOvergrown: () => false,
  [Symbol.asyncDispose]: async () => undefined,
}

/** The log of the database under this path, which must have been opened. */
export async function openLog(database: DatabaseSync, path: string, sync: SyncLog): Promise<Log> {
  const file = await open(`${path}-wal`, 'r')
  const noop = database.prepare('PRAGMA wal_checkpoint(NOOP)')
  let unsyncedSinceMs: number | undefined
  /** After a sync that failed nobody knows which frames are on the disk, and later ones are worth nothing without them. */
  let inDoubt = false
  let tryAt = CHECKPOINT_FRAMES

  const uncopied = () => {
    const { log, checkpointed } = noop.get() as unknown as { readonly log: number; readonly checkpointed: number }
    return log - checkpointed
  }
  const checkpoint = (mode: 'PASSIVE' | 'TRUNCATE') => {
    try {
      const answer = database.prepare(`PRAGMA wal_checkpoint(${mode})`).get()
      if (answer?.['busy'] !== 0) throw new Failure('STATE_UNWRITABLE', `the log of ${path} is in use`)
    } catch (error) {
      inDoubt ||= isSyncFailure(error)
      throw storeFailure(path, error)
    }
  }
  const truncate = () => {
    checkpoint('TRUNCATE')
    inDoubt = false
    unsyncedSinceMs = undefined
    tryAt = CHECKPOINT_FRAMES
  }
  const doSync = async () => {
    if (inDoubt) return truncate()
    try {
      await sync(() => file.datasync())
      unsyncedSinceMs = undefined
    } catch (error) {
      inDoubt = true
      throw storeFailure(path, error)
    }
  }

  return {
    committed(nowMs) {
      unsyncedSinceMs ??= nowMs
    },
    unsyncedSinceMs: () => unsyncedSinceMs,
    sync: doSync,
    truncate,
    copy: () => checkpoint('PASSIVE'),
    isOvergrown: () => tryAt > CHECKPOINT_FRAMES && uncopied() > MAX_FRAMES,
    async trim() {
      const frames = uncopied()
      if (frames < tryAt) return
      tryAt = frames + CHECKPOINT_FRAMES
      if (unsyncedSinceMs !== undefined) await doSync()
      checkpoint('PASSIVE')
      tryAt = CHECKPOINT_FRAMES
    },
    [Symbol.asyncDispose]: () => file.close(),
  }
}
