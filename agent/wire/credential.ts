import { X509Certificate } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { createSecureContext } from 'node:tls'
import type { SecureContext, SecureContextOptions } from 'node:tls'
import { Failure } from '../failure.ts'
import { isSamePublicKey, readPublicKey } from '../pki/key.ts'
import { isInToken } from '../pki/key-store.ts'
import { tlsKeyOf } from '../pki/token-engine.ts'
import { makeRoomInTpm } from '../pki/token-room.ts'

/** What the device presents in TLS: leaf first, then its intermediates; the key never leaves the process. */
export interface ClientCertificate {
  readonly chainPem: string
  readonly keyPem: string
}

/**
 * How the device attests itself, to DPS and to the hub. `key` signs tokens and is never sent; as a secret `KeyObject` it
 * shows nothing when it is printed or turned into JSON.
 */
export type WireCredential =
  | ({ readonly lane: 'x509' } & ClientCertificate)
  | { readonly lane: 'sas'; readonly key: KeyObject }

/** What a connection has shown of itself. The thumbprint is that of the leaf: hexadecimal, upper case, as IoT Hub writes it. */
export type Presented =
  | { readonly lane: 'x509'; readonly thumbprintSha256: string }
  /** No certificate, and a token as password. */
  | { readonly lane: 'sas' }

/** A credential that is ready for a handshake. */
export interface TlsIdentity {
  readonly context: SecureContext
  readonly presented: Presented
}

/**
 * Prepares TLS 1.2 or later: with certificate and key on the lane `x509`, without any on `sas`. OpenSSL does not compare
 * keys of different kinds and would then connect without any client certificate, so a pair is compared here first.
 *
 * @param ca PEM of the only roots to trust; without it, the roots that the runtime brings
 * @throws Failure TLS_LOCAL_CREDENTIAL  unreadable, or not a pair
 * @throws Failure KEY_STORE_UNAVAILABLE the key is in a token that does not answer
 */
export function loadTlsIdentity(credential: WireCredential, ca: string | undefined): TlsIdentity {
  const common: SecureContextOptions = { minVersion: 'TLSv1.2', ...(ca === undefined ? {} : { ca }) }
  try {
    if (credential.lane === 'sas') return { context: createSecureContext(common), presented: { lane: 'sas' } }
    const { chainPem: cert, keyPem: key } = credential
    const leaf = new X509Certificate(cert)
    if (!isSamePublicKey(leaf.publicKey, readPublicKey(key, 'the private key'))) throw notAPair(leaf)
    makeRoomInTpm(key)
    return {
      context: createSecureContext({ ...common, cert, ...tlsKeyOf(key, 'the private key') }),
      presented: { lane: 'x509', ...thumbprintOf(leaf) },
    }
  } catch (cause) {
    const isOfToken = credential.lane === 'x509' && isInToken(credential.keyPem)
    if (cause instanceof Failure && (isOfToken || cause.code === 'TLS_LOCAL_CREDENTIAL')) throw cause
    const fact = cause instanceof Error ? cause.message : String(cause)
    const what = credential.lane === 'sas' ? 'the roots to trust' : 'certificate and key'
    const code = isOfToken ? 'KEY_STORE_UNAVAILABLE' : 'TLS_LOCAL_CREDENTIAL'
    throw new Failure(code, `${what} cannot be loaded: ${fact}`, { cause })
  }
}

function notAPair(leaf: X509Certificate): Failure {
  return new Failure('TLS_LOCAL_CREDENTIAL', 'the private key does not belong to the certificate', {
    context: { subject: leaf.subject, ...thumbprintOf(leaf) },
  })
}

function thumbprintOf(leaf: X509Certificate): { readonly thumbprintSha256: string } {
  return { thumbprintSha256: leaf.fingerprint256.replaceAll(':', '') }
}
