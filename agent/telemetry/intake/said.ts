import { isObject } from '../../system/json.ts'
import { nearestOf } from '../../system/nearest.ts'
import { PLAIN_LABEL, priorities } from '../sample.ts'
import type { Label, Priority } from '../sample.ts'
import { parseTime } from './instant.ts'

/** What a client says of a sample beside its body, in a query or in an envelope, before anybody has looked at it. */
export interface Asked {
  readonly stream?: unknown
  readonly priority?: unknown
  readonly severity?: unknown
  readonly component?: unknown
  readonly time?: unknown
  readonly id?: unknown
  readonly properties?: unknown
  readonly contentType?: unknown
  readonly contentEncoding?: unknown
}

/** The same, as it may be. */
export interface Said {
  /** Left out when none is asked for. */
  readonly stream?: string
  readonly priority: Priority
  readonly label: Label
  readonly id?: string
  /** The client's own time, in milliseconds. */
  readonly createdAtMs?: number
}

export type Judged<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly problems: readonly string[] }

export const severities = ['debug', 'info', 'warning', 'error', 'critical'] as const

/** Who says this means an alarm, unless a priority is asked for. */
const alarming: readonly unknown[] = ['error', 'critical']

const STREAM = /^[A-Za-z0-9._-]{1,64}$/

/** What a message ID may hold. Source: IoT Hub, "Create and read IoT Hub messages". */
const MESSAGE_ID = /^[A-Za-z0-9\-:.+%_#*?!(),=@;$']{1,128}$/

/** Characters of an application property's name. Source: the same. */
const PROPERTY_NAME = /^[A-Za-z0-9!#$%&'*+\-.^_`|~]{1,128}$/

/** Names that the hub or the agent gives. */
const RESERVED_PROPERTY = /^(\$|iothub-|iotagent|dt-subject$)/i

/** A name of DTDL. Source: DTDL v2, "component". */
const COMPONENT = /^[A-Za-z]([A-Za-z0-9_]{0,62}[A-Za-z0-9])?$/

const MEDIA_TYPE = /^[A-Za-z0-9!#$&^_.+-]+\/[A-Za-z0-9!#$&^_.+-]+( *;[ -~]*)?$/
const MAX_MEDIA_TYPE = 256

const CONTROL = /\p{Cc}/u

/** They travel URL-encoded in an MQTT topic, which has 64 KiB for everything. */
const MAX_PROPERTY_BYTES = 16 * 1024

/** Looks at everything that was said; all problems at once, each with the name of what it is about. */
export function judge(asked: Asked): Judged<Said> {
  const problems: string[] = []
  const must = (name: string, ok: boolean, rule: string) => {
    if (!ok) problems.push(`${name} ${rule}`)
  }
  const { stream, priority, severity, component, id } = asked
  must(
    'stream',
    stream === undefined || matches(stream, STREAM),
    'must be 1 to 64 letters, digits, dots, dashes or underscores',
  )
  must('stream', !isReservedStream(stream), `${show(stream)} is reserved: take another name`)
  must('priority', priority === undefined || isOneOf(priority, priorities), oneOf(priority, priorities))
  must('severity', severity === undefined || isOneOf(severity, severities), oneOf(severity, severities))
  must('component', component === undefined || matches(component, COMPONENT), 'must be a name of DTDL, as in "motor1"')
  must('id', id === undefined || matches(id, MESSAGE_ID), "must be 1 to 128 letters, digits or -:.+%_#*?!(),=@;$'")
  const time = asked.time === undefined ? undefined : parseTime(asked.time)
  must('time', typeof time !== 'string', String(time))
  const properties = judgeProperties(asked, must)
  const contentType = judgeType(asked, must)
  if (problems.length > 0) return { ok: false, problems }
  const label = labelOf(contentType, text(asked.contentEncoding), text(component), properties)
  return {
    ok: true,
    value: {
      ...(typeof stream === 'string' && { stream }),
      priority: (priority as Priority | undefined) ?? (alarming.includes(severity) ? 'alarm' : 'telemetry'),
      label,
      ...(typeof id === 'string' && { id }),
      ...(typeof time === 'number' && { createdAtMs: time }),
    },
  }
}

/** The known name that was probably meant, as the end of a sentence. */
export function suggestion(written: string, known: readonly string[]): string {
  const near = nearestOf(written, known)
  return near === undefined ? `; known are ${known.join(', ')}` : `: did you mean ${near}?`
}

/** A value as it stands in a message: its JSON, shortened. */
export function show(value: unknown): string {
  const written = JSON.stringify(value) ?? 'nothing'
  return written.length > 60 ? `${written.slice(0, 60)}…` : written
}

type Must = (name: string, ok: boolean, rule: string) => void

function judgeProperties(asked: Asked, must: Must): Readonly<Record<string, string>> {
  const given = asked.properties ?? {}
  must('properties', isObject(given), 'must be an object of texts')
  const entries = isObject(given) ? Object.entries(given) : []
  let bytes = 0
  for (const [name, value] of entries) {
    const what = `property ${show(name)}`
    must(
      what,
      PROPERTY_NAME.test(name),
      "has a character that the hub does not take: use letters, digits, - . _ or !#$%&'*+^`|~",
    )
    must(what, !RESERVED_PROPERTY.test(name), 'is reserved: take another name')
    must(
      what,
      typeof value === 'string' && value.isWellFormed() && !CONTROL.test(value),
      'must be a text without control characters',
    )
    must(what, name !== 'severity' || asked.severity === undefined, 'is there already, as severity')
    if (typeof value === 'string' && value.isWellFormed()) bytes += encodeURIComponent(name + value).length
  }
  must(
    'properties',
    bytes <= MAX_PROPERTY_BYTES,
    `take ${bytes} bytes as they travel, ${MAX_PROPERTY_BYTES} are allowed`,
  )
  const said = asked.severity === undefined ? entries : [...entries, ['severity', asked.severity]]
  return Object.fromEntries(said) as Readonly<Record<string, string>>
}

function judgeType({ contentType }: Asked, must: Must): string | undefined {
  const type = text(contentType)
  const ok = contentType === undefined || (type !== undefined && MEDIA_TYPE.test(type) && type.length <= MAX_MEDIA_TYPE)
  must('contentType', ok, `must be a media type like text/plain, is ${show(contentType)}`)
  return type
}

function labelOf(
  contentType: string | undefined,
  contentEncoding: string | undefined,
  component: string | undefined,
  properties: Readonly<Record<string, string>>,
): Label {
  const hasProperties = Object.keys(properties).length > 0
  if (contentType === undefined && component === undefined && !hasProperties) return PLAIN_LABEL
  return {
    ...(contentType === undefined
      ? PLAIN_LABEL
      : { contentType, ...(contentEncoding !== undefined && { contentEncoding }) }),
    ...(component !== undefined && { component }),
    ...(hasProperties && { properties }),
  }
}

/** The agent's own streams. */
function isReservedStream(stream: unknown): boolean {
  return typeof stream === 'string' && (stream === 'device' || /^(alarms-|iotagent)/i.test(stream))
}

function oneOf(written: unknown, known: readonly string[]): string {
  return `must be one of ${known.join(', ')}, is ${show(written)}`
}

function isOneOf(value: unknown, known: readonly string[]): boolean {
  return typeof value === 'string' && known.includes(value)
}

function matches(value: unknown, pattern: RegExp): boolean {
  return typeof value === 'string' && pattern.test(value)
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}
