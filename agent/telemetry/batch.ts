import { parseJson } from '../system/json.ts'
import type { Label, Sample } from './sample.ts'

/** One sample of a batch, and when it was taken; wall time in milliseconds, undefined when nobody knows. */
export interface Entry extends Pick<Sample, 'id' | 'body'> {
  readonly atMs: number | undefined
}

/**
 * What a sample takes in a batch beside its ID and 4/3 of its body, at most, in bytes. Samples whose bodies, IDs and
 * this make 128 KiB are 171 KiB as a batch, and leave a third of a message for properties.
 */
export const ENTRY_BYTES = 80

/**
 * A JSON array of `{"id", "time", "body"}`, one object a sample in their order; `time` is left out when unknown. JSON
 * stands as it is, other text as a string, bytes in base64 with `"encoding": "base64"` beside them. So does text of
 * which a string would be longer than that, as a control character takes six bytes there.
 */
export function batchBody(entries: readonly Entry[], label: Label): string {
  const isJson = isJsonText(label)
  return `[${entries.map((entry) => entryText(entry, isJson)).join(',')}]`
}

/** Whether the body is text that can stand within other JSON. */
export function isJsonText({ contentType, contentEncoding = 'utf-8' }: Label): boolean {
  const type = contentType.split(';')[0]?.trim().toLowerCase() ?? ''
  return (type === 'application/json' || type.endsWith('+json')) && contentEncoding.toLowerCase() === 'utf-8'
}

function entryText({ id, atMs, body }: Entry, isJson: boolean): string {
  const time = atMs === undefined ? '' : `"time":"${new Date(atMs).toISOString()}",`
  return `{"id":${JSON.stringify(id)},${time}${bodyText(body, isJson)}}`
}

function bodyText(body: Sample['body'], isJson: boolean): string {
  if (typeof body !== 'string') return inBase64(body)
  // One sample that only claims to be JSON would make all of the batch unreadable.
  if (isJson && parseJson(body) !== undefined) return `"body":${body}`
  const asString = `"body":${JSON.stringify(body)}`
  const asBytes = inBase64(Buffer.from(body))
  return Buffer.byteLength(asString) <= asBytes.length ? asString : asBytes
}

function inBase64(bytes: Uint8Array): string {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
  return `"encoding":"base64","body":"${text}"`
}
