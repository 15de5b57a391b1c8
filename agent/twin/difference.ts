import { isObject } from './json.ts'
import type { Json, JsonObject } from './json.ts'

/**
 * The smallest merge patch (RFC 7396) that makes `previous` into `next`; undefined when they are alike.
 * What is gone becomes null; an array is replaced as a whole.
 */
export function difference(previous: JsonObject, next: JsonObject): JsonObject | undefined {
  const removed = Object.keys(previous)
    .filter((key) => previous[key] !== null && !Object.hasOwn(next, key))
    .map((key) => [key, null] as const)
  const changed = Object.entries(next).flatMap(([key, value]) => {
    const patch = Object.hasOwn(previous, key) ? patchFor(previous[key] ?? null, value) : value
    return patch === undefined ? [] : [[key, patch] as const]
  })
  const patch = Object.fromEntries<Json>([...removed, ...changed])
  return Object.keys(patch).length === 0 ? undefined : patch
}

function patchFor(before: Json, after: Json): Json | undefined {
  if (isJsonObject(before) && isJsonObject(after)) return difference(before, after)
  return alike(before, after) ? undefined : after
}

/** Whether two values are the same JSON; the order of an object's keys says nothing. */
function alike(one: Json, other: Json): boolean {
  if (isJsonObject(one) && isJsonObject(other)) return difference(one, other) === undefined
  if (!Array.isArray(one) || !Array.isArray(other)) return one === other
  return one.length === other.length && one.every((item: Json, at) => alike(item, other[at] as Json))
}

function isJsonObject(value: Json): value is JsonObject {
  return isObject(value)
}
