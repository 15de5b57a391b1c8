import common from 'azure-iot-common'
import type provisioning from 'azure-iot-provisioning-device'
import x509 from 'azure-iot-security-x509'
import type { Clock } from '../system/clock.ts'
import type { WireCredential } from '../wire/credential.ts'
import { signToken } from '../wire/sas-token.ts'
import type { SasToken } from '../wire/sas-token.ts'

type SecurityClient = Parameters<typeof provisioning.ProvisioningDeviceClient.create>[3]
type SymmetricKeySecurity = Extract<SecurityClient, { createSharedAccessSignature: unknown }>

export interface Attestation {
  readonly idScope: string
  readonly registrationId: string
  readonly credential: WireCredential
  readonly clock: Clock
}

/** What proves a registration ID to DPS. */
export interface Security {
  readonly client: SecurityClient
  /** Signed once for the whole registration; none with a certificate. */
  readonly token: SasToken | undefined
}

/** The security client that the provisioning SDK asks, for either lane. */
export function createSecurity({ idScope, registrationId, credential, clock }: Attestation): Security {
  if (credential.lane === 'x509') {
    const pair = { cert: credential.chainPem, key: credential.keyPem }
    return { client: new x509.X509Security(registrationId, pair), token: undefined }
  }
  const resource = `${idScope}/registrations/${registrationId}`
  const token = signToken(resource, credential.key, clock.now(), 'registration')
  return { client: symmetricKeySecurity(registrationId, token), token }
}

/** In place of azure-iot-security-symmetric-key, which takes the time from `Date` and keeps the key as text. */
function symmetricKeySecurity(registrationId: string, token: SasToken): SymmetricKeySecurity {
  return {
    getRegistrationId: (done) => done?.(undefined, registrationId),
    createSharedAccessSignature: (_idScope, done) => done?.(undefined, common.SharedAccessSignature.parse(token.text)),
  }
}
