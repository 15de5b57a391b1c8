import { createHash } from 'node:crypto'
import { isObject, parseJson } from '../system/json.ts'
import type { Json } from '../system/json.ts'

/** The last line of a chain. Whoever knows it can tell whether a chain is the one that he saw, and goes on from there. */
export interface AuditHead {
  /** Number of the line, from 1; 0 before the first. */
  readonly seq: number
  /** SHA-256, hex. */
  readonly hash: string
}

/** What there is to say of an entry: never a secret. Long texts are cut. */
export type AuditFacts = Readonly<Record<string, string | number | boolean | undefined>>

export interface AuditEntry extends AuditHead {
  /** ISO 8601, UTC, by the clock of that moment. */
  readonly at: string
  readonly what: string
  readonly facts: Readonly<Record<string, Json>>
  /** Hash of the line before. */
  readonly prev: string
}

/** The lines that the trail writes about itself. */
export const trail = {
  /** The first line of all. */
  begun: 'trailBegun',
  /** The first line of a file that goes on with the one before it. */
  continued: 'trailContinued',
  /** The first line of a chain in place of one that was tampered with; it carries the last good head. */
  tampered: 'trailTampered',
  /** A power cut left half a line, which was cut off. */
  cut: 'trailCut',
  /** Entries that were never written, as the disk was full for too long. */
  dropped: 'trailDropped',
} as const

/** Before the first line. */
export const noHead: AuditHead = { seq: 0, hash: '0'.repeat(64) }

/** A longer text is cut here, so that a line stays far below the size of a file. */
const MAX_FACT_LENGTH = 500

/**
 * The next line of a chain, without its end. It is ASCII throughout, so that no byte of it can change unseen; the hash
 * is that of the line without the hash.
 */
export function linkEntry(
  head: AuditHead,
  atMs: number,
  what: string,
  facts: AuditFacts,
): { readonly line: string; readonly entry: AuditEntry } {
  const own = { seq: head.seq + 1, at: new Date(atMs).toISOString(), what }
  const short = Object.entries(facts).map(([name, value]) => [
    name,
    typeof value === 'string' ? value.slice(0, MAX_FACT_LENGTH) : value,
  ])
  const body = toAscii(JSON.stringify({ ...own, ...Object.fromEntries(short), ...own, prev: head.hash }))
  const line = `${body.slice(0, -1)},"hash":"${sha256(body)}"}`
  const entry = readLine(line)
  if (entry === undefined) throw new Error(`the audit trail cannot read its own line: ${line}`)
  return { line, entry }
}

/** The files of a trail as they are on disk; of an absent one, nothing. */
export interface AuditFiles {
  readonly older?: string | undefined
  readonly current?: string | undefined
}

/** What is to be thought of a trail, with every line that fits together, oldest first, and the last of them. */
export type AuditVerdict = { readonly entries: readonly AuditEntry[]; readonly head: AuditHead } & (
  | { readonly state: 'intact' }
  /** A power cut left half a line at the end. */
  | { readonly state: 'cut' }
  /** `why` is one sentence. */
  | { readonly state: 'tampered'; readonly why: string }
)

/**
 * Judges a trail: each line by its hash, each by the one before it, and each file by how it begins. The oldest line that
 * is kept is the anchor. Lines that are missing at the end show only to who knows a later head. Pure.
 *
 * @param seen a head that somebody noted before, as the device twin does
 */
export function verifyAudit({ older = '', current = '' }: AuditFiles, seen?: AuditHead): AuditVerdict {
  const entries: AuditEntry[] = []
  const tampered = (why: string): AuditVerdict => ({ state: 'tampered', why, entries, head: entries.at(-1) ?? noHead })
  const lines = [...linesOf(older), ...linesOf(current)]
  const firstOfCurrent = linesOf(older).length
  for (const [index, line] of lines.entries()) {
    const entry = readLine(line)
    const before = entries.at(-1)
    if (entry === undefined) return tampered(`what follows line ${before?.seq ?? 0} was changed`)
    const isFirst = index === 0 || index === firstOfCurrent
    if (isFirst && !mayBegin(entry, older !== '')) {
      return tampered(`line ${entry.seq} begins a file: what was before it is missing`)
    }
    if (before !== undefined && (entry.seq !== before.seq + 1 || entry.prev !== before.hash)) {
      return tampered(`line ${entry.seq} does not follow line ${before.seq}`)
    }
    entries.push(entry)
  }
  if (tailOf(older) !== '') return tampered('the older file ends within a line')
  const head = entries.at(-1) ?? noHead
  const lost = seen === undefined ? undefined : contradiction(entries, head, seen)
  if (lost !== undefined) return tampered(lost)
  const tail = tailOf(current)
  if (tail === '') return { state: 'intact', entries, head }
  return isHalfLine(tail) ? { state: 'cut', entries, head } : tampered(`what follows line ${head.seq} was changed`)
}

/** A file begins with the first line of all, or says that it goes on; the newer one needs the older for that. */
function mayBegin({ seq, prev, what }: AuditEntry, hasOlder: boolean): boolean {
  if (seq === 1) return prev === noHead.hash && (what === trail.begun || what === trail.tampered)
  return what === trail.continued && hasOlder
}

function contradiction(entries: readonly AuditEntry[], head: AuditHead, seen: AuditHead): string | undefined {
  if (seen.seq > head.seq) return `the trail ends with line ${head.seq}, and line ${seen.seq} was there`
  const hash = entries.find(({ seq }) => seq === seen.seq)?.hash ?? seen.hash
  return hash === seen.hash ? undefined : `line ${seen.seq} is another one than it was`
}

function readLine(line: string): AuditEntry | undefined {
  const [, start, hash] = /^(\{.*),"hash":"([0-9a-f]{64})"\}$/.exec(line) ?? []
  if (start === undefined || hash === undefined || sha256(`${start}}`) !== hash) return undefined
  const value = parseJson(`${start}}`)
  if (!isObject(value)) return undefined
  const { seq, at, what, prev, ...facts } = value
  if (typeof seq !== 'number' || typeof at !== 'string' || typeof what !== 'string') return undefined
  return typeof prev === 'string' ? { seq, at, what, facts, prev, hash } : undefined
}

/** Whether nothing of it was ever a whole line, but for its end. */
function isHalfLine(tail: string): boolean {
  return readLine(tail) !== undefined || !/"hash":"[0-9a-f]{64}"\}/.test(tail)
}

function linesOf(text: string): readonly string[] {
  return text.split('\n').slice(0, -1)
}

function tailOf(text: string): string {
  return text.slice(text.lastIndexOf('\n') + 1)
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

/** The same JSON, in ASCII. */
function toAscii(json: string): string {
  return json.replaceAll(/[\u007F-\uFFFF]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
}
