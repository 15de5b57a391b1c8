import type { X509Certificate } from 'node:crypto'
import { readCommonName } from './common-name.ts'
import { keyKind } from './key.ts'

/** What operators, the twin and the hub call a certificate by. Nothing here is secret. */
export interface CertificateFacts {
  /** SHA-256 of the DER, upper-case hex without colons, as the hub stores it. */
  readonly thumbprintSha256: string
  /** SHA-1 of the DER, upper-case hex without colons, as the portal of DPS shows it. */
  readonly thumbprintSha1: string
  /** All parts of the subject on one line: `C=US, O=Contoso, CN=edge-0042`. */
  readonly subject: string
  /** The one CN of the subject; empty when there is none or more than one. */
  readonly commonName: string
  readonly issuer: string
  /** Upper-case hex. */
  readonly serial: string
  /** ISO 8601, UTC. */
  readonly notBefore: string
  /** ISO 8601, UTC. */
  readonly notAfter: string
  /** `ec-p256`, `rsa-2048`, … */
  readonly keyKind: string
}

/**
 * The facts of a certificate.
 *
 * @throws Error when its public key is of a kind that OpenSSL does not know, or a date or name cannot be decoded
 */
export function certificateFacts(certificate: X509Certificate): CertificateFacts {
  return {
    thumbprintSha256: certificate.fingerprint256.replaceAll(':', ''),
    thumbprintSha1: certificate.fingerprint.replaceAll(':', ''),
    subject: oneLine(certificate.subject),
    commonName: readCommonName(certificate.raw) ?? '',
    issuer: oneLine(certificate.issuer),
    serial: certificate.serialNumber,
    notBefore: certificate.validFromDate.toISOString(),
    notAfter: certificate.validToDate.toISOString(),
    keyKind: keyKind(certificate.publicKey),
  }
}

/** A name on one line; OpenSSL escapes line ends inside its parts, so none can be smuggled in. */
export function oneLine(name: string | undefined): string {
  return (name ?? '').split('\n').join(', ')
}
