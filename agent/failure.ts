import { failureTable } from './failure-table.ts'
import type { FailureKind } from './failure-table.ts'

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
    return failureTable[this.code].advice
  }
}

/** Any thrown thing as a `Failure`; what is not one already is an invariant that broke. */
export function asFailure(error: unknown): Failure {
  if (error instanceof Failure) return error
  const fact = error instanceof Error ? error.message : String(error)
  return new Failure('UNEXPECTED', fact, { cause: error })
}
