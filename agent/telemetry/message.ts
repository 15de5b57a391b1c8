import { createHash } from 'node:crypto'
import { batchBody, isJsonText } from './batch.ts'
import { creationOf } from './creation.ts'
import type { BootTime, Creation } from './creation.ts'
import { correctTimestamp } from './device-message.ts'
import { DEVICE_STREAM } from './device-source.ts'
import type { Parcel } from './outbox/port.ts'
import type { Label, Sample } from './sample.ts'

export type { BootTime } from './creation.ts'

/** What the hub is sent for a parcel. */
export interface Outgoing {
  readonly body: string | Uint8Array
  readonly messageId: string
  readonly contentType: string
  readonly contentEncoding?: string
  /** Wall time in milliseconds at which the content was measured; left out when nobody knows. */
  readonly creationTimeMs?: number
  /** Component of the device's DTDL model. */
  readonly component?: string
  readonly properties: Readonly<Record<string, string>>
}

export type Compression = 'off' | 'gzip'

export interface MessageFacts {
  readonly boot: BootTime
  readonly compression: Compression
}

/** Must make the same bytes of the same bytes: a message that is sent again is the same message. */
export type Gzip = (bytes: Uint8Array) => Uint8Array

export type BuildMessage = (parcel: Parcel, facts: MessageFacts, gzip: Gzip) => Outgoing

/** Below this the header of gzip and the lost routing on the body cost more than is won. */
const MIN_COMPRESSED_BYTES = 512

/** The body and what is said about it. */
type Content = Pick<Outgoing, 'body' | 'contentType' | 'contentEncoding'>

interface Dated {
  readonly sample: Sample
  readonly creation: Creation
}

/**
 * The message for a parcel: one sample as it is, or the samples of a batch as one JSON array. The same parcel makes the
 * same message, except that a time which was unsure at the first attempt may be known at the next.
 */
export const buildMessage: BuildMessage = ({ samples }, { boot, compression }, gzip) => {
  const [first] = samples
  const dated = samples.map((sample) => dateSample(sample, boot))
  const plain = samples.length === 1 ? single(dated[0]?.sample ?? first) : batch(dated, first.label)
  const content = compression === 'gzip' ? compressed(plain, gzip) : plain
  const creationTimeMs = dated[0]?.creation.atMs
  const { component } = first.label
  return {
    ...content,
    messageId: messageIdOf(samples),
    ...(creationTimeMs !== undefined && { creationTimeMs }),
    ...(component !== undefined && { component }),
    properties: { ...first.label.properties, ...ownProperties(dated, first.label) },
  }
}

/**
 * A batch has an ID of its own, made of those of all its samples: a program that got no answer hands the same samples in
 * again, and the batch that then begins with them may hold others behind them.
 */
function messageIdOf(samples: Parcel['samples']): string {
  const [first, ...others] = samples
  if (others.length === 0) return first.id
  const ids = samples.map(({ id }) => id).join(' ')
  return `batch-${createHash('sha256').update(ids).digest('hex').slice(0, 32)}`
}

/** With the time within the body set right as well, where the body is the agent's own. */
function dateSample(sample: Sample, boot: BootTime): Dated {
  const creation = creationOf(sample, boot)
  const { stream, body } = sample
  if (creation.clock !== 'corrected' || stream !== DEVICE_STREAM || typeof body !== 'string')
    return { sample, creation }
  return { sample: { ...sample, body: correctTimestamp(body, creation.atMs) }, creation }
}

function single({ body, label: { contentType, contentEncoding } }: Sample): Content {
  return { body, contentType, ...(contentEncoding !== undefined && { contentEncoding }) }
}

function batch(dated: readonly Dated[], label: Label): Content {
  const entries = dated.map(({ sample, creation }) => ({ ...sample, atMs: creation.atMs }))
  return { body: batchBody(entries, label), contentType: 'application/json', contentEncoding: 'utf-8' }
}

function ownProperties(dated: readonly Dated[], label: Label): Record<string, string> {
  const clock = worstClock(dated)
  return {
    ...(dated.length > 1 && { iotAgentBatch: String(dated.length), ...innerType(label) }),
    ...(clock !== undefined && { iotAgentClock: clock }),
  }
}

/** What the samples of a batch are, where the type of the batch does not say it. */
function innerType(label: Label): Record<string, string> {
  if (isJsonText(label)) return {}
  const { contentType, contentEncoding } = label
  return {
    iotAgentContentType: contentType,
    ...(contentEncoding !== undefined && { iotAgentContentEncoding: contentEncoding }),
  }
}

function worstClock(dated: readonly Dated[]): Creation['clock'] {
  const clocks = dated.map(({ creation }) => creation.clock)
  return clocks.find((clock) => clock === 'untrusted') ?? clocks.find((clock) => clock === 'corrected')
}

/** A body that somebody has encoded already stays as it is: only one encoding can be named. */
function compressed(content: Content, gzip: Gzip): Content {
  const { contentEncoding, contentType } = content
  if (contentEncoding !== undefined && contentEncoding.toLowerCase() !== 'utf-8') return content
  const bytes = Buffer.from(content.body)
  if (bytes.length < MIN_COMPRESSED_BYTES) return content
  const body = gzip(bytes)
  // At most nine tenths, in whole numbers.
  return body.length * 10 <= bytes.length * 9 ? { body, contentType, contentEncoding: 'gzip' } : content
}
