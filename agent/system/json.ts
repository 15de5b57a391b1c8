/** What JSON can say. */
export type Json = string | number | boolean | null | readonly Json[] | JsonObject

export interface JsonObject {
  readonly [key: string]: Json
}

/** What JSON.parse makes of a text, or undefined when the text is not JSON. Deep nesting does no harm to it. */
export function parseJson(text: string): Json | undefined {
  try {
    return JSON.parse(text) as Json
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

export function isObject(value: Json | undefined): value is JsonObject
export function isObject(value: unknown): value is Readonly<Record<string, unknown>>
export function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/**
 * Whether objects and arrays lie in each other more than `levels` deep; `{}` has one level. Works without recursion,
 * so that every recursion over a document that was measured first is safe.
 */
export function isDeeperThan(levels: number, document: Json): boolean {
  const left: { readonly value: Json; readonly level: number }[] = [{ value: document, level: 1 }]
  for (let next = left.pop(); next !== undefined; next = left.pop()) {
    const { value, level } = next
    if (typeof value !== 'object' || value === null) continue
    if (level > levels) return true
    for (const inner of Object.values(value)) left.push({ value: inner, level: level + 1 })
  }
  return false
}
