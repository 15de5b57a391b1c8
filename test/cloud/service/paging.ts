/** Pages of a query, with the headers that the official packages use. */
import { ServiceError } from '../model.ts'
import type { Call, Reply } from './exchange.ts'
import { objectOf } from './exchange.ts'
import type { Query } from './query-parse.ts'
import { parseQuery } from './query-parse.ts'
import { runQuery } from './query-run.ts'

/** Largest page. Source: IoT Hub query language. */
const MAX_PAGE = 1000
const DEFAULT_PAGE = 100

export interface Listing {
  readonly documents: (query: Query) => readonly Record<string, unknown>[]
  /** What the header `x-ms-item-type` says of a whole row. */
  readonly wholeRow: string
  /** The query of a call without a body; without it such a call is refused. */
  readonly byDefault?: string
  /** What the query `*` stands for, as the samples of the official packages write it; without it `*` is refused. */
  readonly star?: string
}

/**
 * Answers a call whose body is `{ query }`.
 *
 * @throws ServiceError 400004 for a query that is not supported, a page size or continuation that is none
 */
export function answerQuery(call: Call, { documents, wholeRow, byDefault, star }: Listing): Reply {
  const body = call.json() ?? (byDefault === undefined ? undefined : { query: byDefault })
  const text = objectOf(body, 'The body')['query']
  if (typeof text !== 'string') throw new ServiceError(400004, 'The body lacks the query.')
  const parsed = parseQuery(text.trim() === '*' ? (star ?? text) : text)
  if (!parsed.ok) throw new ServiceError(400004, `Query not supported: ${parsed.problem}.`)
  const rows = runQuery(parsed.value, documents(parsed.value))
  const itemType = parsed.value.columns === 'all' ? wholeRow : 'Raw'
  const from = continuationOf(call.header('x-ms-continuation'))
  const to = from + pageSizeOf(call.header('x-ms-max-item-count'))
  const more = to < rows.length ? { 'x-ms-continuation': Buffer.from(`from:${to}`).toString('base64') } : {}
  return { status: 200, headers: { 'x-ms-item-type': itemType, ...more }, body: rows.slice(from, to) }
}

function continuationOf(token: string | undefined): number {
  if (token === undefined || token === '') return 0
  const match = /^from:(\d{1,9})$/.exec(Buffer.from(token, 'base64').toString())
  if (match === null) throw new ServiceError(400004, 'The continuation token is none of this service.')
  return Number(match[1])
}

function pageSizeOf(text: string | undefined): number {
  if (text === undefined) return DEFAULT_PAGE
  const size = Number(text)
  if (!Number.isInteger(size) || size < 1) throw new ServiceError(400004, `${text} is no page size.`)
  return Math.min(size, MAX_PAGE)
}
