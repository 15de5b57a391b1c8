import type { Sample } from '../sample.ts'
import { torn } from './errors.ts'
import type { Parcel } from './port.ts'
import { bodyBytes, decodeRow, placeOf } from './schema.ts'
import type { SampleRow } from './schema.ts'
import { closedOf } from './streams.ts'
import type { Stream } from './streams.ts'
import type { SampleTable } from './table.ts'

/**
 * The message that begins with the sample behind number `after`, or with the head when that lies further on.
 *
 * @throws Failure OUTBOX_TORN, or what SQLite throws
 */
export function readParcel(
  table: SampleTable,
  stream: Stream,
  at: { readonly after: number; readonly epoch: number; readonly path: string },
): Parcel | undefined {
  const first = Math.max(at.after + 1, stream.head)
  if (first > closedOf(stream)) return undefined
  const head = table.row(placeOf(stream.key, first))
  if (head === undefined) throw torn(at.path, `stream ${stream.name} lacks number ${first}`)
  const others = companyOf(table, stream, first, head.batch)
  const samples: [Sample, ...Sample[]] = [decodeRow(head, stream)]
  for (const row of others) samples.push(decodeRow(row, stream))
  const bytes = others.reduce((sum, { body }) => sum + bodyBytes(body), bodyBytes(head.body))
  return { epoch: at.epoch, stream: stream.key, first, last: first + others.length, samples, bytes }
}

/** The rows behind this one in its batch. */
function companyOf(table: SampleTable, stream: Stream, first: number, batch: number): readonly SampleRow[] {
  const from = placeOf(stream.key, first + 1)
  const to = placeOf(stream.key, closedOf(stream))
  return to < from || table.batchAt(from) !== batch ? [] : table.batch(from, to, batch)
}
