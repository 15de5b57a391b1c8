import { statfsSync } from 'node:fs'
import { dirname } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'
import { Failure, asFailure } from '../../failure.ts'
import type { Clock } from '../../system/clock.ts'
import { createAside } from './aside.ts'
import type { Aside } from './aside.ts'
import { IN_MEMORY, openDatabase, pragma } from './database.ts'
import { storeFailure, torn } from './errors.ts'
import type { Delivery } from './incoming.ts'
import { createKeeper } from './keep.ts'
import type { Keeper } from './keep.ts'
import type { OutboxLimits, Parcel } from './port.ts'
import { readParcel } from './reader.ts'
import { expire, removeAcknowledged } from './room.ts'
import type { Shelf } from './room.ts'
import { bytesOf, numberAt, placeOf } from './schema.ts'
import type { StreamRow } from './schema.ts'
import { createStreams } from './streams.ts'
import type { Stream } from './streams.ts'
import { createSampleTable } from './table.ts'
import type { SampleTable } from './table.ts'
import { createTally } from './tally.ts'
import { createUndo } from './undo.ts'
import { noLog, openLog } from './wal.ts'
import type { Log, SyncLog } from './wal.ts'

export interface StoreOptions {
  readonly clock: Clock
  readonly limits: OutboxLimits
  /** Whether the wall clock can be believed. */
  readonly trusted: () => boolean
  readonly sync: SyncLog
}

/** One open file. Everything that reads or writes it throws Failure OUTBOX_TORN, DISK_FULL or STATE_UNWRITABLE. */
export interface Store extends AsyncDisposable {
  readonly shelf: Shelf
  readonly keeper: Keeper
  readonly aside: Aside
  readonly log: Log
  /** Stores them in one transaction, with all that waits to be removed; what was refused of them, and why. */
  write(deliveries: readonly Delivery[]): ReadonlyMap<Delivery, Failure>
  /** Runs steps in a transaction; what they change in memory is taken back with it. */
  transact<Result>(steps: () => Result): Result
  next(stream: number, after: number, epoch: number): Parcel | undefined
  /** Moves the head of the parcel's stream behind it; false when it is there already. */
  remove(parcel: Parcel): boolean
  /** Whether something was removed or counted that is not written. */
  isBehind(): boolean
  /** Makes an empty file small. */
  shrink(): void
}

/** How often old samples are looked for, and an empty file is made small. */
const EXPIRE_EVERY_MS = 60_000
const SHRINK_EVERY_MS = 10 * 60_000

/** An empty file above this is made small. */
const SHRINK_ABOVE_BYTES = 8 * 1024 * 1024
const PAGE_BYTES = 4096

/**
 * What is left of the file system: on one without any room, what was sent could not be removed either, as the log that
 * says so must be copied into the database before it can be used again. The log is half of this at the most (wal.ts).
 */
const ROOM_LEFT_BYTES = 2 * 1024 * 1024

/**
 * @param path IN_MEMORY for none
 * @throws Failure OUTBOX_TORN, DISK_FULL, STATE_UNWRITABLE
 */
export async function openStore(path: string, options: StoreOptions): Promise<Store> {
  const database = await openDatabase(path)
  try {
    const log = path === IN_MEMORY ? noLog : await openLog(database, path, options.sync)
    return createStore(database, path, log, options)
  } catch (error) {
    database.close()
    throw storeFailure(path, error)
  }
}

function createStore(database: DatabaseSync, path: string, log: Log, options: StoreOptions): Store {
  const { clock, limits } = options
  const undo = createUndo()
  const streams = createStreams(undo)
  const table = createSampleTable(database)
  const tally = createTally(database, undo)
  const aside = createAside(database, undo)
  const shelf: Shelf = { streams, table, tally }
  const keeper = createKeeper(database, shelf, limits, clock)
  let expireAtMs = -Infinity
  let shrinkAtMs = -Infinity

  for (const row of database.prepare('SELECT key, priority, name FROM streams').all())
    streams.load(streamAt(table, row as unknown as StreamRow, path))

  const guarded = <Result>(work: () => Result): Result => {
    try {
      return work()
    } catch (error) {
      throw storeFailure(path, error)
    }
  }
  const transact = <Result>(steps: () => Result): Result =>
    guarded(() => {
      database.exec('BEGIN IMMEDIATE')
      undo.begin()
      try {
        const result = steps()
        aside.write()
        tally.write()
        database.exec('COMMIT')
        undo.keep()
        log.committed(clock.monotonicMs())
        return result
      } catch (error) {
        undo.revert()
        if (database.isTransaction) database.exec('ROLLBACK')
        throw error
      }
    })
  const dropOld = () => {
    if (clock.monotonicMs() < expireAtMs || !options.trusted()) return
    if (!expire(shelf, clock.now() - limits.maxAgeMs)) expireAtMs = clock.monotonicMs() + EXPIRE_EVERY_MS
  }

  return {
    shelf,
    aside: { ...aside, list: () => guarded(() => aside.list()), body: (id) => guarded(() => aside.body(id)) },
    log,
    transact,
    keeper,
    write(deliveries) {
      return transact(() => {
        const refused = new Map<Delivery, Failure>()
        const at = Math.round(clock.now())
        removeAcknowledged(shelf)
        dropOld()
        if (path !== IN_MEMORY) checkRoom(database, path, deliveries)
        for (const delivery of deliveries) {
          try {
            keeper.keep(delivery, at)
          } catch (error) {
            const failure = asFailure(error)
            if (failure.code !== 'OUTBOX_FULL') throw error
            refused.set(delivery, failure)
          }
        }
        return refused
      })
    },
    next: (key, after, epoch) =>
      guarded(() => {
        const stream = streams.at(key)
        return stream && readParcel(table, stream, { after, epoch, path })
      }),
    remove: ({ stream: key, last }) =>
      guarded(() => {
        const stream = streams.at(key)
        if (stream === undefined || last < stream.head) return false
        const head = Math.min(last, stream.tail) + 1
        const mark = head > stream.tail ? undefined : table.mark(placeOf(key, head))
        if (mark === undefined && head <= stream.tail) throw torn(path, `stream ${stream.name} lacks number ${head}`)
        streams.change(stream, { head, headSum: mark?.sum ?? stream.endSum, headAtMs: mark?.at ?? stream.tailAtMs })
        return true
      }),
    isBehind: () => aside.isChanged() || tally.isChanged() || [...streams.all()].some((one) => one.stored < one.head),
    shrink: () =>
      guarded(() => {
        if (path === IN_MEMORY || clock.monotonicMs() < shrinkAtMs) return
        const pages = pragma(database, 'page_count')
        if (pages * PAGE_BYTES < SHRINK_ABOVE_BYTES || pragma(database, 'freelist_count') < pages / 2) return
        shrinkAtMs = clock.monotonicMs() + SHRINK_EVERY_MS
        database.exec('VACUUM')
        log.truncate()
      }),
    async [Symbol.asyncDispose]() {
      await log[Symbol.asyncDispose]()
      database.close()
    },
  }
}

/**
 * Keeps the outbox from being what fills the disk: the file grows while there is enough beside it, then it uses its own
 * room again.
 *
 * @throws Failure DISK_FULL
 */
function checkRoom(database: DatabaseSync, path: string, deliveries: readonly Delivery[]): void {
  // A row takes a page of its own at the worst, when it takes half of one.
  const bytes = 2 * deliveries.reduce((sum, delivery) => sum + delivery.bytes, 0)
  if (bytes === 0) return
  const { bavail, bsize } = statfsSync(dirname(path))
  const left = bavail * bsize
  if (left >= ROOM_LEFT_BYTES + bytes || pragma(database, 'freelist_count') * PAGE_BYTES >= bytes) return
  throw new Failure('DISK_FULL', `only ${left} bytes are left beside ${path}`, { context: { path } })
}

/** Where a stream begins and ends in the file. */
function streamAt(table: SampleTable, { key, priority, name }: StreamRow, path: string): Stream {
  const { oldest, newest } = table.ends(placeOf(key, 1), placeOf(key + 1, 0) - 1)
  const identity = { key, priority, name, open: undefined }
  if (oldest === undefined || newest === undefined)
    return { ...identity, stored: 1, head: 1, tail: 0, headSum: 0, endSum: 0, headAtMs: 0, tailAtMs: 0 }
  const [head, tail] = [numberAt(oldest.place), numberAt(newest.place)]
  const endSum = newest.sum + bytesOf(newest)
  if (endSum <= oldest.sum) throw torn(path, `the ends of stream ${name} do not fit`)
  const times = { headAtMs: oldest.at, tailAtMs: newest.at }
  return { ...identity, stored: head, head, tail, headSum: oldest.sum, endSum, ...times }
}
