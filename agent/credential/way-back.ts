import { isSameRef, pendingRef } from './credential-ref.ts'
import type { CredentialRef } from './credential-ref.ts'
import type { Lifecycle } from './lifecycle.ts'
import type { PolicyFacts } from './policy.ts'

type RollingBack = Extract<Lifecycle, { phase: 'rollingBack' }>

/**
 * What a rollback registers. SAS may have been registered meanwhile, and DPS makes an identity a managed one again with a new
 * certificate alone. A certificate that is no more than another one of the same authority has nothing to register.
 */
export function wayBack({ active, candidate }: RollingBack, { inventory, policy }: PolicyFacts): CredentialRef {
  const held = inventory.certificates.find(({ ref }) => isSameRef(ref, active))
  return held?.isManaged === true && candidate.lane === 'sas' && policy.onboarding !== undefined ? pendingRef : active
}

/**
 * Whether a device that stands still with a refused credential could do more than try these two in turns: the other lane,
 * another certificate that is held, or a new one.
 */
export function hasThirdWay(lifecycle: RollingBack, { inventory, memory }: PolicyFacts): boolean {
  const { active, candidate } = lifecycle
  if (active.lane === 'x509' && candidate.lane === 'x509') return !isSameRef(active, candidate)
  return inventory.certificates.some(
    ({ ref }) =>
      !isSameRef(ref, active) && !isSameRef(ref, candidate) && !memory.refusedGenerations.includes(ref.generation),
  )
}
