import type { CertificateFacts } from '../pki/certificate.ts'
import { certificateFacts } from '../pki/certificate.ts'
import { readCertificates } from '../pki/certificates-file.ts'
import { isSamePublicKey, readPublicKey } from '../pki/key.ts'
import type { KeyStore } from '../pki/key-store.ts'
import { orderPath } from '../pki/path.ts'

/** A key with the chain that was issued for it. `keyPem` is a secret: never log or show the whole. */
export interface X509Credential {
  readonly lane: 'x509'
  /** Our vault, or the pair of files that `CERT_PATH` and `KEY_PATH` name. */
  readonly origin: 'vault' | 'files'
  /** `gen-0001`; only for the vault. */
  readonly generation?: string
  /** PKCS#8 PEM, or whatever unencrypted PEM form the file had. */
  readonly keyPem: string
  readonly keyStore: KeyStore
  /** Leaf first. */
  readonly chainPem: string
  /** Where the key is on disk. */
  readonly keyFile: string
  /** The issuer that brought it, where that was noted. */
  readonly issuedBy?: string
  /** When the chain was accepted into the vault, by the clock of that moment; wall time. */
  readonly acceptedAtMs?: number
  /** Of the leaf. */
  readonly facts: CertificateFacts
}

/**
 * Whether certificate management issued it, from which on the hub takes any certificate of its authority for this device,
 * and DPS takes none.
 */
export function isManaged({ issuedBy }: Pick<X509Credential, 'issuedBy'>): boolean {
  return issuedBy === 'dps' || issuedBy === 'hub-credentials'
}

/** Chain and facts of a key that is paired with certificates. */
export type Pairing =
  | { readonly ok: true; readonly chainPem: string; readonly facts: CertificateFacts }
  | { readonly ok: false; readonly reason: 'unreadable' | 'mismatch'; readonly why: string }

/**
 * Finds the certificate of a key among others and puts it first, the others after it by issuer. Judges nothing but
 * that key and leaf belong together: with key types that differ, TLS would connect without any certificate and say
 * nothing (sdk-notes, section 2).
 *
 * @throws Failure KEY_UNREADABLE, KEY_TYPE_UNSUPPORTED
 */
export function pairUp(keyPem: string, keyFile: string, certificatesPem: string): Pairing {
  const publicKey = readPublicKey(keyPem, keyFile)
  const read = readCertificates(certificatesPem)
  if (!read.ok) {
    return { ok: false, reason: 'unreadable', why: read.problems.map((problem) => problem.message).join('; ') }
  }
  const leaf = read.value.find((certificate) => isSamePublicKey(certificate.publicKey, publicKey))
  if (leaf === undefined) return { ok: false, reason: 'mismatch', why: 'no certificate belongs to the key' }
  const others = read.value.filter((certificate) => certificate !== leaf)
  const { path, unused } = orderPath(leaf, others)
  const chainPem = [...path, ...unused].map((certificate) => certificate.toString()).join('')
  return { ok: true, chainPem, facts: certificateFacts(leaf) }
}
