/** Runs a parsed query over documents. Pure. */
import type { Column, Condition, Literal, Operator, Path, Query } from './query-parse.ts'
import { isObject } from './exchange.ts'

type Document = Record<string, unknown>

/** Rows in the order of the documents; groups in the order in which they are met. */
export function runQuery(query: Query, documents: readonly Document[]): Document[] {
  const { columns, where, groupBy } = query
  const kept = where === undefined ? documents : documents.filter((document) => holds(where, document) === true)
  if (columns === 'all') return [...kept]
  if (!columns.some((column) => column.is === 'count')) return kept.map((document) => project(columns, document, 1))
  const groups = new Map<string, Document[]>()
  if (groupBy.length === 0) groups.set('', [])
  for (const document of kept) {
    const key = groupBy.length === 0 ? '' : JSON.stringify(groupBy.map((path) => valueAt(document, path) ?? null))
    groups.set(key, [...(groups.get(key) ?? []), document])
  }
  return [...groups.values()].map((members) => project(columns, members[0] ?? {}, members.length))
}

function project(columns: readonly Column[], document: Document, count: number): Document {
  const fields = columns.map((column) => [column.name, column.is === 'count' ? count : valueAt(document, column.path)])
  return Object.fromEntries(fields.filter(([, value]) => value !== undefined)) as Document
}

/** Three-valued: a comparison with what is absent is undefined, its negation too, and neither selects a row. */
function holds(condition: Condition, document: Document): boolean | undefined {
  switch (condition.is) {
    case 'defined':
      return valueAt(document, condition.path) !== undefined
    case 'compare':
      return compare(valueAt(document, condition.path), condition.operator, condition.literal)
    case 'in': {
      const value = valueAt(document, condition.path)
      return value === undefined ? undefined : condition.literals.some((literal) => literal === value)
    }
    case 'not': {
      const inner = holds(condition.of, document)
      return inner === undefined ? undefined : !inner
    }
    case 'and':
      return join(holds(condition.left, document), holds(condition.right, document), false)
    case 'or':
      return join(holds(condition.left, document), holds(condition.right, document), true)
  }
  return condition satisfies never
}

/** `decisive` on one side decides; otherwise what is undefined stays so. */
function join(left: boolean | undefined, right: boolean | undefined, decisive: boolean): boolean | undefined {
  if (left === decisive || right === decisive) return decisive
  return left === undefined || right === undefined ? undefined : !decisive
}

function compare(value: unknown, operator: Operator, literal: Literal): boolean | undefined {
  if (value === undefined) return undefined
  if (operator === '=') return value === literal
  if (operator === '!=') return value !== literal
  const sign = order(value, literal)
  if (sign === undefined) return undefined
  if (operator === '<') return sign < 0
  if (operator === '<=') return sign <= 0
  return operator === '>' ? sign > 0 : sign >= 0
}

function order(value: unknown, literal: Literal): number | undefined {
  if (typeof value === 'number' && typeof literal === 'number') return value - literal
  if (typeof value !== 'string' || typeof literal !== 'string') return undefined
  if (value === literal) return 0
  return value < literal ? -1 : 1
}

/** Follows own properties only. */
function valueAt(document: Document, path: Path): unknown {
  let value: unknown = document
  for (const name of path) {
    if (!isObject(value) || !Object.hasOwn(value, name)) return undefined
    value = value[name]
  }
  return value
}
