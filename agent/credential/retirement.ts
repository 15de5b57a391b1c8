import { isSameRef } from './credential-ref.ts'
import type { PolicyFacts } from './policy.ts'

/** Whether the SAS secret is destroyed now. `wait` is the answer to a wish only; its reason is one sentence. */
export type RetirementJudgement =
  | { readonly do: 'nothing' }
  | { readonly do: 'wait'; readonly untilMs: number; readonly reason: string }
  | { readonly do: 'retire' }

/** What passes at no known time is looked at again after this, in milliseconds. */
const AGAIN_MS = 60_000

/**
 * Whether SAS is over for this device: by the wish of the twin, or because X.509 has proved itself for as long as the policy
 * says. What was begun is always finished. A device without a SAS secret retires it as well: one that is laid down later
 * must not be used.
 *
 * @param wished by the device twin
 */
export function judgeRetirement(wished: boolean, facts: PolicyFacts): RetirementJudgement {
  const { retirement } = facts.memory
  if (retirement !== undefined) return retirement.done ? { do: 'nothing' } : { do: 'retire' }
  const provenForMs = requiredMs(wished, facts)
  if (provenForMs === undefined) return { do: 'nothing' }
  const obstacle = obstacleOf(provenForMs, facts)
  if (obstacle === undefined) return { do: 'retire' }
  return wished ? { do: 'wait', ...obstacle } : { do: 'nothing' }
}

/** For how long X.509 must have proved itself; undefined when nobody wants SAS retired. */
function requiredMs(wished: boolean, { policy }: PolicyFacts): number | undefined {
  if (wished) return policy.soakMs
  const { retireAfterMs } = policy.fallback
  return retireAfterMs === undefined ? undefined : Math.max(policy.soakMs, retireAfterMs)
}

interface Obstacle {
  readonly untilMs: number
  readonly reason: string
}

function obstacleOf(provenForMs: number, { nowMs, clock, active, memory, policy }: PolicyFacts): Obstacle | undefined {
  const again = (reason: string): Obstacle => ({ untilMs: nowMs + AGAIN_MS, reason })
  if (policy.onboarding === 'sas') return again('DPS issues the certificates of this device by its SAS secret')
  if (memory.fallenBack !== undefined) return again('the device has fallen back to SAS and needs it')
  if (active?.lane !== 'x509') return again('the device is not on X.509')
  if (isSameRef(memory.refusals?.of, active)) return again('the cloud refuses the certificate at present')
  if (clock !== 'trusted') return again('the clock of this device is not synchronised, so that no time can be measured')
  if (memory.x509ProvenSinceMs === undefined) return again('X.509 has not proved itself yet')
  const untilMs = memory.x509ProvenSinceMs + provenForMs
  if (nowMs >= untilMs) return undefined
  const since = new Date(memory.x509ProvenSinceMs).toISOString()
  const reason = `X.509 has proved itself since ${since}, and must go on to do so until ${new Date(untilMs).toISOString()}`
  return { untilMs, reason }
}
