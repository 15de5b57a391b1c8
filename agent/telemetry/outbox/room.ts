import { Failure } from '../../failure.ts'
import type { Delivery } from './incoming.ts'
import { victimAmong, yieldingBytes } from './limits.ts'
import { numberAt, placeOf } from './schema.ts'
import { isEmpty } from './streams.ts'
import type { Stream, Streams } from './streams.ts'
import type { SampleTable } from './table.ts'
import type { Tally } from './tally.ts'

/** What the steps of a transaction work on. */
export interface Shelf {
  readonly streams: Streams
  readonly table: SampleTable
  readonly tally: Tally
}

/** Rows of one stream that one transaction removes because they were acknowledged or are too old. */
const MAX_REMOVALS = 5000

/** Removes from the file what lies before the heads. */
export function removeAcknowledged({ streams, table }: Shelf): void {
  for (const stream of streams.all()) {
    if (stream.stored >= stream.head) continue
    const to = Math.min(stream.head - 1, stream.stored + MAX_REMOVALS - 1)
    table.remove(placeOf(stream.key, stream.stored), placeOf(stream.key, to))
    streams.change(stream, { stored: to + 1 })
  }
}

/**
 * Gives up samples that came in before `beforeMs`; those of a doubtful clock are kept, and what lies behind them.
 *
 * @returns whether more of them may be there
 */
export function expire(shelf: Shelf, beforeMs: number): boolean {
  let mayBeMore = false
  for (const stream of shelf.streams.all()) {
    if (isEmpty(stream) || stream.headAtMs >= beforeMs) continue
    let left = MAX_REMOVALS
    dropHead(shelf, stream, 'expired', ({ at, unsure }) => {
      left -= 1
      return left >= 0 && at < beforeMs && unsure === null
    })
    mayBeMore ||= left < 0
  }
  return mayBeMore
}

/**
 * Gives up as many of the oldest samples of the lowest priority as the delivery needs.
 *
 * @throws Failure OUTBOX_FULL  before anything is given up
 */
export function makeRoom(shelf: Shelf, delivery: Delivery, maxBytes: number): void {
  const { streams } = shelf
  const tooMuch = () => streams.bytes() + delivery.bytes - maxBytes
  if (tooMuch() <= 0) return
  if (delivery.bytes > maxBytes || yieldingBytes(streams.all(), delivery.priority) < tooMuch())
    throw new Failure(
      'OUTBOX_FULL',
      `no room for ${delivery.bytes} bytes of priority ${delivery.priority}: ${streams.bytes()} of ${maxBytes} are taken`,
    )
  while (tooMuch() > 0) {
    const victim = victimAmong(streams.all())
    if (victim === undefined) return
    const { stream, untilMs } = victim
    const headSum = stream.headSum + tooMuch()
    let isFirst = true
    dropHead(shelf, stream, 'full', ({ at, sum }) => {
      const goes = isFirst || (sum < headSum && at <= untilMs)
      isFirst = false
      return goes
    })
  }
}

/** Gives up samples from the head on as long as `goes` says so. */
function dropHead(
  { streams, table, tally }: Shelf,
  stream: Stream,
  cause: 'full' | 'expired',
  goes: (mark: { readonly at: number; readonly sum: number; readonly unsure: string | null }) => boolean,
): void {
  const { key, stored, head, tail, endSum, tailAtMs } = stream
  let next = { head: tail + 1, headSum: endSum, headAtMs: tailAtMs }
  for (const mark of table.marks(placeOf(key, head), placeOf(key, tail))) {
    if (goes(mark)) continue
    next = { head: numberAt(mark.place), headSum: mark.sum, headAtMs: mark.at }
    break
  }
  if (next.head === head) return
  table.remove(placeOf(key, stored), placeOf(key, next.head - 1))
  streams.change(stream, { ...next, stored: next.head })
  tally.add(cause, next.head - head)
}
