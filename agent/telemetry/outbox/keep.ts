import type { DatabaseSync } from 'node:sqlite'
import { Failure } from '../../failure.ts'
import type { Clock } from '../../system/clock.ts'
import type { Priority } from '../sample.ts'
import { extended, joins } from './batch.ts'
import type { Delivery, Incoming } from './incoming.ts'
import type { OutboxLimits } from './port.ts'
import { makeRoom } from './room.ts'
import type { Shelf } from './room.ts'
import { MAX_NAMED_STREAMS, MAX_OWN_STREAMS, placeOf } from './schema.ts'
import type { SampleColumns } from './schema.ts'
import { isEmpty } from './streams.ts'
import type { Stream } from './streams.ts'

/** Puts samples into the file. Each is a step of a transaction. */
export interface Keeper {
  /**
   * Keeps all of a delivery.
   *
   * @throws Failure OUTBOX_FULL  nothing was written then
   */
  keep(delivery: Delivery, atMs: number): void
  /** Appends one to its stream. */
  append(
    stream: Stream,
    columns: SampleColumns,
    bytes: number,
    at: { readonly ms: number; readonly batch: number },
  ): void
  /** The stream of this name, made when there is none. */
  streamOf(name: string, priority: Priority): Stream
}

/** Whoever may name streams must not take the place of the device's own measurements and of alarms. */
const OWN_STREAM = /^(device|alarms-\d+)$/

function isOwn(name: string): boolean {
  return OWN_STREAM.test(name)
}

export function createKeeper(
  database: DatabaseSync,
  shelf: Shelf,
  limits: OutboxLimits,
  clock: Pick<Clock, 'monotonicMs'>,
): Keeper {
  const { streams, table } = shelf
  const addStream = database.prepare('INSERT INTO streams (key, priority, name) VALUES (?, ?, ?)')
  const dropStream = database.prepare('DELETE FROM streams WHERE key = ?')

  const streamOf = (name: string, priority: Priority) => {
    const known = streams.named(name, priority)
    if (known !== undefined) return known
    const made = streams.make(name, priority)
    addStream.run(made.key, priority, name)
    return made
  }
  /** An empty stream gives way to a new one. */
  const makePlace = (name: string, used: ReadonlySet<Stream>) => {
    const most = isOwn(name) ? MAX_OWN_STREAMS : MAX_NAMED_STREAMS
    const alike = [...streams.all()].filter((one) => isOwn(one.name) === isOwn(name))
    if (alike.length < most) return
    const empty = alike.find((one) => isEmpty(one) && one.stored === one.head && !used.has(one))
    if (empty === undefined) throw new Failure('OUTBOX_FULL', `no room for stream ${name}: ${most} others are in use`)
    dropStream.run(empty.key)
    streams.forget(empty)
  }
  const streamsOf = ({ samples }: Delivery) => {
    const used = new Set<Stream>()
    for (const { name, priority } of samples) {
      if (streams.named(name, priority) === undefined) makePlace(name, used)
      used.add(streamOf(name, priority))
    }
  }

  const append: Keeper['append'] = (stream, columns, bytes, { ms, batch }) => {
    const tail = stream.tail + 1
    table.insert({ place: placeOf(stream.key, tail), batch, at: ms, sum: stream.endSum, ...columns })
    const headAtMs = isEmpty(stream) ? ms : stream.headAtMs
    streams.change(stream, { tail, endSum: stream.endSum + bytes, headAtMs, tailAtMs: ms })
  }
  const put = ({ name, priority, columns, bytes, bodyBytes }: Incoming, ms: number) => {
    const { batchSamples } = limits
    const stream = streamOf(name, priority)
    const newcomer = {
      bytes: bodyBytes + Buffer.byteLength(columns.id),
      label: columns.label,
      unsure: columns.unsure !== null,
    }
    const company = stream.open !== undefined && joins(stream.open, newcomer, batchSamples) ? stream.open : undefined
    const number = stream.tail + 1
    append(stream, columns, bytes, { ms, batch: company?.first ?? number })
    if (batchSamples === 1) return
    const open = extended(company, newcomer, { number, monotonicMs: clock.monotonicMs(), batchSamples })
    streams.change(stream, { open })
  }
  /** What was one message elsewhere shares it with nothing else. */
  const closeAll = () => {
    for (const stream of streams.all()) if (stream.open !== undefined) streams.change(stream, { open: undefined })
  }

  return {
    append,
    streamOf,
    keep(delivery, atMs) {
      streamsOf(delivery)
      makeRoom(shelf, delivery, limits.maxBytes)
      const { samples, carriedAtMs } = delivery
      for (const sample of samples) put(sample, carriedAtMs ?? atMs)
      if (carriedAtMs !== undefined) closeAll()
    },
  }
}
