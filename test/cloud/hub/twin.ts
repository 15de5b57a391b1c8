/** The document of a device twin: merge, versions and limits of azure-protocols.md 4.4. Pure. */
import type { InitialTwin, TwinState } from '../model.ts'

export type Document = Record<string, unknown>
export type Section = 'tags' | 'desired' | 'reported'

/** Bytes of each part, without metadata. */
const MAX_BYTES: Readonly<Record<Section, number>> = { tags: 8 * 1024, desired: 32 * 1024, reported: 32 * 1024 }
const MAX_DEPTH = 10
const MAX_KEY_BYTES = 1024
const MAX_STRING_BYTES = 4 * 1024
const MAX_INTEGER = 4_503_599_627_370_496

export function createTwin(initial: InitialTwin | undefined): TwinState {
  const tags = mergePatch({}, initial?.tags ?? {})
  const desired = mergePatch({}, initial?.properties?.desired ?? {})
  return { tags, desired, desiredVersion: 1, reported: {}, reportedVersion: 1, version: 2, etag: etagOf(1) }
}

/** JSON merge patch (RFC 7396): null deletes, objects merge, everything else replaces. */
export function mergePatch(target: Document, patch: Document): Document {
  const merged = new Map(Object.entries(target))
  for (const [key, value] of Object.entries(patch)) {
    const before = merged.get(key)
    if (value === null) merged.delete(key)
    else if (isDocument(value)) merged.set(key, mergePatch(isDocument(before) ? before : {}, value))
    else merged.set(key, value)
  }
  return Object.fromEntries(merged)
}

/** The merge patch that turns `before` into `after`: `after`, and null for whatever went. */
export function patchBetween(before: Document, after: Document): Document {
  const patch = new Map(Object.entries(after))
  for (const [key, old] of Object.entries(before)) {
    const now = patch.get(key)
    if (now === undefined) patch.set(key, null)
    else if (isDocument(old) && isDocument(now)) patch.set(key, patchBetween(old, now))
  }
  return Object.fromEntries(patch)
}

/** What a patch of a section breaks, as a sentence; undefined when it may be applied. `merged` is the section afterwards. */
export function sectionProblem(section: Section, patch: unknown, merged: (patch: Document) => Document) {
  if (!isDocument(patch)) return `${section} must be a JSON object.`
  const problem = valueProblem(patch, section, 0)
  if (problem !== undefined) return problem
  const bytes = sizeOf(merged(patch))
  const limit = MAX_BYTES[section]
  return bytes > limit ? `${section} would have ${bytes} bytes; the limit is ${limit}.` : undefined
}

/** The twin after a change of one section; the others keep their versions. */
export function withSection(twin: TwinState, section: Section, after: Document): TwinState {
  const versions = {
    desiredVersion: twin.desiredVersion + (section === 'desired' ? 1 : 0),
    reportedVersion: twin.reportedVersion + (section === 'reported' ? 1 : 0),
    version: twin.version + 1,
  }
  return { ...twin, ...versions, [section]: after, etag: etagOf(versions.version - 1) }
}

export function isDocument(value: unknown): value is Document {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Depth counts objects and arrays below the section itself. */
function valueProblem(value: unknown, path: string, depth: number): string | undefined {
  if (depth > MAX_DEPTH) return `${path} lies deeper than ${MAX_DEPTH} levels.`
  if (typeof value === 'string' && Buffer.byteLength(value) > MAX_STRING_BYTES)
    return `${path} is a string of more than ${MAX_STRING_BYTES} bytes.`
  if (typeof value === 'number' && Number.isInteger(value) && Math.abs(value) > MAX_INTEGER)
    return `${path} is an integer beyond ${MAX_INTEGER}.`
  if (Array.isArray(value))
    return firstProblem(
      value.map((item) => ['[]', item]),
      path,
      depth,
    )
  if (!isDocument(value)) return undefined
  const key = Object.keys(value).find((name) => keyProblem(name) !== undefined)
  if (key !== undefined) return `${path} has a key ${keyProblem(key)}.`
  return firstProblem(Object.entries(value), path, depth)
}

function firstProblem(items: readonly (readonly [string, unknown])[], path: string, depth: number): string | undefined {
  for (const [name, item] of items) {
    const problem = valueProblem(item, `${path}.${name}`, depth + (typeof item === 'object' && item !== null ? 1 : 0))
    if (problem !== undefined) return problem
  }
  return undefined
}

function keyProblem(name: string): string | undefined {
  if (Buffer.byteLength(name) > MAX_KEY_BYTES) return `of more than ${MAX_KEY_BYTES} bytes`
  if (/[\p{Cc}.$ ]/u.test(name)) return 'with a control character, a point, a dollar sign or a space'
  return undefined
}

/** Length of keys and strings in UTF-8, 8 bytes a number, 4 a boolean. Source: device twin size, IoT Hub developer guide. */
function sizeOf(value: unknown): number {
  if (typeof value === 'string') return Buffer.byteLength(value)
  if (typeof value === 'number') return 8
  if (typeof value === 'boolean') return 4
  if (Array.isArray(value)) return value.reduce((sum: number, item) => sum + sizeOf(item), 0)
  if (!isDocument(value)) return 0
  return Object.entries(value).reduce((sum, [key, item]) => sum + Buffer.byteLength(key) + sizeOf(item), 0)
}

/** Eight bytes in base64, as IoT Hub shows them. */
function etagOf(count: number): string {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(BigInt(count))
  return bytes.toString('base64')
}
