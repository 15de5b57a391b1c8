import { durabilities } from '../outbox/port.ts'
import type { Durability } from '../outbox/port.ts'
import { judge, show, suggestion } from './said.ts'
import type { Asked, Judged, Said } from './said.ts'

/** How a request says what it wants; everything else is in its body. */
export interface Head {
  /** What follows the `?`, still encoded. */
  readonly query: string
  readonly contentType?: string | undefined
  readonly contentEncoding?: string | undefined
}

/**
 * How a body is to be read: `json` one text, `lines` one in each line, `guess` JSON if it is, since nothing was said, and
 * `opaque` as it is.
 */
export type Form = 'json' | 'lines' | 'guess' | 'opaque'

/** What a request wants, once everything about it is known to be right. */
export interface Wanted {
  readonly durability: Durability
  readonly form: Form
  /** For an opaque body that is text in UTF-8. */
  readonly isText: boolean
  /** Whether each sample comes in an envelope that says more about it. */
  readonly envelope: boolean
  /** What the request says of all its samples: as it was asked, for envelopes to say otherwise, and as it may be. */
  readonly asked: Asked
  readonly said: Said
}

const parameters = [
  'durability',
  'envelope',
  'stream',
  'priority',
  'severity',
  'component',
  'time',
  'id',
  'property.NAME',
] as const

const PROPERTY = 'property.'

const jsonTypes: readonly string[] = ['application/json', 'text/json']
const lineTypes: readonly string[] = ['application/x-ndjson', 'application/ndjson', 'application/jsonl']

/** What curl says of a body when it is told nothing. */
const CURL_DEFAULT = 'application/x-www-form-urlencoded'

/** Reads query and headers of `POST /telemetry`; all problems at once. */
export function readHead(head: Head): Judged<Wanted> {
  const query = readQuery(head.query)
  const content = readContent(head)
  const judged = judge({ ...query.asked, ...content.label })
  const problems = [...query.problems, ...content.problems, ...(judged.ok ? [] : judged.problems)]
  const { durability = 'synced', envelope = 'false' } = query
  if (!durabilities.some((known) => known === durability)) {
    problems.push(`durability must be one of ${durabilities.join(', ')}, is ${show(durability)}`)
  }
  if (envelope !== 'true' && envelope !== 'false') problems.push(`envelope must be true or false, is ${show(envelope)}`)
  if (envelope === 'true' && content.form === 'opaque') problems.push('envelope=true is for JSON')
  if (query.asked.id !== undefined && content.form === 'lines') problems.push('id is for one sample, not for lines')
  if (!judged.ok || problems.length > 0) return { ok: false, problems }
  return {
    ok: true,
    value: {
      durability: durability as Durability,
      form: content.form,
      isText: content.isText,
      envelope: envelope === 'true',
      asked: query.asked,
      said: judged.value,
    },
  }
}

interface Query {
  readonly asked: Asked
  readonly durability?: string
  readonly envelope?: string
  readonly problems: string[]
}

function readQuery(encoded: string): Query {
  const given: Record<string, string> = {}
  const properties: [string, string][] = []
  const problems: string[] = []
  const seen = new Set<string>()
  for (const [name, value] of new URLSearchParams(encoded)) {
    if (seen.has(name)) problems.push(`${name} comes twice`)
    seen.add(name)
    if (name.startsWith(PROPERTY)) properties.push([name.slice(PROPERTY.length), value])
    else if (parameters.some((known) => known === name)) given[name] = value
    else problems.push(`there is no parameter ${show(name)}${suggestion(name, parameters)}`)
  }
  const { durability, envelope, ...asked } = given
  return {
    asked: properties.length === 0 ? asked : { ...asked, properties: Object.fromEntries(properties) },
    ...(durability !== undefined && { durability }),
    ...(envelope !== undefined && { envelope }),
    problems,
  }
}

interface Content {
  readonly form: Form
  readonly isText: boolean
  /** Of an opaque body. */
  readonly label: Pick<Asked, 'contentType' | 'contentEncoding'>
  readonly problems: readonly string[]
}

/** A body under another encoding than text is opaque, JSON or not: it is for whoever receives it. */
function readContent({ contentType = '', contentEncoding = '' }: Head): Content {
  const [type = '', ...rest] = contentType.split(';').map((part) => part.trim())
  const charset = rest.map((part) => /^charset="?([^"]+)"?$/i.exec(part)?.[1]?.toLowerCase()).find((name) => name)
  const coding = contentEncoding.trim().toLowerCase()
  const isPlain = ['', 'identity', 'utf-8', 'utf8'].includes(coding)
  const form = formOf(type.toLowerCase())
  const isUtf8 = charset === 'utf-8' || charset === 'utf8'
  if (isPlain && form !== 'opaque') {
    const isReadable = charset === undefined || isUtf8 || charset === 'us-ascii'
    const problems = isReadable ? [] : [`Content-Type: JSON is in UTF-8, not in ${show(charset)}`]
    return { form, isText: true, label: {}, problems }
  }
  if (form === 'lines') {
    return { form, isText: true, label: {}, problems: [`Content-Encoding: lines are not to be in ${show(coding)}`] }
  }
  const isText = isPlain && (isUtf8 || coding.startsWith('utf'))
  const label = isText
    ? { contentType: type, contentEncoding: 'utf-8' }
    : { contentType: contentType.trim(), ...(!isPlain && { contentEncoding: coding }) }
  const isCoding = isPlain || /^[a-z0-9._-]{1,64}$/.test(coding)
  return {
    form: 'opaque',
    isText,
    label,
    problems: isCoding ? [] : [`Content-Encoding must be one word, is ${show(coding)}`],
  }
}

function formOf(type: string): Form {
  if (type === '' || type === CURL_DEFAULT) return 'guess'
  if (jsonTypes.includes(type)) return 'json'
  return lineTypes.includes(type) ? 'lines' : 'opaque'
}
