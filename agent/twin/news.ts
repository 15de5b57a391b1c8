import { difference } from './difference.ts'
import { isObject } from './json.ts'
import type { JsonObject } from './json.ts'

/** Samples that are a backlog, and not just under way. */
const BACKLOG = 1000

/** How full the outbox is, in words of the reported part. */
const filling = new Set(['depth', 'bytes', 'oldest'])

/**
 * Whether a change of the reported part is worth a report of its own: the hub counts every change of a twin. How full
 * the outbox is changes all the time, and is news only when it has run empty, or a backlog has gone down to a tenth.
 */
export function isNews(known: JsonObject, next: JsonObject): boolean {
  const change = difference(known, next)
  if (change === undefined) return false
  const { outbox, ...others } = change
  const inside = isObject(outbox) ? Object.keys(outbox) : []
  return Object.keys(others).length > 0 || inside.some((key) => !filling.has(key)) || hasDrained(known, next)
}

function hasDrained(known: JsonObject, next: JsonObject): boolean {
  const [before, now] = [depthIn(known), depthIn(next)]
  return now === 0 || (before >= BACKLOG && now * 10 <= before)
}

function depthIn({ outbox }: JsonObject): number {
  const depth = isObject(outbox) ? outbox['depth'] : undefined
  return typeof depth === 'number' ? depth : 0
}
