import { open, readFile, rename, rm, truncate } from 'node:fs/promises'
import { dirname } from 'node:path'
import { Failure } from '../failure.ts'
import type { Clock } from '../system/clock.ts'
import { errorCode, PRIVATE_FILE, syncFolder, writeDurably } from '../system/files.ts'
import { linkEntry, noHead, trail, verifyAudit } from './audit-chain.ts'
import type { AuditEntry, AuditFacts, AuditHead, AuditVerdict } from './audit-chain.ts'

/** A file of the trail ends here; the one before it is kept. */
export const MAX_FILE_BYTES = 256 * 1024

/** An entry that has no number yet. */
export interface Waiting {
  readonly atMs: number
  readonly what: string
  readonly facts: AuditFacts
}

/** The newer file of a trail, with the end of its chain. */
export interface AuditFile {
  head(): AuditHead
  /**
   * Writes an entry durably, and before it what begins a file; answers with the lines that were written. After a
   * failure the chain is as it was. System errors come as they are.
   */
  put(entry: Waiting): Promise<readonly AuditEntry[]>
}

function createFile(path: string, found: Found): AuditFile {
  let { head, bytes } = found
  let isDirty = false

  return {
    head: () => head,
    async put({ atMs, what, facts }) {
      if (isDirty) await backTo(path, bytes)
      isDirty = false
      if (bytes > 0 && bytes + linkEntry(head, atMs, what, facts).line.length >= MAX_FILE_BYTES) {
        await rename(path, olderOf(path))
        bytes = 0
      }
      const lines = linesFor(head, bytes === 0, { atMs, what, facts })
      const text = lines.map(({ line }) => `${line}\n`).join('')
      isDirty = true
      await append(path, text, bytes === 0)
      isDirty = false
      bytes += text.length
      const entries = lines.map(({ entry }) => entry)
      head = entries.at(-1) ?? head
      return entries
    },
  }
}

/** The line of an entry, after the one that begins its file. */
function linesFor(head: AuditHead, isNew: boolean, { atMs, what, facts }: Waiting) {
  if (!isNew) return [linkEntry(head, atMs, what, facts)]
  const first = linkEntry(head, atMs, head.seq === 0 ? trail.begun : trail.continued, {})
  return [first, linkEntry(first.entry, atMs, what, facts)]
}

async function append(path: string, text: string, isNew: boolean): Promise<void> {
  {
    await using file = await open(path, 'a', PRIVATE_FILE)
    await file.writeFile(text)
    await file.sync()
  }
  // Its name, and that of the file before it.
  if (isNew) await syncFolder(dirname(path))
}

/** Takes back what a failed write may have left. */
async function backTo(path: string, bytes: number): Promise<void> {
  if (bytes === 0) await rm(path, { force: true })
  else await truncate(path, bytes)
}

/** A trail that can be gone on with. */
interface Found {
  readonly entries: readonly AuditEntry[]
  readonly head: AuditHead
  /** Of the newer file. */
  readonly bytes: number
}

/**
 * Opens the files of a trail as `openAudit` says, with the entries that are in them. System errors come as they are, or
 * as failures of the state folder.
 */
export async function openAuditFile(
  path: string,
  clock: Clock,
  onTrouble: (failure: Failure) => void,
): Promise<{ readonly entries: readonly AuditEntry[]; readonly file: AuditFile }> {
  const found = await openTrail(path, clock, onTrouble)
  return { entries: found.entries, file: createFile(path, found) }
}

async function openTrail(path: string, clock: Clock, onTrouble: (failure: Failure) => void): Promise<Found> {
  const older = await readBytes(olderOf(path))
  const current = await readBytes(path)
  const text = current?.toString() ?? ''
  const verdict = verifyAudit({ older: older?.toString(), current: text })
  switch (verdict.state) {
    case 'intact':
      return { ...verdict, bytes: text.length }
    case 'cut':
      return cutOff(path, text, verdict, clock)
    case 'tampered': {
      const afterwards = verifyAudit({ current: text })
      const isBegunAnew = afterwards.state === 'intact' && afterwards.entries[0]?.what === trail.tampered
      const stamp = new Date(clock.now()).toISOString().replaceAll(':', '')
      const found = isBegunAnew
        ? { ...afterwards, bytes: text.length }
        : await beginAnew({ path, stamp, current, verdict, atMs: clock.now() })
      await putAside(olderOf(path), stamp)
      if (!isBegunAnew) onTrouble(tamperedWith(path, stamp, verdict.why))
      return found
    }
  }
}

async function cutOff(path: string, text: string, { entries, head }: AuditVerdict, clock: Clock): Promise<Found> {
  const whole = text.slice(0, text.lastIndexOf('\n') + 1)
  const facts = { bytes: text.length - whole.length }
  const lines = linesFor(head, whole === '', { atMs: clock.now(), what: trail.cut, facts })
  return replaced(path, whole, entries, lines)
}

interface Tampered {
  readonly path: string
  readonly stamp: string
  readonly current: Buffer | undefined
  readonly verdict: Extract<AuditVerdict, { state: 'tampered' }>
  readonly atMs: number
}

/** Copied, not renamed: until the new chain is there, what was tampered with stays where it will be found again. */
async function beginAnew({ path, stamp, current, verdict: { why, head }, atMs }: Tampered): Promise<Found> {
  if (current !== undefined) await writeDurably(asideOf(path, stamp), current)
  const facts = { why, lastGoodSeq: head.seq, lastGoodHash: head.hash }
  return replaced(path, '', [], [linkEntry(noHead, atMs, trail.tampered, facts)])
}

async function replaced(
  path: string,
  whole: string,
  before: readonly AuditEntry[],
  lines: readonly { readonly line: string; readonly entry: AuditEntry }[],
): Promise<Found> {
  const text = whole + lines.map(({ line }) => `${line}\n`).join('')
  await writeDurably(path, text)
  const entries = [...before, ...lines.map(({ entry }) => entry)]
  return { entries, head: entries.at(-1) ?? noHead, bytes: text.length }
}

async function putAside(path: string, stamp: string): Promise<void> {
  try {
    await rename(path, asideOf(path, stamp))
    await syncFolder(dirname(path))
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error
  }
}

function tamperedWith(path: string, stamp: string, why: string): Failure {
  const fact = `${path}: ${why}; what was there is kept under names that end in .tampered-${stamp}`
  return new Failure('AUDIT_TAMPERED', fact, { context: { path } })
}

async function readBytes(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path)
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined
    throw error
  }
}

function asideOf(path: string, stamp: string): string {
  return `${path}.tampered-${stamp}`
}

/** `audit.1.ndjson` */
function olderOf(path: string): string {
  return path.replace(/(\.[^./]*)?$/, '.1$1')
}
