import { createPrivateKey, X509Certificate } from 'node:crypto'
import { createSecureContext } from 'node:tls'
import type { SecureContext } from 'node:tls'
import { Failure } from '../failure.ts'

/** What the device presents to DPS and to the hub: leaf first, then its intermediates; the key never leaves the process. */
export interface ClientCertificate {
  readonly chainPem: string
  readonly keyPem: string
}

/** A client certificate that is ready for a handshake. */
export interface TlsIdentity {
  readonly context: SecureContext
  /** SHA-256 of the leaf that will be presented, hexadecimal, upper case without colons, as IoT Hub writes it. */
  readonly thumbprintSha256: string
}

/**
 * Joins certificate and key for TLS 1.2 or later. OpenSSL does not compare keys of different kinds and would then
 * connect without any client certificate, so the pair is compared here first.
 *
 * @param ca PEM of the only roots to trust; without it, the roots that the runtime brings
 * @throws Failure TLS_LOCAL_CREDENTIAL unreadable, or not a pair
 */
export function loadTlsIdentity(certificate: ClientCertificate, ca: string | undefined): TlsIdentity {
  try {
    const leaf = new X509Certificate(certificate.chainPem)
    if (!leaf.checkPrivateKey(createPrivateKey(certificate.keyPem))) throw notAPair(leaf)
    const context = createSecureContext({
      cert: certificate.chainPem,
      key: certificate.keyPem,
      minVersion: 'TLSv1.2',
      ...(ca === undefined ? {} : { ca }),
    })
    return { context, thumbprintSha256: leaf.fingerprint256.replaceAll(':', '') }
  } catch (cause) {
    if (cause instanceof Failure) throw cause
    const fact = cause instanceof Error ? cause.message : String(cause)
    throw new Failure('TLS_LOCAL_CREDENTIAL', `certificate and key cannot be loaded: ${fact}`, { cause })
  }
}

function notAPair(leaf: X509Certificate): Failure {
  return new Failure('TLS_LOCAL_CREDENTIAL', 'the private key does not belong to the certificate', {
    context: { subject: leaf.subject, thumbprintSha256: leaf.fingerprint256.replaceAll(':', '') },
  })
}
