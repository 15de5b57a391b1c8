import type { KeyObject } from 'node:crypto'
import { providedPair } from './config/paths.ts'
import type { Config } from './config/paths.ts'
import { FILES, isPending } from './credential/credential-ref.ts'
import type { CredentialRef } from './credential/credential-ref.ts'
import { loadCredentialFiles } from './credential/files.ts'
import type { HeldCertificate, Inventory } from './credential/policy.ts'
import { shareOf } from './credential/renewal.ts'
import { readSasSecret } from './credential/sas-secret.ts'
import type { SasSecret } from './credential/sas-secret.ts'
import type { Vault } from './credential/vault.ts'
import { isManaged } from './credential/x509-credential.ts'
import type { X509Credential } from './credential/x509-credential.ts'
import { asFailure, Failure } from './failure.ts'
import type { Presented, WireCredential } from './wire/credential.ts'

/** A credential in memory, ready to be presented; `x509` is missing where DPS is to issue the first certificate of all. */
export type Loaded =
  | { readonly ref: Extract<CredentialRef, { lane: 'x509' }>; readonly x509: X509Credential }
  | { readonly ref: Extract<CredentialRef, { lane: 'x509' }>; readonly pending: true }
  | { readonly ref: Extract<CredentialRef, { lane: 'sas' }>; readonly sas: SasSecret }

/** Where the credentials of this device are kept. */
export interface Credentials {
  readonly config: Config
  readonly vault: Vault
}

/**
 * Reads a credential anew, so that what was exchanged on disk counts from the next connection on.
 *
 * @throws Failure KEY_…, CHAIN_…, SAS_SECRET_…, SAS_GROUP_KEY; AUTH_NO_SAS when no secret is configured
 */
export async function loadCredential(ref: CredentialRef, { config, vault }: Credentials): Promise<Loaded> {
  if (ref.lane === 'sas') {
    const sas = await readSas(config)
    if (sas === undefined) throw new Failure('AUTH_NO_SAS', 'no SAS secret is configured')
    return { ref, sas }
  }
  if (isPending(ref)) return { ref, pending: true }
  const x509 = ref.generation === FILES ? await loadPair(config) : await vault.load(ref)
  if (x509 === undefined) throw new Failure('CHAIN_UNREADABLE', `there is no certificate ${ref.generation} any more`)
  return { ref, x509 }
}

/** The certificate that the pointer of the vault names; undefined for none that can be used. */
export async function loadPresent({ vault }: Credentials): Promise<Loaded | undefined> {
  const ref = await vault.pointer()
  const x509 = ref?.lane === 'x509' ? await vault.load(ref) : undefined
  return x509 && { ref: refOf(x509), x509 }
}

/** What the device could prove itself with at this moment, the pair that the owner has laid down first. */
export async function takeInventory(
  { config, vault }: Credentials,
  onTrouble: (failure: Failure) => void,
): Promise<Inventory> {
  const { registrationId } = config.device
  const pair = await loadPair(config).catch(asFailure)
  if (pair instanceof Failure) onTrouble(pair)
  const own = await vault.generations()
  const mine = own.filter(({ facts }) => facts.commonName === registrationId)
  const all = [...(pair instanceof Failure || pair === undefined ? [] : [pair]), ...mine]
  return { certificates: all.map(heldOf), sas: await sasState(config), outOfReach: vault.outOfReach() }
}

/** Whether a session has presented just this credential. */
export function presentedRef(loaded: Loaded, presented: Presented): CredentialRef | undefined {
  if (presented.lane === 'sas') return 'sas' in loaded ? loaded.ref : undefined
  const expected = 'x509' in loaded ? loaded.x509.facts.thumbprintSha256 : undefined
  return presented.thumbprintSha256 === expected ? loaded.ref : undefined
}

/** @throws Failure AUTH_NO_CERTIFICATE */
export function wireCredentialOf(loaded: Loaded): WireCredential {
  if ('sas' in loaded) return { lane: 'sas', key: loaded.sas.key satisfies KeyObject }
  if ('pending' in loaded) throw new Failure('AUTH_NO_CERTIFICATE', 'DPS has not issued a certificate yet')
  const { chainPem, keyPem } = loaded.x509
  return { lane: 'x509', chainPem, keyPem }
}

export function refOf(credential: X509Credential): Extract<CredentialRef, { lane: 'x509' }> {
  return { lane: 'x509', generation: credential.generation ?? FILES }
}

function heldOf(credential: X509Credential): HeldCertificate {
  const { acceptedAtMs, facts } = credential
  const { notBefore, notAfter, thumbprintSha256 } = facts
  return {
    ...{ ref: refOf(credential), notBeforeMs: Date.parse(notBefore), notAfterMs: Date.parse(notAfter) },
    ...(acceptedAtMs !== undefined && { acceptedAtMs }),
    share: shareOf(thumbprintSha256),
    isManaged: isManaged(credential),
  }
}

async function sasState(config: Config): Promise<Inventory['sas']> {
  const secret = await readSas(config).catch(asFailure)
  if (secret instanceof Failure) return secret
  return secret === undefined ? 'absent' : 'ready'
}

/** @throws Failure SAS_SECRET_…, SAS_GROUP_KEY */
export function readSas({ auth }: Config): Promise<SasSecret | undefined> {
  return readSasSecret(auth.sas, process.env)
}

/** @throws Failure KEY_…, CHAIN_…, TLS_LOCAL_CREDENTIAL */
export async function loadPair(config: Config): Promise<X509Credential | undefined> {
  const pair = providedPair(config)
  return pair && loadCredentialFiles({ certPath: pair.certificateFile, keyPath: pair.keyFile })
}
