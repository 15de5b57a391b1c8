import { Failure } from '../../failure.ts'
import type { Priority, Sample } from '../sample.ts'
import { lowestOf } from './limits.ts'
import { bodyBytes, bytesOf, encodeRow } from './schema.ts'
import type { SampleColumns } from './schema.ts'

/** A sample on its way into the file. */
export interface Incoming {
  readonly name: string
  readonly priority: Priority
  readonly columns: SampleColumns
  /** Of the room of the outbox. */
  readonly bytes: number
  readonly bodyBytes: number
}

/** What was handed in at once: all of it is kept, or nothing. */
export interface Delivery {
  readonly samples: readonly Incoming[]
  readonly bytes: number
  /** The lowest priority among them: what is above it does not make room. */
  readonly priority: Priority
  /** Set when it is one message that was kept elsewhere before: the wall time at which it came in there. */
  readonly carriedAtMs?: number
}

/** @throws Failure TELEMETRY_INVALID  a time is no number */
export function deliveryOf(samples: readonly Sample[]): Delivery {
  const incoming = samples.map(incomingOf)
  const bytes = incoming.reduce((sum, one) => sum + one.bytes, 0)
  return { samples: incoming, bytes, priority: lowestOf(samples.map(({ priority }) => priority)) }
}

function incomingOf(sample: Sample): Incoming {
  const { stream: name, priority, body, createdAtMs, unsure } = sample
  if (!Number.isFinite(createdAtMs) || !Number.isFinite(unsure?.uptimeMs ?? 0))
    throw new Failure('TELEMETRY_INVALID', `the time of sample ${sample.id} is no number`)
  const columns = encodeRow(sample)
  return { name, priority, columns, bytes: bytesOf(columns), bodyBytes: bodyBytes(body) }
}
