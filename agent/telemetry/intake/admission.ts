import { Failure } from '../../failure.ts'
import type { Clock } from '../../system/clock.ts'
import { createQuota } from './quota.ts'

export interface AdmissionOptions {
  /** Looked at with each arrival: it may change. */
  readonly samplesPerSecond: number
  readonly clock: Clock
}

/** What is to be let in, and by whom. */
export interface Arrival {
  /** Samples. */
  readonly count: number
  /** Who it is; asked only when it matters. */
  readonly uid: () => Promise<number | undefined>
  /** A stream that has begun is slowed down rather than refused. */
  readonly isPatient: boolean
}

/** How long a stream may be held up before it is refused all the same. */
const PATIENCE_MS = 30_000

/**
 * Lets samples in as fast as their user may hand them in.
 *
 * @throws Failure TELEMETRY_QUOTA  with the time after which there is room, in milliseconds
 * @throws signal.reason            when aborted
 */
export type Admit = (arrival: Arrival, signal: AbortSignal) => Promise<void>

export function createAdmission(options: AdmissionOptions): Admit {
  const { clock } = options
  let samplesPerSecond = options.samplesPerSecond
  let quota = createQuota(samplesPerSecond)
  return async ({ count, uid, isPatient }, signal) => {
    if (samplesPerSecond !== options.samplesPerSecond) {
      samplesPerSecond = options.samplesPerSecond
      quota = createQuota(samplesPerSecond)
    }
    if (quota.takeTogether(count, clock.monotonicMs())) return
    const user = await uid()
    const admission = quota.take(user, count, isPatient ? PATIENCE_MS : 0, clock.monotonicMs())
    if (admission.ok) return clock.wait(admission.afterMs, signal)
    const who = user === undefined ? 'all users together' : `user ${user}`
    throw new Failure('TELEMETRY_QUOTA', `${who} may hand in ${samplesPerSecond} samples a second`, {
      retryAfterMs: admission.retryAfterMs,
    })
  }
}
