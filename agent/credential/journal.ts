import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import {
  array,
  boolean,
  check,
  exactOptional,
  getDotPath,
  integer,
  literal,
  minValue,
  number,
  object,
  picklist,
  pipe,
  safeParse,
  string,
  variant,
} from 'valibot'
import type { GenericSchema } from 'valibot'
import { entryOf, Failure } from '../failure.ts'
import type { FailureCode } from '../failure.ts'
import type { Clock } from '../system/clock.ts'
import { errorCode, makePrivateFolder, setAside, writeDurably } from '../system/files.ts'
import { parseJson } from '../system/json.ts'
import { parseRef } from './credential-ref.ts'
import type { CredentialRef } from './credential-ref.ts'
import type { Lifecycle, Move, Verdict } from './lifecycle.ts'
import type { Memory } from './memory.ts'

/** Where the device stands and what it remembers: the file `credentials/journal.json`. */
export interface AuthRecord {
  readonly version: 1
  readonly lifecycle: Lifecycle
  readonly memory: Memory
}

/** The record on disk. */
export interface Journal {
  /**
   * The record of the last run. One that is torn, or that this version does not understand, is set aside, reported as
   * JOURNAL_TORN and counts as none. Never rejects: the pointer of the vault outlives the record.
   */
  load(): Promise<AuthRecord | undefined>
  /**
   * Durable when it resolves; when it is cut off, the old record is there or the new one, whole.
   *
   * @throws Failure DISK_FULL, STATE_UNWRITABLE; the old record is untouched
   */
  save(record: AuthRecord): Promise<void>
}

/** @param onRepair told of a record that was set aside: to be logged */
export function openJournal(stateDir: string, clock: Clock, onRepair: (failure: Failure) => void): Journal {
  const path = join(stateDir, 'credentials', 'journal.json')

  async function repair(why: string, cause?: unknown): Promise<undefined> {
    const aside = await setAside(path, clock.now()).catch(errorCode)
    const fact = `${path}: ${why}; it is now ${aside ?? 'where it was'}`
    onRepair(new Failure('JOURNAL_TORN', fact, { cause, context: { path } }))
  }

  return {
    async load() {
      const text = await readFile(path, 'utf8').catch((error: unknown) => ({ error }))
      if (typeof text === 'string') {
        const parsed = parseRecord(text)
        return parsed.ok ? parsed.value : repair(`it is no record of this version: ${parsed.problems.join('; ')}`)
      }
      const code = errorCode(text.error)
      return code === 'ENOENT' ? undefined : repair(`it cannot be read: ${code ?? String(text.error)}`, text.error)
    },
    async save(record) {
      await makePrivateFolder(dirname(path))
      await writeDurably(path, serialiseRecord(record))
    },
  }
}

/** What `parseRecord` reads. */
export function serialiseRecord(record: AuthRecord): string {
  return `${JSON.stringify(record, undefined, 2)}\n`
}

export type ParsedRecord =
  | { readonly ok: true; readonly value: AuthRecord }
  /** One sentence each, naming the field. */
  | { readonly ok: false; readonly problems: readonly string[] }

/**
 * The record of a text; every field has to be what this version writes. A field that it does not know is ignored: a
 * later version that means something by it that must not be ignored counts the version up.
 */
export function parseRecord(text: string): ParsedRecord {
  const result = safeParse(record, parseJson(text))
  if (result.success) return { ok: true, value: result.output }
  return { ok: false, problems: result.issues.map((issue) => `${getDotPath(issue) ?? 'the record'}: ${issue.message}`) }
}

/** Furthest instant from 1970 that a `Date` knows. Source: ECMAScript, time values and time range. */
const MAX_INSTANT_MS = 8.64e15

const instant = pipe(
  number(),
  check((ms) => Math.abs(ms) <= MAX_INSTANT_MS),
)
const count = pipe(number(), integer(), minValue(0))
const lane = picklist(['sas', 'x509'])
const generation = pipe(
  string(),
  check((name) => parseRef(name)?.lane === 'x509'),
)
const ref: GenericSchema<unknown, CredentialRef> = variant('lane', [
  object({ lane: literal('sas') }),
  object({ lane: literal('x509'), generation }),
])
const code = pipe(
  string(),
  check((name) => entryOf(name) !== undefined),
) as unknown as GenericSchema<unknown, FailureCode>
const cause = picklist(['twin', 'command', 'method', 'fallback', 'return', 'rescue', 'expiry', 'renewal'])
const setback = picklist(['rolledBack', 'refused', 'unreachable', 'rejected'])

const move: GenericSchema<unknown, Move> = object({
  to: lane,
  candidate: exactOptional(ref),
  fresh: boolean(),
  cause,
  version: exactOptional(count),
  renew: exactOptional(string()),
  because: exactOptional(code),
  atMs: instant,
})
const verdict: GenericSchema<unknown, Verdict> = object({ result: setback, code, reason: string() })

const lifecycle: GenericSchema<unknown, Lifecycle> = variant('phase', [
  object({ phase: literal('newborn') }),
  object({ phase: literal('steady'), active: ref }),
  object({ phase: literal('preparing'), active: ref, move }),
  object({ phase: literal('registering'), active: ref, candidate: ref, move }),
  object({ phase: literal('proving'), active: ref, candidate: ref, move }),
  object({ phase: literal('committing'), active: ref, candidate: ref, move }),
  object({ phase: literal('rollingBack'), active: ref, candidate: ref, move, verdict }),
])

const attempt = object({
  to: lane,
  cause,
  version: exactOptional(count),
  result: picklist(['active', ...setback.options]),
  code: exactOptional(code),
  reason: exactOptional(string()),
  atMs: instant,
})

const memory: GenericSchema<unknown, Memory> = object({
  history: array(attempt),
  settledVersion: exactOptional(count),
  settledTo: exactOptional(lane),
  settledRenew: exactOptional(string()),
  retry: exactOptional(object({ move, notBeforeMs: instant, failed: count })),
  moves: array(instant),
  fallbacks: array(instant),
  fallenBack: exactOptional(
    object({ from: ref, cause: code, sinceMs: instant, returnAtMs: instant, returnsFailed: count }),
  ),
  refusals: exactOptional(object({ of: ref, count, firstAtMs: instant, lastAtMs: instant, code })),
  lastRegistration: exactOptional(object({ of: ref, atMs: instant })),
  x509ProvenSinceMs: exactOptional(instant),
  retirement: exactOptional(object({ atMs: instant, done: boolean(), left: array(string()) })),
  leftFiles: exactOptional(literal(true)),
  lostX509: exactOptional(literal(true)),
  refusedGenerations: array(generation),
  renewal: exactOptional(object({ of: ref, failed: count, lastAtMs: instant })),
  longestOfflineMs: exactOptional(count),
})

const record: GenericSchema<unknown, AuthRecord> = object({ version: literal(1), lifecycle, memory })
