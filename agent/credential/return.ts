import type { FailureCode } from '../failure.ts'
import { moveFreeAtMs } from './budget.ts'
import { isSameRef } from './credential-ref.ts'
import type { CredentialRef } from './credential-ref.ts'
import type { Memory } from './memory.ts'
import { stay, waitUntil } from './own-move.ts'
import type { Fallback } from './own-move.ts'
import type { AuthPolicy, PolicyFacts } from './policy.ts'
import { newestHeld } from './rescue.ts'

/** The longest pause between two tries of X.509, as a multiple of the first. */
const LONGEST_FACTOR = 8

/** How far a pause may be from its nominal length, so that a fleet that fell back as one does not return as one. */
const JITTER = 0.1

/**
 * Back to X.509 after a fallback, when its time has come: with the newest certificate that was not refused or with the one
 * it fell from, and with a new one when neither is within its dates.
 */
export function judgeReturn(facts: PolicyFacts): Fallback {
  const { memory, policy, nowMs, active } = facts
  const { fallenBack } = memory
  if (fallenBack === undefined || active?.lane !== 'sas') return stay('the device has not fallen back')
  if (!policy.x509Enabled) return stay('auth.x509.enabled is false')
  if (!isReached(fallenBack.returnAtMs, policy, nowMs)) return { do: 'wait', untilMs: fallenBack.returnAtMs }
  const freeMs = moveFreeAtMs(facts)
  if (freeMs !== undefined) return waitUntil(nowMs, freeMs)
  if (facts.clock === 'wrong') return waitUntil(nowMs)
  const isManaged = policy.onboarding !== undefined
  const candidate = isManaged ? undefined : returnerOf(facts, fallenBack.from)
  const because = fallenBack.cause
  return {
    do: 'fall',
    move: { to: 'x509', fresh: false, cause: 'return', because, ...(candidate === undefined ? {} : { candidate }) },
  }
}

/** The device is on SAS now. Plans the first return; X.509 has to prove itself from the beginning. */
export function withFallenBack(
  memory: Memory,
  from: CredentialRef,
  cause: FailureCode,
  nowMs: number,
  policy: AuthPolicy,
  random: () => number,
): Memory {
  const { x509ProvenSinceMs: _broken, refusals: _ofTheOther, ...others } = memory
  const returnAtMs = nowMs + pauseMs(0, policy, random)
  return { ...others, fallenBack: { from, cause, sinceMs: nowMs, returnAtMs, returnsFailed: 0 } }
}

/** X.509 was tried and did not prove itself. Plans the next return, after twice the time, up to eight times the first. */
export function withReturnFailed(memory: Memory, nowMs: number, policy: AuthPolicy, random: () => number): Memory {
  const { fallenBack } = memory
  if (fallenBack === undefined) return memory
  const returnsFailed = fallenBack.returnsFailed + 1
  const returnAtMs = nowMs + pauseMs(returnsFailed, policy, random)
  return { ...memory, fallenBack: { ...fallenBack, returnAtMs, returnsFailed } }
}

/** The fallback is over: X.509 has proved itself, or SAS is wanted for good. What was refused before counts no more. */
export function withReturned(memory: Memory): Memory {
  const { fallenBack: _over, refusals: _answered, ...others } = memory
  return others
}

/** An instant further ahead than any pause was written by a clock that has been set back since. */
function isReached(returnAtMs: number, { fallback }: AuthPolicy, nowMs: number): boolean {
  const longestMs = fallback.returnAfterMs * LONGEST_FACTOR * (1 + JITTER)
  return nowMs >= returnAtMs || returnAtMs - nowMs > longestMs
}

function returnerOf({ inventory, memory, nowMs }: PolicyFacts, from: CredentialRef): CredentialRef | undefined {
  return newestHeld(
    inventory.certificates,
    nowMs,
    ({ ref }) => isSameRef(ref, from) || !memory.refusedGenerations.includes(ref.generation),
  )
}

function pauseMs(failed: number, { fallback }: AuthPolicy, random: () => number): number {
  const nominalMs = fallback.returnAfterMs * Math.min(LONGEST_FACTOR, 2 ** failed)
  return Math.round(nominalMs * (1 - JITTER + 2 * JITTER * random()))
}
