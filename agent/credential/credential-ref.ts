/** How the device attests itself, to DPS and then to the hub. */
export type Lane = 'sas' | 'x509'

/**
 * The name of a credential, which may be written down and shown: never the credential itself. A device has one SAS
 * secret at most; of certificates there may be several, each a generation of the vault, or the pair of files that the
 * configuration names (`files`).
 */
export type CredentialRef = { readonly lane: 'sas' } | { readonly lane: 'x509'; readonly generation: string }

/** The generation name of the pair that `CERT_PATH` and `KEY_PATH` name. */
export const FILES = 'files'

/** The generation name of a certificate that DPS is yet to issue, with a registration, for the request that waits. */
export const PENDING = 'pending'

/** A credential that is yet to come: it ends as a generation of the vault. */
export const pendingRef: CredentialRef = { lane: 'x509', generation: PENDING }

export function isPending(ref: CredentialRef | undefined): boolean {
  return ref?.lane === 'x509' && ref.generation === PENDING
}

/** A name as people read it: `sas`, `gen-0003`, `files`, `pending`. */
export function nameOf(ref: CredentialRef): string {
  return ref.lane === 'sas' ? 'sas' : ref.generation
}

export function isSameRef(one: CredentialRef | undefined, other: CredentialRef | undefined): boolean {
  return one !== undefined && other !== undefined && nameOf(one) === nameOf(other)
}

/** Reads what `nameOf` writes; undefined for anything else. */
export function parseRef(name: unknown): CredentialRef | undefined {
  if (name === 'sas') return { lane: 'sas' }
  if (typeof name !== 'string' || !/^(files|pending|gen-\d{4,})$/.test(name)) return undefined
  return { lane: 'x509', generation: name }
}
