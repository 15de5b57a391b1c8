import type { Config } from './config/paths.ts'
import { loadCredentialFiles } from './credential/files.ts'
import type { Vault } from './credential/vault.ts'
import type { X509Credential } from './credential/x509-credential.ts'
import { Failure } from './failure.ts'
import { readSas } from './loaded.ts'
import { checkChain } from './pki/chain.ts'
import type { Assignment } from './provision/answer.ts'
import { register } from './provision/dps.ts'
import type { RegistrationRequest } from './provision/dps.ts'
import type { Clock } from './system/clock.ts'
import type { WireCredential } from './wire/credential.ts'

/** What DPS gives to a device that asks for a certificate with its registration. */
export interface Managed {
  readonly assignment: Assignment
  /** In the vault by then. */
  readonly credential: X509Credential
}

/** What a registration with a request needs. */
export interface ManagedNeeds {
  readonly vault: Vault
  readonly config: Config
  readonly clock: Clock
  readonly request: Omit<RegistrationRequest, 'credential' | 'csrPem'>
}

/**
 * Registers the device by its onboarding credential, and has DPS issue a certificate for the request that waits, or for a
 * new one. An assignment without a certificate is a failure, however good the onboarding credential is.
 *
 * @throws Failure as `register` does; DPS_NO_CERTIFICATE, and by the code of the first problem of a chain that is not good
 * @throws signal.reason when aborted
 */
export async function registerManaged(needs: ManagedNeeds, signal: AbortSignal): Promise<Managed> {
  const { vault, config, clock, request } = needs
  const credential = await readOnboarding(config)
  const pending = await makeRequest(vault, config)
  const assignment = await register({ ...request, credential, csrPem: pending.csrPem }, signal)
  if (assignment.issuedPem === undefined)
    throw new Failure('DPS_NO_CERTIFICATE', `${request.host} assigned ${request.registrationId} without a certificate`)
  const verdict = checkChain({ pem: assignment.issuedPem, ...pending, nowMs: clock.now() })
  if (!verdict.ok) {
    const [first] = verdict.problems
    throw new Failure(first?.code ?? 'UNEXPECTED', verdict.problems.map(({ message }) => message).join('; '))
  }
  return { assignment, credential: await vault.accept(verdict.value, 'dps') }
}

/**
 * The request that goes with the next registration; one for a key of another kind is put aside.
 *
 * @throws Failure DISK_FULL, STATE_UNWRITABLE, KEY_EXPOSED
 */
export function makeRequest(vault: Vault, { auth, device }: Config) {
  return vault.request({ registrationId: device.registrationId, keyType: auth.x509.keyType, exactly: true })
}

/**
 * What this device shows to DPS to be given certificates.
 *
 * @throws Failure KEY_…, CHAIN_…, SAS_SECRET_…, AUTH_NO_SAS
 */
export async function readOnboarding(config: Config): Promise<WireCredential> {
  const { certificateFile, keyFile } = config.issuer.dps
  if (certificateFile !== undefined && keyFile !== undefined) {
    const pair = await loadCredentialFiles({ certPath: certificateFile, keyPath: keyFile })
    return { lane: 'x509', chainPem: pair.chainPem, keyPem: pair.keyPem }
  }
  const sas = await readSas(config)
  if (sas?.kind !== 'dps') throw new Failure('AUTH_NO_SAS', 'no symmetric key for DPS is configured')
  return { lane: 'sas', key: sas.key }
}
