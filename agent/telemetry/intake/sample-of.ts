import { Failure } from '../../failure.ts'
import { isObject, parseJson } from '../../system/json.ts'
import type { Label, Priority, Sample } from '../sample.ts'
import { elementsOf, isArrayText, membersOf, trimBlank } from './cut.ts'
import { MAX_LINE_BYTES } from './lines.ts'
import type { Wanted } from './request.ts'
import { judge, show, suggestion } from './said.ts'
import type { Asked, Said } from './said.ts'

/** What a sample gets that its client does not say. */
export interface Given {
  readonly newId: () => string
  /** The time of a sample that came without one. */
  readonly stamp: Stamp
}

export type Stamp = Pick<Sample, 'createdAtMs' | 'unsure'>

/** Largest message that the hub takes, properties included. Source: IoT Hub quotas and throttling. */
const MAX_MESSAGE_BYTES = 256 * 1024

const DEFAULT_STREAM = 'local'

/** Left for what the agent adds: times, names of its own properties. */
const OVERHEAD_BYTES = 1024

/** No body can be larger, whatever is said of it. */
export const MAX_BODY_BYTES = MAX_MESSAGE_BYTES - OVERHEAD_BYTES

/** Samples in one array. */
export const MAX_ELEMENTS = 10_000

/** More problems than this are not told of one request. */
const MAX_PROBLEMS = 10

const envelopeKeys = [
  'body',
  'id',
  'time',
  'stream',
  'priority',
  'severity',
  'component',
  'properties',
  'contentType',
] as const

/**
 * The samples of a body that is one JSON text: the elements of an array, or one.
 *
 * @throws Failure TELEMETRY_INVALID    it is not JSON, or not of the form that is wanted; each problem with its place
 * @throws Failure TELEMETRY_TOO_LARGE  one of them, or their number
 */
export function samplesOfText(text: string, wanted: Wanted, given: Given): readonly Sample[] {
  if (!isArrayText(text)) return [sampleOfText(text, wanted, given)]
  const elements = elementsOf(text, MAX_ELEMENTS)
  if (elements === undefined) throw new Failure('TELEMETRY_INVALID', notJson(text, wanted))
  if (elements.length > MAX_ELEMENTS) {
    throw new Failure('TELEMETRY_TOO_LARGE', `the array has more than ${MAX_ELEMENTS} samples`)
  }
  if (elements.length !== 1 && wanted.said.id !== undefined) {
    throw new Failure('TELEMETRY_INVALID', `id is for one sample, and the array has ${elements.length}`)
  }
  return samplesOfElements(elements, wanted, given)
}

/**
 * The one sample of a JSON text, which is kept as it was written.
 *
 * @throws Failure TELEMETRY_INVALID, TELEMETRY_TOO_LARGE
 */
export function sampleOfText(text: string, wanted: Wanted, given: Given): Sample {
  const written = trimBlank(text)
  // To find out what it is would hold up everything else for seconds, and take some hundred MB.
  if (written.length > MAX_LINE_BYTES) {
    const fact = `a sample has more than ${MAX_LINE_BYTES} bytes with what is said beside it`
    throw new Failure('TELEMETRY_TOO_LARGE', fact, { context: { maxBytes: MAX_LINE_BYTES } })
  }
  const value = parseJson(written)
  if (value === undefined) throw new Failure('TELEMETRY_INVALID', notJson(text, wanted))
  if (!wanted.envelope) return makeSample(wanted.said, written, given)
  if (!isObject(value)) throw new Failure('TELEMETRY_INVALID', 'an envelope is an object with a body')
  return sampleOfEnvelope(value, written, wanted, given)
}

/**
 * The one sample of a body that nobody looks into.
 *
 * @throws Failure TELEMETRY_TOO_LARGE
 */
export function makeSample(said: Said, body: string | Uint8Array, given: Given): Sample {
  const sample: Sample = {
    id: said.id ?? given.newId(),
    stream: said.stream ?? usualStream(said.priority, given.stamp.createdAtMs),
    priority: said.priority,
    ...(said.createdAtMs === undefined ? given.stamp : timeOfItsOwn(said.createdAtMs, given.stamp)),
    label: said.label,
    body,
  }
  const bytes = Buffer.byteLength(body)
  const maxBytes = MAX_BODY_BYTES - Buffer.byteLength(sample.id) - labelBytes(said.label)
  if (bytes <= maxBytes) return sample
  throw new Failure('TELEMETRY_TOO_LARGE', `a sample has ${bytes} bytes, this one may have ${maxBytes}`, {
    context: { bytes, maxBytes },
  })
}

function timeOfItsOwn(createdAtMs: number, { unsure }: Stamp): Pick<Sample, 'createdAtMs' | 'cameUnsure'> {
  return { createdAtMs, ...(unsure !== undefined && { cameUnsure: true }) }
}

const HOUR_MS = 3_600_000

/**
 * Where a sample goes for which no stream is asked. Alarms go by the hour: after an outage those of the newest hour are
 * sent first, and within an hour they keep their order.
 */
function usualStream(priority: Priority, nowMs: number): string {
  return priority === 'alarm' ? `alarms-${Math.floor(nowMs / HOUR_MS)}` : DEFAULT_STREAM
}

function samplesOfElements(elements: readonly string[], wanted: Wanted, given: Given): readonly Sample[] {
  const samples: Sample[] = []
  const problems: string[] = []
  for (const [at, element] of elements.entries()) {
    try {
      samples.push(sampleOfText(element, wanted, given))
    } catch (error) {
      if (!(error instanceof Failure)) throw error
      if (error.code !== 'TELEMETRY_INVALID') throw placed(error, `element ${at + 1}`)
      problems.push(`element ${at + 1}: ${error.message}`)
      if (problems.length === MAX_PROBLEMS) break
    }
  }
  if (problems.length > 0) throw new Failure('TELEMETRY_INVALID', problems.join('; '))
  return samples
}

/** The failure with the place in front of what it says. */
function placed(failure: Failure, place: string): Failure {
  return new Failure(failure.code, `${place}: ${failure.message}`, { cause: failure, context: failure.context })
}

function sampleOfEnvelope(
  envelope: Readonly<Record<string, unknown>>,
  text: string,
  wanted: Wanted,
  given: Given,
): Sample {
  const { body, ...own } = envelope
  const problems = Object.keys(envelope)
    .filter((key) => !envelopeKeys.some((known) => known === key))
    .slice(0, MAX_PROBLEMS)
    .map((key) => `an envelope has no ${show(key)}${suggestion(key, envelopeKeys)}`)
  if (body === undefined) problems.push('the envelope has no body')
  const type = typeof own['contentType'] === 'string' ? own['contentType'] : undefined
  const isPlainText = type !== undefined && !/^application\/json *(;|$)/i.test(type)
  if (isPlainText && body !== undefined && typeof body !== 'string') problems.push(`a body of ${type} must be a string`)
  const judged = judge(togetherAsked(wanted.asked, own, isPlainText))
  if (!judged.ok) problems.push(...judged.problems)
  if (!judged.ok || problems.length > 0)
    throw new Failure('TELEMETRY_INVALID', problems.slice(0, MAX_PROBLEMS).join('; '))
  const content = isPlainText ? String(body) : (membersOf(text).get('body') ?? '')
  return makeSample(judged.value, content, given)
}

/** An envelope says it for its own sample; properties of both are kept. */
function togetherAsked(request: Asked, own: Asked, isPlainText: boolean): Asked {
  const { contentType, ...others } = own
  const properties = isObject(request.properties) && (own.properties === undefined || isObject(own.properties))
  return {
    ...request,
    ...others,
    ...(properties && { properties: { ...(request.properties as object), ...(own.properties as object | undefined) } }),
    ...(isPlainText && { contentType, contentEncoding: 'utf-8' }),
    ...(contentType !== undefined && typeof contentType !== 'string' && { contentType }),
  }
}

function notJson(text: string, { form }: Wanted): string {
  const start = JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}…` : text)
  if (form !== 'guess') return `not JSON: ${start}`
  return `not JSON: ${start}; write it as {"temperature":21.5}, or say what it is, as in -H "Content-Type: text/plain"`
}

function labelBytes({ contentType, contentEncoding = '', component = '', properties = {} }: Label): number {
  const texts = [contentType, contentEncoding, component, ...Object.entries(properties).flat()]
  return texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0)
}
