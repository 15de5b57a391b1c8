import type { CertificateFacts } from '../pki/certificate.ts'

/** Why a certificate must be requested. */
export type CertificateNeed = 'none' | 'expired' | 'otherDevice'

/**
 * Whether a certificate must be requested, and why; undefined when the present one will do. Renewal ahead of expiry is
 * another decision. Pure.
 *
 * @param facts of the active certificate, if there is one
 * @param nowMs wall time
 */
export function certificateNeed(
  facts: Pick<CertificateFacts, 'commonName' | 'notAfter'> | undefined,
  registrationId: string,
  nowMs: number,
): CertificateNeed | undefined {
  if (facts === undefined) return 'none'
  if (facts.commonName !== registrationId) return 'otherDevice'
  return nowMs > Date.parse(facts.notAfter) ? 'expired' : undefined
}
