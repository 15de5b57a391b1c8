import { asFailure, Failure } from '../failure.ts'
import type { Clock } from '../system/clock.ts'
import { bounded } from '../system/deadline.ts'
import type { SasToken } from '../wire/sas-token.ts'
import type { Gate } from './gate.ts'

export interface RenewalParts {
  readonly clock: Clock
  /** Uniform in [0, 1). */
  readonly random: () => number
  /** Name of the hub, for the message. */
  readonly host: string
}

/** A session goes on with a new token when this much of the token's hour is used. Source: as the Node SDK does. */
const RENEW_AFTER_MS = 45 * 60_000

/** The part of it by which devices that were switched on together are spread. */
const SPREAD = 0.1

/** Least time that a token must still have by the wall clock. Source: the drift that IoT Hub bears, about five minutes. */
const LEAST_LEFT_MS = 5 * 60_000

/** Between two looks at the clocks. Short, because neither a step nor a machine that slept wakes a timer. */
const LOOK_EVERY_MS = 60_000

/** Time for what is on its way, in milliseconds; what has no answer by then is sent again in the next session. */
const DRAIN_MS = 5_000

/**
 * Waits until a session is due for a new token, closes its gate, and lets what is on its way come back.
 *
 * @returns the failure SESSION_RENEWED with which the session is to end
 * @throws signal.reason when aborted
 */
export async function readyForRenewal(
  token: Pick<SasToken, 'endsAtMs'>,
  gate: Gate,
  parts: RenewalParts,
  signal: AbortSignal,
): Promise<Failure> {
  await untilRenewal(token, parts, signal)
  const limit = { clock: parts.clock, withinMs: DRAIN_MS, code: 'HUB_NO_ANSWER', what: 'what was on its way' } as const
  const late = await bounded(gate.close(), limit).catch(asFailure)
  const details = late instanceof Failure ? { cause: late } : {}
  return new Failure('SESSION_RENEWED', `${parts.host}: the token of this session ends soon`, details)
}

/**
 * Resolves when it is time: after 40 to 45 minutes of monotonic time, or as soon as the wall clock leaves the token less
 * than five minutes. A clock that was set back puts nothing off.
 */
async function untilRenewal(
  { endsAtMs }: Pick<SasToken, 'endsAtMs'>,
  { clock, random }: RenewalParts,
  signal: AbortSignal,
): Promise<void> {
  const dueMs = clock.monotonicMs() + RENEW_AFTER_MS * (1 - SPREAD * random())
  for (;;) {
    const leftMs = dueMs - clock.monotonicMs()
    if (leftMs <= 0 || endsAtMs - clock.now() < LEAST_LEFT_MS) return
    await clock.wait(Math.min(leftMs, LOOK_EVERY_MS), signal)
  }
}
