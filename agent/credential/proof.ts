import { isSameRef } from './credential-ref.ts'
import type { CredentialRef } from './credential-ref.ts'

/**
 * What one connection has shown of the credential that it used. CONNACK alone proves nothing: the hub has been seen to
 * let a device in and to refuse it everything else.
 */
export interface Proof {
  /** What was really presented; undefined before CONNACK. */
  readonly presented: CredentialRef | undefined
  readonly twinRead: boolean
  readonly acknowledged: boolean
}

export const noProof: Proof = { presented: undefined, twinRead: false, acknowledged: false }

/** Whether a candidate may become the active credential. */
export function isProven(proof: Proof, candidate: CredentialRef): boolean {
  return isSameRef(proof.presented, candidate) && proof.twinRead && proof.acknowledged
}

/** Whether a credential that was proved before works again. */
export function isRestored(proof: Proof, active: CredentialRef): boolean {
  return isSameRef(proof.presented, active) && proof.twinRead
}
