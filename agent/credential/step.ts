import type { Failure } from '../failure.ts'

/** What the present step has seen so far; begun anew with each phase, and with each turn of a rollback. */
export interface Step {
  refusals: number
  lastFailure: Failure | undefined
  /** Monotonic; undefined for a step that may take as long as it likes. */
  dueMs: number | undefined
}

export function freshStep(): Step {
  return { refusals: 0, lastFailure: undefined, dueMs: undefined }
}
