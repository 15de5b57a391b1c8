import { failureTable } from './failure-table.ts'
import type { FailureEntry, FailureKind } from './failure-table.ts'

export type { FailureEntry, FailureKind } from './failure-table.ts'

export type FailureCode = keyof typeof failureTable

/** What else a failure carries. `context` never holds a secret: it is logged and shown. */
export interface FailureDetails {
  readonly cause?: unknown
  readonly context?: Readonly<Record<string, string | number | boolean>>
  /** The other side's own wish for when to come back, in milliseconds. */
  readonly retryAfterMs?: number
}

/** The one error type of the agent: a code of the table, the fact as message, the cause beneath it. */
export class Failure extends Error {
  override readonly name = 'Failure'
  readonly code: FailureCode
  readonly context: Readonly<Record<string, string | number | boolean>>
  readonly retryAfterMs: number | undefined

  constructor(code: FailureCode, fact: string, details: FailureDetails = {}) {
    super(fact, details.cause === undefined ? {} : { cause: details.cause })
    this.code = code
    this.context = details.context ?? {}
    this.retryAfterMs = details.retryAfterMs
  }

  get kind(): FailureKind {
    return failureTable[this.code].kind
  }

  get advice(): string {
    return fill(failureTable[this.code].advice, this.context)
  }
}

/** Whether a code that came from elsewhere is one of this table. */
export function isFailureCode(code: string): code is FailureCode {
  return Object.hasOwn(failureTable, code)
}

/** The row of a code that came from elsewhere; undefined when it is none of this table. */
export function entryOf(code: string): FailureEntry | undefined {
  return isFailureCode(code) ? failureTable[code] : undefined
}

/**
 * Any thrown thing as a `Failure`. A file that the system keeps from us has an owner who can mend that; whatever else is
 * not a `Failure` already is an invariant that broke.
 */
export function asFailure(error: unknown): Failure {
  if (error instanceof Failure) return error
  const fact = error instanceof Error ? error.message : String(error)
  if (isDenial(error)) return new Failure('ACCESS_DENIED', fact, { cause: error })
  return new Failure('UNEXPECTED', fact, { cause: error })
}

/** Puts what is known of this failure into the words that stand for it in the table. */
function fill(advice: string, context: Failure['context']): string {
  const { host, port, path } = context
  const named = host === undefined ? advice : advice.replaceAll('HOST', String(host))
  const reached = port === undefined ? named : named.replaceAll('8883', String(port))
  return path === undefined ? reached : reached.replaceAll('/var/lib/iot-device-agent', String(path))
}

function isDenial(error: unknown): boolean {
  if (!(error instanceof Error) || !('code' in error) || !('path' in error)) return false
  return error.code === 'EACCES' || error.code === 'EPERM'
}
