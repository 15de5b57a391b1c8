import { chmodSync } from 'node:fs'
import { Failure, asFailure } from '../../failure.ts'
import { errorCode } from '../../system/error-code.ts'
import { PRIVATE_FILE } from '../../system/files.ts'

/** Primary result codes of SQLite that tell what is to be done. Source: sqlite.org/rescode.html. */
const BUSY = 5
const IOERR = 10
const CORRUPT = 11
const FULL = 13
const CONSTRAINT = 19
const NOTADB = 26

/** Kinds of IOERR, as the second byte of the extended code. */
const WHILE_READING: readonly number[] = [1, 2, 32, 33]
const WHILE_WRITING = 3
const WHILE_SYNCING: readonly number[] = [4, 5]

/**
 * What is wrong with the file of the outbox, of whatever SQLite, the file system or we ourselves threw.
 *
 * @returns Failure OUTBOX_TORN when the file must be mended, DISK_FULL, STATE_UNWRITABLE; whatever comes from elsewhere
 * is an invariant that broke
 */
export function storeFailure(path: string, cause: unknown): Failure {
  if (cause instanceof Failure) return cause
  const say = (code: 'OUTBOX_TORN' | 'DISK_FULL' | 'STATE_UNWRITABLE', fact: string) =>
    new Failure(code, `${fact} ${path}: ${textOf(cause)}`, { cause, context: { path } })
  if (cause instanceof SyntaxError) return say('OUTBOX_TORN', 'what was kept cannot be read in')
  const sqlite = resultCode(cause)
  if (sqlite === 0 && errorCode(cause) === undefined) return asFailure(cause)
  if (isTorn(sqlite)) return say('OUTBOX_TORN', 'damage in')
  if (isFull(path, sqlite, errorCode(cause))) return say('DISK_FULL', 'cannot write')
  if ((sqlite & 0xff) === BUSY) return say('STATE_UNWRITABLE', 'another process uses')
  return say('STATE_UNWRITABLE', 'cannot write')
}

/** A place where our own numbers and the file disagree. */
export function torn(path: string, fact: string): Failure {
  return new Failure('OUTBOX_TORN', `damage in ${path}: ${fact}`, { context: { path } })
}

/** A number that is already taken is damage as well: the ends of a stream were not where its rows are. */
function isTorn(sqlite: number): boolean {
  const primary = sqlite & 0xff
  if (primary === IOERR) return WHILE_READING.includes(sqlite >> 8)
  return primary === CORRUPT || primary === NOTADB || primary === CONSTRAINT
}

/** A quota that is used up comes as a write that failed, as everything does for which SQLite has no name. */
function isFull(path: string, sqlite: number, system: string | undefined): boolean {
  if (system === 'ENOSPC' || system === 'EDQUOT') return true
  if ((sqlite & 0xff) === FULL) return true
  return (sqlite & 0xff) === IOERR && sqlite >> 8 === WHILE_WRITING && isChangeable(path)
}

/** Asked without opening the file: to close it again would give up the lock on it. */
function isChangeable(path: string): boolean {
  try {
    chmodSync(path, PRIVATE_FILE)
    return true
  } catch {
    return false
  }
}

/** Whether what was written may not be on the disk, although it can still be read. */
export function isSyncFailure(error: unknown): boolean {
  const sqlite = resultCode(error)
  return (sqlite & 0xff) === IOERR && WHILE_SYNCING.includes(sqlite >> 8)
}

/** The extended result code; 0 when SQLite did not throw this. */
function resultCode(error: unknown): number {
  if (typeof error !== 'object' || error === null || !('errcode' in error)) return 0
  return typeof error.errcode === 'number' ? error.errcode : 0
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
