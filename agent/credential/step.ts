import type { Failure } from '../failure.ts'
import type { Lifecycle } from './lifecycle.ts'
import type { LinkStart } from './rotation-ports.ts'

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

/** How a link begins in a phase. */
export function startOf({ phase }: Lifecycle): LinkStart {
  if (phase === 'registering') return 'registerOnly'
  return phase === 'rollingBack' ? 'registerFirst' : 'cached'
}
