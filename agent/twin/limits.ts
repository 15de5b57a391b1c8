import { isObject } from './json.ts'
import type { Json, JsonObject } from './json.ts'

/** What a twin may hold. Source: IoT Hub developer guide, device twins, "Tags and properties format". */
export const twinLimits = {
  sectionBytes: 32 * 1024,
  depth: 10,
  keyBytes: 1024,
  stringBytes: 4096,
  integer: 4_503_599_627_370_496,
} as const

const FORBIDDEN_IN_KEY = /[\p{Cc}.$ ]/u

/**
 * The part of a document that a twin can hold: longer strings are cut, and a key, number or depth that the hub would
 * refuse is left out, because one of them would have the whole patch refused.
 */
export function fitTwin(document: JsonObject): JsonObject {
  return fitObject(document, 1)
}

function fitObject(object: JsonObject, depth: number): JsonObject {
  const kept = Object.entries(object).flatMap(([key, value]) => {
    const fitted = isKey(key) ? fit(value, depth + 1) : undefined
    return fitted === undefined ? [] : [[key, fitted] as const]
  })
  return Object.fromEntries(kept)
}

/** @param depth level of `value`, 1 for the document */
function fit(value: Json, depth: number): Json | undefined {
  if (typeof value === 'string') return cut(value, twinLimits.stringBytes)
  if (typeof value === 'number') return isNumber(value) ? value : undefined
  if (typeof value === 'boolean' || value === null) return value
  if (depth > twinLimits.depth) return undefined
  if (isArray(value)) return value.map((item) => fit(item, depth + 1)).filter((item) => item !== undefined)
  return isObject(value) ? fitObject(value, depth) : undefined
}

function isArray(value: Json): value is readonly Json[] {
  return Array.isArray(value)
}

function isKey(key: string): boolean {
  return key !== '' && Buffer.byteLength(key) <= twinLimits.keyBytes && !FORBIDDEN_IN_KEY.test(key)
}

function isNumber(value: number): boolean {
  return Number.isInteger(value) ? Math.abs(value) <= twinLimits.integer : Number.isFinite(value)
}

/** The longest start of a text that has at most so many bytes of UTF-8 and breaks no character. */
export function cut(text: string, maxBytes: number): string {
  if (Buffer.byteLength(text) <= maxBytes) return text
  const { read } = new TextEncoder().encodeInto(text, new Uint8Array(maxBytes))
  return text.slice(0, read)
}
