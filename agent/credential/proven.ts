import { Failure } from '../failure.ts'
import { nameOf } from './credential-ref.ts'
import type { CredentialRef } from './credential-ref.ts'
import type { Memory } from './memory.ts'
import type { PolicyFacts } from './policy.ts'
import { withoutRefusals } from './refusals.ts'

/**
 * The present credential works: refusals that were counted are over. For how long X.509 has proved itself is counted from a
 * moment that is known, by a clock that is trusted.
 */
export function provenNow(memory: Memory, ref: CredentialRef, { clock, nowMs }: PolicyFacts): Memory {
  const clean = withoutRefusals(memory)
  const begins = ref.lane === 'x509' && clean.x509ProvenSinceMs === undefined && clock === 'trusted'
  return begins ? { ...clean, x509ProvenSinceMs: nowMs } : clean
}

/** A session that has shown another credential than the one that it was opened with. */
export function wrongCredential(wanted: CredentialRef, presented: CredentialRef | undefined): Failure {
  const shownAs = presented === undefined ? 'an unknown one' : nameOf(presented)
  return new Failure('AUTH_WRONG_CREDENTIAL', `the session presented ${shownAs} in place of ${nameOf(wanted)}`)
}
