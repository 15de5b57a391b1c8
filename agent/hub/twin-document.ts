import { isDeeperThan, isObject, parseJson } from '../system/json.ts'
import type { Json, JsonObject } from '../system/json.ts'

/** One half of a device twin as the hub writes it: the properties, and beside them their version. */
export type TwinDocument = JsonObject & { readonly $version: number }

export interface Twin {
  readonly desired: TwinDocument
  readonly reported: TwinDocument
}

/**
 * Levels of a document that is taken. The hub keeps ten (azure-docs, iot-hub-devguide-device-twins); a document that is
 * far deeper comes from no hub, and recursion over it could end the process.
 */
const MAX_LEVELS = 32

/** What a desired patch does to the document that is held. */
export type PatchOutcome =
  | { readonly patched: 'applied'; readonly desired: TwinDocument }
  /** Of a version that the document already contains. */
  | { readonly patched: 'stale' }
  /** At least one patch before it was lost: the whole twin has to be read again. */
  | { readonly patched: 'gap' }

/** Applies a patch that was pushed, if it is the next one. Versions rise by one with every change of the desired part. */
export function applyDesiredPatch(held: TwinDocument, patch: TwinDocument): PatchOutcome {
  if (patch.$version <= held.$version) return { patched: 'stale' }
  if (patch.$version > held.$version + 1) return { patched: 'gap' }
  return { patched: 'applied', desired: { ...mergePatch(held, patch), $version: patch.$version } }
}

/** RFC 7396: null deletes, objects merge, everything else, arrays too, replaces. */
export function mergePatch(target: JsonObject, patch: JsonObject): JsonObject {
  const merged = new Map(Object.entries(target))
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) merged.delete(key)
    else if (isObject(value)) merged.set(key, mergePatch(objectOr(merged.get(key)), value))
    else merged.set(key, value)
  }
  // Own properties only, even for a key like `__proto__`.
  return Object.fromEntries(merged)
}

/** A whole twin, or undefined when the text is not one. */
export function parseTwin(text: string): Twin | undefined {
  const value = parseJson(text)
  if (!isObject(value)) return undefined
  const desired = documentOf(value.desired)
  const reported = documentOf(value.reported)
  return desired === undefined || reported === undefined ? undefined : { desired, reported }
}

/** A pushed patch with its `$version`, or undefined when the text is not one. */
export function parseDesiredPatch(text: string): TwinDocument | undefined {
  return documentOf(parseJson(text))
}

/** Code and message of an error body; nothing when the hub said nothing that can be read. */
export function parseTwinError(text: string): { readonly errorCode?: number; readonly message?: string } {
  const value = parseJson(text)
  if (!isObject(value)) return {}
  const { errorCode, message } = value
  return {
    ...(typeof errorCode === 'number' ? { errorCode } : {}),
    ...(typeof message === 'string' ? { message } : {}),
  }
}

function documentOf(value: Json | undefined): TwinDocument | undefined {
  if (!isObject(value)) return undefined
  if (!Number.isSafeInteger(value.$version) || isDeeperThan(MAX_LEVELS, value)) return undefined
  return value as TwinDocument
}

function objectOr(value: Json | undefined): JsonObject {
  return isObject(value) ? value : {}
}
