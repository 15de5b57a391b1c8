/** The query language of IoT Hub, as far as it is spoken here: text to tree. Pure. */

export type Literal = string | number | boolean | null
export type Path = readonly string[]
export type Operator = '=' | '!=' | '<' | '<=' | '>' | '>='

export type Condition =
  | { readonly is: 'compare'; readonly path: Path; readonly operator: Operator; readonly literal: Literal }
  | { readonly is: 'in'; readonly path: Path; readonly literals: readonly Literal[] }
  | { readonly is: 'defined'; readonly path: Path }
  | { readonly is: 'not'; readonly of: Condition }
  | { readonly is: 'and' | 'or'; readonly left: Condition; readonly right: Condition }

export type Column =
  | { readonly is: 'field'; readonly path: Path; readonly name: string }
  | { readonly is: 'count'; readonly name: string }

export interface Query {
  /** `all` for `SELECT *`. */
  readonly columns: 'all' | readonly Column[]
  /** What stands behind FROM. */
  readonly source: string
  readonly where: Condition | undefined
  readonly groupBy: readonly Path[]
}

export type ParsedQuery =
  | { readonly ok: true; readonly value: Query }
  | { readonly ok: false; readonly problem: string }

interface Token {
  readonly kind: 'word' | 'string' | 'number' | 'sign' | 'end'
  readonly text: string
}

const MAX_QUERY_LENGTH = 8192
const MAX_NESTING = 50

/** Carries the problem out of the recursive descent; never leaves this file. */
class Unsupported extends Error {}

/** Reads one query. A problem is a sentence for the caller. */
export function parseQuery(text: string): ParsedQuery {
  if (text.length > MAX_QUERY_LENGTH)
    return { ok: false, problem: `the query is longer than ${MAX_QUERY_LENGTH} characters` }
  try {
    return { ok: true, value: readQuery(tokensOf(text)) }
  } catch (cause) {
    if (cause instanceof Unsupported) return { ok: false, problem: cause.message }
    throw cause
  }
}

function tokensOf(text: string): Token[] {
  const pattern = /\s*(?:('(?:[^']|'')*'|"[^"]*")|(-?\d+(?:\.\d+)?)|([A-Za-z_$][\w$-]*)|(<=|>=|!=|<>|[=<>(),.*[\]]))/y
  const tokens: Token[] = []
  const end = text.trimEnd().length
  while (pattern.lastIndex < end) {
    const at = pattern.lastIndex
    const match = pattern.exec(text)
    if (match === null) throw new Unsupported(`cannot read the query from: ${text.slice(at, at + 20).trim()}`)
    const [, string, number, word, sign] = match
    if (string !== undefined) tokens.push({ kind: 'string', text: string.slice(1, -1).replaceAll("''", "'") })
    else if (number !== undefined) tokens.push({ kind: 'number', text: number })
    else if (word !== undefined) tokens.push({ kind: 'word', text: word })
    else tokens.push({ kind: 'sign', text: sign === '<>' ? '!=' : (sign ?? '') })
  }
  return tokens
}

/** A place in the tokens that moves on. */
interface Cursor {
  peek(ahead?: number): Token
  next(): Token
  /** Moves over a keyword or sign when it is next. */
  take(text: string): boolean
  expect(text: string): void
}

function cursorOver(tokens: readonly Token[]): Cursor {
  let at = 0
  const peek = (ahead = 0): Token => tokens[at + ahead] ?? { kind: 'end', text: 'the end' }
  const isNext = (text: string) => {
    const { kind, text: found } = peek()
    return (kind === 'word' || kind === 'sign') && found.toUpperCase() === text
  }
  const next = () => {
    const token = peek()
    at += 1
    return token
  }
  const take = (text: string) => {
    if (!isNext(text)) return false
    at += 1
    return true
  }
  return {
    ...{ peek, next, take },
    expect(text) {
      if (!take(text)) throw new Unsupported(`expected ${text} and not ${peek().text}`)
    },
  }
}

function readQuery(tokens: readonly Token[]): Query {
  const cursor = cursorOver(tokens)
  cursor.expect('SELECT')
  const columns = cursor.take('*') ? 'all' : separated(cursor, () => readColumn(cursor))
  cursor.expect('FROM')
  const source = readPath(cursor).join('.')
  const where = cursor.take('WHERE') ? readOr(cursor, 0) : undefined
  const groupBy = cursor.take('GROUP') ? readGroupBy(cursor) : []
  if (cursor.peek().kind !== 'end') throw new Unsupported(`${cursor.peek().text} is not supported here`)
  assertColumns(columns, groupBy)
  return { columns, source, where, groupBy }
}

function readGroupBy(cursor: Cursor): Path[] {
  cursor.expect('BY')
  return separated(cursor, () => readPath(cursor))
}

/** Beside COUNT there can only stand what the rows are grouped by. */
function assertColumns(columns: Query['columns'], groupBy: readonly Path[]): void {
  const counts = columns !== 'all' && columns.some((column) => column.is === 'count')
  if (groupBy.length > 0 && !counts) throw new Unsupported('GROUP BY needs COUNT() in SELECT')
  if (columns === 'all' || !counts) return
  const groups = groupBy.map((path) => path.join('.'))
  const stray = columns.find((column) => column.is === 'field' && !groups.includes(column.path.join('.')))
  if (stray !== undefined) throw new Unsupported(`${stray.name} stands beside COUNT() and is not in GROUP BY`)
}

function readColumn(cursor: Cursor): Column {
  const isCall = cursor.peek(1).text === '('
  if (isCall && !cursor.take('COUNT')) throw new Unsupported(`the function ${cursor.peek().text} is not supported`)
  if (isCall) {
    cursor.expect('(')
    cursor.take('*')
    cursor.expect(')')
    return { is: 'count', name: readAlias(cursor) ?? '$1' }
  }
  const path = readPath(cursor)
  return { is: 'field', path, name: readAlias(cursor) ?? path.at(-1) ?? '' }
}

function readAlias(cursor: Cursor): string | undefined {
  return cursor.take('AS') ? readWord(cursor) : undefined
}

function readOr(cursor: Cursor, depth: number): Condition {
  let left = readAnd(cursor, depth)
  while (cursor.take('OR')) left = { is: 'or', left, right: readAnd(cursor, depth) }
  return left
}

function readAnd(cursor: Cursor, depth: number): Condition {
  let left = readNot(cursor, depth)
  while (cursor.take('AND')) left = { is: 'and', left, right: readNot(cursor, depth) }
  return left
}

function readNot(cursor: Cursor, depth: number): Condition {
  if (depth > MAX_NESTING) throw new Unsupported(`conditions nest deeper than ${MAX_NESTING}`)
  if (cursor.take('NOT')) return { is: 'not', of: readNot(cursor, depth + 1) }
  if (!cursor.take('(')) return readComparison(cursor)
  const inner = readOr(cursor, depth + 1)
  cursor.expect(')')
  return inner
}

function readComparison(cursor: Cursor): Condition {
  if (cursor.peek(1).text === '(') return readDefined(cursor)
  const path = readPath(cursor)
  const isNegated = cursor.take('NOT')
  if (isNegated || cursor.peek().text.toUpperCase() === 'IN' || cursor.peek().text.toUpperCase() === 'NIN') {
    const excludes = cursor.take('NIN') || isNegated
    if (isNegated || !excludes) cursor.expect('IN')
    const inside: Condition = { is: 'in', path, literals: readList(cursor) }
    return excludes ? { is: 'not', of: inside } : inside
  }
  const { kind, text } = cursor.next()
  if (kind !== 'sign' || !isOperator(text)) throw new Unsupported(`${text} is not supported after ${path.join('.')}`)
  return { is: 'compare', path, operator: text, literal: readLiteral(cursor) }
}

function readDefined(cursor: Cursor): Condition {
  if (!cursor.take('IS_DEFINED')) throw new Unsupported(`the function ${cursor.peek().text} is not supported`)
  cursor.expect('(')
  const path = readPath(cursor)
  cursor.expect(')')
  return { is: 'defined', path }
}

function readList(cursor: Cursor): Literal[] {
  const close = cursor.take('[') ? ']' : ')'
  if (close === ')') cursor.expect('(')
  const literals = separated(cursor, () => readLiteral(cursor))
  cursor.expect(close)
  return literals
}

function readLiteral(cursor: Cursor): Literal {
  const { kind, text } = cursor.next()
  if (kind === 'string') return text
  if (kind === 'number') return Number(text)
  const named = new Map<string, Literal>([
    ['TRUE', true],
    ['FALSE', false],
    ['NULL', null],
  ]).get(text.toUpperCase())
  if (kind !== 'word' || named === undefined) throw new Unsupported(`expected a value and not ${text}`)
  return named
}

function readPath(cursor: Cursor): Path {
  const path = [readWord(cursor)]
  while (cursor.take('.')) path.push(readWord(cursor))
  return path
}

function readWord(cursor: Cursor): string {
  const { kind, text } = cursor.next()
  if (kind !== 'word') throw new Unsupported(`expected a name and not ${text}`)
  return text
}

function separated<T>(cursor: Cursor, read: () => T): T[] {
  const items = [read()]
  while (cursor.take(',')) items.push(read())
  return items
}

function isOperator(text: string): text is Operator {
  return ['=', '!=', '<', '<=', '>', '>='].includes(text)
}
