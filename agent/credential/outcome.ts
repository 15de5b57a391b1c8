import { FILES, isPending, isSameRef } from './credential-ref.ts'
import type { CredentialRef } from './credential-ref.ts'
import { withFallenBack, withReturned, withReturnFailed } from './fallback.ts'
import type { Move, Verdict } from './lifecycle.ts'
import { withAttempt, withSettled } from './memory.ts'
import type { Memory } from './memory.ts'
import type { AuthPolicy } from './policy.ts'
import { withoutRefusals } from './refusals.ts'
import { withRetry } from './retry.ts'

/** What the end of a move is remembered with. */
export interface Ending {
  readonly move: Move
  readonly active: CredentialRef
  readonly candidate: CredentialRef
  /** A pair of files is configured. */
  readonly hasPair?: boolean
  readonly nowMs: number
  readonly policy: AuthPolicy
  /** Uniform in [0, 1). */
  readonly random: () => number
}

/** The memory of a device whose candidate has become the active credential. */
export function afterMove(memory: Memory, ending: Ending): Memory {
  const { move, active, candidate, nowMs, policy, random } = ending
  const { renewal: _over, ...attempted } = withAttempt(memory, move, undefined, nowMs)
  const settled = withSettled(withoutRefusals(attempted), move)
  // Registered again with what it had: nothing of how it came to that is over.
  if (isSameRef(active, candidate))
    return memory.renewal === undefined ? settled : { ...settled, renewal: memory.renewal }
  const proven = withProvenSince(settled, active, candidate)
  const left = leavesFiles(ending) ? { ...proven, leftFiles: true as const } : proven
  if (move.cause === 'fallback')
    return withFallenBack(left, active, move.because ?? 'UNEXPECTED', nowMs, policy, random)
  // SAS by a wish is no fallback any more, and X.509 by whatever cause is the way back.
  return withReturned(left)
}

/** The memory of a device that is back where it was. */
export function afterSetback(memory: Memory, verdict: Verdict, ending: Ending): Memory {
  const { move, active, candidate, nowMs, policy, random } = ending
  const attempted = withAttempt(memory, move, verdict, nowMs)
  const marked =
    verdict.result === 'refused' && move.fresh && candidate.lane === 'x509' && !isPending(candidate)
      ? { ...attempted, refusedGenerations: [...attempted.refusedGenerations, candidate.generation].slice(-MAX_MARKED) }
      : attempted
  if (move.cause === 'renewal') return withRenewalFailed(marked, active, nowMs)
  if (move.cause === 'return') return withReturnFailed(marked, nowMs, policy, random)
  // A certificate that has expired stays so: another one is asked for after a while, whatever came of this one.
  const counted = move.cause === 'expiry' ? { ...verdict, result: 'unreachable' as const } : verdict
  return withRetry(marked, move, counted, nowMs, random)
}

const MAX_MARKED = 32

/** Its own schedule: the old certificate works for as long as it lasts. */
function withRenewalFailed(memory: Memory, of: CredentialRef, nowMs: number): Memory {
  const failed = isSameRef(memory.renewal?.of, of) ? (memory.renewal?.failed ?? 0) : 0
  return { ...memory, renewal: { of, failed: failed + 1, lastAtMs: nowMs } }
}

/** X.509 counts as proven without a break for as long as every move leads from X.509 to X.509. */
function withProvenSince(memory: Memory, active: CredentialRef, candidate: CredentialRef): Memory {
  if (active.lane === 'x509' && candidate.lane === 'x509') return memory
  const { x509ProvenSinceMs: _broken, ...others } = memory
  return others
}

/** From now on the pair is passed over, for as long as it is configured. */
function leavesFiles({ active, candidate, hasPair }: Ending): boolean {
  const isPair = active.lane === 'x509' && active.generation === FILES
  return (isPair || hasPair === true) && candidate.lane === 'x509' && candidate.generation !== FILES
}
