import { deliveryOf } from './incoming.ts'
import type { Delivery } from './incoming.ts'
import type { OutboxOptions } from './options.ts'
import { dropCauses } from './port.ts'
import type { Parcel } from './port.ts'
import { placeOf } from './schema.ts'
import type { Store } from './store.ts'
import { isEmpty } from './streams.ts'
import type { Stream } from './streams.ts'
import { turn } from './worker.ts'

/** Bounds of one transaction, in which nothing else happens. */
const MAX_SAMPLES = 500
const MAX_BYTES = 1024 * 1024

/**
 * Moves all that one store holds behind what the other one holds: samples in the order of their streams and with the
 * company that they share a message with, what was set aside, and the counts of what was given up. Nobody may write
 * either of them meanwhile.
 *
 * @throws Failure DISK_FULL, STATE_UNWRITABLE, OUTBOX_TORN  each sample is in exactly one of them then
 */
export async function carryOver(from: Store, to: Store, onDropped: OutboxOptions['onDropped']): Promise<void> {
  const { streams } = from.shelf
  for (const stream of streams.all()) {
    if (stream.open !== undefined) streams.change(stream, { open: undefined })
    while (!isEmpty(stream)) {
      const group = groupOf(from, stream)
      write(to, group, onDropped)
      for (const { parcel } of group) from.remove(parcel)
      await to.log.trim()
      await turn()
    }
  }
  carryRecords(from, to)
}

interface Carried {
  readonly parcel: Parcel
  readonly delivery: Delivery
}

function groupOf(from: Store, stream: Stream): readonly Carried[] {
  const group: Carried[] = []
  let [samples, bytes, after] = [0, 0, stream.head - 1]
  while (after < stream.tail && samples < MAX_SAMPLES && bytes < MAX_BYTES) {
    const parcel = from.next(stream.key, after, 0)
    if (parcel === undefined) break
    const carriedAtMs = from.shelf.table.mark(placeOf(stream.key, parcel.first))?.at ?? stream.headAtMs
    const delivery = { ...deliveryOf(parcel.samples), carriedAtMs }
    group.push({ parcel, delivery })
    samples += parcel.samples.length
    bytes += delivery.bytes
    after = parcel.last
  }
  return group
}

/** What finds no room beside samples of a higher priority is given up and counted. */
function write(to: Store, group: readonly Carried[], onDropped: OutboxOptions['onDropped']): void {
  const { tally } = to.shelf
  const was = tally.totals()
  const refused = to.write(group.map(({ delivery }) => delivery))
  for (const { samples } of refused.keys()) tally.add('full', samples.length)
  const is = tally.totals()
  for (const cause of dropCauses) if (is[cause] > was[cause]) onDropped?.(is[cause] - was[cause], cause)
}

function carryRecords(from: Store, to: Store): void {
  const dropped = from.shelf.tally.totals()
  to.transact(() => {
    for (const cause of dropCauses) to.shelf.tally.add(cause, dropped[cause])
    for (const { atMs, code, message, ...one } of from.aside.list().toReversed()) {
      const body = from.aside.body(one.id) ?? ''
      to.aside.add({ ...one, body, priority: 'telemetry', createdAtMs: atMs }, { code, message }, atMs)
    }
  })
}
