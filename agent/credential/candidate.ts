import { isSameRef } from './credential-ref.ts'
import type { CredentialRef } from './credential-ref.ts'
import type { Move } from './lifecycle.ts'
import type { HeldCertificate, PolicyFacts } from './policy.ts'

/**
 * The credential with which a move goes on; undefined when a new certificate has to be asked for.
 *
 * @param move a move that was judged good
 */
export function chooseCandidate(move: Move, facts: PolicyFacts): CredentialRef | undefined {
  if (move.to === 'sas') return { lane: 'sas' }
  const { certificates } = facts.inventory
  if (facts.policy.onboarding !== undefined) return managedCandidate(move, facts)
  if (move.candidate !== undefined && certificates.some(({ ref }) => isSameRef(ref, move.candidate)))
    return move.candidate
  const usable = certificates.filter((held) => isUsable(held, facts))
  const chosen = move.fresh ? usable.find((held) => isNewer(held.ref, facts.active)) : usable[0]
  return chosen?.ref
}

/**
 * With certificate management each registration brings a certificate of its own, so that none that is held is registered
 * again; but one that came over the hub and never came to its turn is good while the identity is managed.
 */
function managedCandidate(move: Move, facts: PolicyFacts): CredentialRef | undefined {
  // What DPS is to tell comes with a certificate that it issues, and with no other.
  if (move.because === 'DPS_CSR_NEEDED') return undefined
  const { certificates } = facts.inventory
  const named = certificates.find(({ ref }) => isSameRef(ref, move.candidate))
  if (named !== undefined && named.isManaged !== true) return named.ref
  const isManaged = certificates.some(({ ref, isManaged: is }) => is === true && isSameRef(ref, facts.active))
  if (!isManaged || !move.fresh) return undefined
  return certificates.find((held) => held.isManaged && isUsable(held, facts) && isNewer(held.ref, facts.active))?.ref
}

/** A clock that is not trusted judges no certificate. */
function isUsable({ ref, notAfterMs }: HeldCertificate, { nowMs, clock, memory }: PolicyFacts): boolean {
  if (memory.refusedGenerations.includes(ref.generation)) return false
  return clock === 'wrong' || notAfterMs > nowMs
}

/** A generation that was made after the active one and never came to its turn, as after a power cut. */
function isNewer({ generation }: HeldCertificate['ref'], active: CredentialRef | undefined): boolean {
  return numberOf(generation) > (active?.lane === 'x509' ? numberOf(active.generation) : Number.POSITIVE_INFINITY)
}

function numberOf(generation: string): number {
  return Number(/^gen-(\d+)$/.exec(generation)?.[1] ?? 0)
}
