import type { FailureCode } from '../failure.ts'
import { moveFreeAtMs } from './budget.ts'
import { isPending, isSameRef } from './credential-ref.ts'
import { refusedEnough, stay, waitUntil } from './own-move.ts'
import type { Fallback } from './own-move.ts'
import type { HeldCertificate, PolicyFacts } from './policy.ts'

/**
 * A rescue leads to no weaker credential, so that it needs less than a fallback: enough that it is not the hub's word before
 * a registration, nor one server of many that is behind.
 */
const REFUSALS = 3
const HOLD_OFF_MS = 2 * 60_000

/** From a rescue that failed to the next, in milliseconds. A fallback has its turn meanwhile, if the policy has one. */
const SPACING_MS = 60 * 60_000

/** From a credential that the cloud refuses for good to another certificate that is held; never to SAS. */
export function judgeRescue(facts: PolicyFacts): Fallback {
  if (facts.active === undefined) return stay('there is no credential yet')
  // It leads to another certificate of the same kind: nobody gains by a clock that is a little wrong.
  if (isUnassigned(facts) && facts.clock !== 'wrong') return renewal(facts, 'DPS_CSR_NEEDED')
  if (facts.clock !== 'trusted') return stay('the clock is not trusted')
  const refused = refusedEnough(facts, REFUSALS, HOLD_OFF_MS)
  if ('do' in refused && refused.do === 'stay') return refused
  if (facts.policy.onboarding !== undefined) return 'do' in refused ? refused : renewal(facts, refused.code)
  const candidate = rescuerOf(facts)
  if (candidate === undefined) return stay('no other certificate is held, or a rescue has just failed')
  if ('do' in refused) return refused
  const freeMs = moveFreeAtMs(facts)
  if (freeMs !== undefined) return waitUntil(facts.nowMs, freeMs)
  return { do: 'fall', move: { to: 'x509', candidate, fresh: false, cause: 'rescue', because: refused.code } }
}

/** The hub is out of reach or elsewhere, and DPS tells where with a new certificate alone. */
function isUnassigned({ needsRegistration, policy }: PolicyFacts): boolean {
  return needsRegistration === true && policy.onboarding !== undefined
}

/** From a certificate that DPS issued to another that it issues. */
function renewal(facts: PolicyFacts, because: FailureCode): Fallback {
  if (isPending(facts.active)) return stay('the first certificate is being asked for')
  if (!facts.policy.x509Enabled || hasFailedOfLate(facts)) return stay('a rescue has just failed')
  const freeMs = moveFreeAtMs(facts)
  if (freeMs !== undefined) return waitUntil(facts.nowMs, freeMs)
  return { do: 'fall', move: { to: 'x509', fresh: true, cause: 'rescue', because } }
}

/** The certificate whose turn it would be; undefined when there is none, or when a rescue has failed of late. */
export function rescuerOf(facts: PolicyFacts): HeldCertificate['ref'] | undefined {
  const { policy, active, memory, nowMs } = facts
  if (!policy.x509Enabled || hasFailedOfLate(facts)) return undefined
  return newestHeld(
    facts.inventory.certificates,
    nowMs,
    ({ ref }) => !isSameRef(ref, active) && !memory.refusedGenerations.includes(ref.generation),
  )
}

/** The newest wanted certificate that is within its dates. */
export function newestHeld(
  certificates: readonly HeldCertificate[],
  nowMs: number,
  isWanted: (held: HeldCertificate) => boolean,
): HeldCertificate['ref'] | undefined {
  return certificates
    .filter((held) => held.notBeforeMs <= nowMs && nowMs <= held.notAfterMs && isWanted(held))
    .toSorted((one, other) => other.notBeforeMs - one.notBeforeMs)[0]?.ref
}

function hasFailedOfLate({ memory, nowMs }: PolicyFacts): boolean {
  return memory.history.some(
    ({ cause, result, atMs }) =>
      cause === 'rescue' && result !== 'active' && atMs <= nowMs && nowMs - atMs < SPACING_MS,
  )
}
