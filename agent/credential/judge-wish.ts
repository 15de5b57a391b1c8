import { Failure } from '../failure.ts'
import type { FailureCode } from '../failure.ts'
import { moveFreeAtMs } from './budget.ts'
import { isSameRef } from './credential-ref.ts'
import type { Cause, Move } from './lifecycle.ts'
import type { PolicyFacts } from './policy.ts'

/** What is to be done about a move that somebody wants. Each reason is one sentence without secrets. */
export type Judgement =
  | { readonly verdict: 'go' }
  /** The device is as wanted. */
  | { readonly verdict: 'already' }
  /** Not now: a reason that passes by itself. */
  | { readonly verdict: 'wait'; readonly untilMs: number; readonly code: FailureCode; readonly reason: string }
  | { readonly verdict: 'rejected'; readonly code: FailureCode; readonly reason: string }

type Rejected = Extract<Judgement, { verdict: 'rejected' }>
type Wanted = Pick<Move, 'to' | 'fresh' | 'cause' | 'candidate'>

/** A clock that is wrong is looked at again after this, in milliseconds. */
const CLOCK_AGAIN_MS = 60_000

/** Whether a person wants it, and not the device by itself. */
export function isWish(cause: Cause): boolean {
  return cause === 'twin' || cause === 'command' || cause === 'method'
}

/** Whether a move may begin. What is forbidden is said before what must wait, since only the first is final. */
export function judgeMove(move: Wanted, facts: PolicyFacts): Judgement {
  const rejected = leadsToSas(move) ? rejectedOnSas(move, facts) : rejectedOnX509(facts)
  if (rejected !== undefined) return rejected
  if (isAlready(move, facts)) return { verdict: 'already' }
  return waitOf(facts) ?? { verdict: 'go' }
}

/** A candidate says more than the lane: no name for a move hides that it ends on SAS. */
function leadsToSas({ to, candidate }: Wanted): boolean {
  return to === 'sas' || candidate?.lane === 'sas'
}

function rejectedOnX509({ policy }: PolicyFacts): Rejected | undefined {
  return policy.x509Enabled ? undefined : reject('AUTH_X509_OFF', 'auth.x509.enabled is false on this device')
}

function rejectedOnSas(move: Wanted, facts: PolicyFacts): Rejected | undefined {
  const { memory, inventory } = facts
  if (memory.retirement !== undefined)
    return reject('AUTH_SAS_RETIRED', `SAS was retired on this device at ${isoOf(memory.retirement.atMs)}`)
  if (inventory.sas === 'absent') return reject('AUTH_NO_SAS', 'this device has no SAS secret')
  if (inventory.sas instanceof Failure) return reject(inventory.sas.code, inventory.sas.message)
  if (isForbiddenDowngrade(move, facts))
    return reject('AUTH_FORBIDDEN', 'auth.allowDowngrade is false: no wish may lead from X.509 to SAS')
  if (move.fresh) return reject('AUTH_WISH_INVALID', 'a certificate can only be renewed on X.509, and SAS is wanted')
  return undefined
}

/**
 * A device that has fallen back is an X.509 device for a while: the wish to stay on SAS ends its way back, and so is the
 * downgrade. To register the credential in use once more is none.
 */
function isForbiddenDowngrade({ cause, candidate }: Wanted, { policy, active, memory }: PolicyFacts): boolean {
  if (policy.downgradeAllowed || !isWish(cause) || isSameRef(candidate, active)) return false
  return active?.lane === 'x509' || memory.fallenBack !== undefined
}

function isAlready({ to, fresh, candidate }: Wanted, { active }: PolicyFacts): boolean {
  return active?.lane === to && !fresh && candidate === undefined
}

function waitOf(facts: PolicyFacts): Extract<Judgement, { verdict: 'wait' }> | undefined {
  const { nowMs, clock, policy } = facts
  const freeMs = moveFreeAtMs(facts)
  if (freeMs !== undefined) {
    const reason = `${policy.movesPerDay} moves in 24 hours are the limit, and the next is possible at ${isoOf(freeMs)}`
    return { verdict: 'wait', untilMs: freeMs, code: 'AUTH_MOVES_SPENT', reason }
  }
  if (clock !== 'wrong') return undefined
  // No instant: by a wrong clock it would be wrong as well, and another one each minute.
  const reason = 'the clock of this device is wrong, and no move begins before it has been synchronised'
  return { verdict: 'wait', untilMs: nowMs + CLOCK_AGAIN_MS, code: 'CLOCK_UNTRUSTED', reason }
}

function reject(code: FailureCode, reason: string): Rejected {
  return { verdict: 'rejected', code, reason }
}

function isoOf(ms: number): string {
  return new Date(ms).toISOString()
}
