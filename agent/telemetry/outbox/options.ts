import type { Failure } from '../../failure.ts'
import type { Clock } from '../../system/clock.ts'
import type { DropCause, OutboxLimits } from './port.ts'
import type { SyncLog } from './wal.ts'

export interface OutboxOptions {
  readonly clock: Clock
  /** Looked at whenever they matter: they may change. */
  readonly limits: OutboxLimits
  /** Hears of a refusal of the disk once until something could be stored again, and of damage: what was found, what came of it. */
  readonly onFailure: (failure: Failure) => void
  /** Hears that an outbox in memory is on disk now. */
  readonly onReturn?: () => void
  /** Hears of samples that were given up. */
  readonly onDropped?: (count: number, cause: DropCause) => void
  /** Whether the wall clock can be believed; yes when left out. Without that nothing is too old. */
  readonly trusted?: () => boolean
  /** Uniform in [0, 1). */
  readonly random?: () => number
  /** Stands around each sync of the log; nothing when left out. */
  readonly sync?: SyncLog
}
