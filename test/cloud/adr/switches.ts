/** The switches of certificate management, which is a preview: much of it is known from one log and from what SDKs tolerate. */
import type { Row } from '../faults.ts'

export const certificateSwitches = {
  csrKeys: {
    means:
      'keys that a certificate request may have: EC P-384 with SHA-384 as documented, any EC, or EC and RSA as observed',
    oneOf: ['p384', 'ec', 'ecOrRsa'],
    default: 'ecOrRsa',
  },
  policyWithoutCsr: {
    means: 'identity of a device whose enrollment has a credential policy and that sends no request [U]',
    oneOf: ['classic', 'certificateAuthority'],
    default: 'classic',
  },
  issuedChain: {
    means: 'what is wrong with an issued chain; `absent` leaves the member out',
    oneOf: ['good', 'absent', 'leafOnly', 'withoutRoot', 'rootFirst', 'shuffled', 'otherKey', 'otherName'],
    default: 'good',
  },
  credentialSync: {
    means: 'whether hubs know the issuing authorities of the credential policies',
    oneOf: ['synced', 'notSynced'],
    default: 'synced',
  },
  hubTier: { means: 'tier of every hub; only GEN2 renews certificates', oneOf: ['GEN2', 'S1'], default: 'GEN2' },
  renewalVersion: {
    means: 'whether hubs know the api-version that renews certificates; one that does not refuses it as any other',
    oneOf: ['known', 'unknown'],
    default: 'known',
  },
  credentialsOverSas: {
    means: 'answer to issueCertificate on a session that the key of a device opened [U]; a policy of the hub may ask',
    oneOf: ['silence', 'refused', 'allowed'],
    default: 'silence',
  },
  credentialsUnheard: {
    means: 'what an issueCertificate without $rid, or before the subscription, leads to',
    oneOf: ['silence', 'close'],
    default: 'silence',
  },
  credentialsDuplicate: {
    means: 'the same request under the same $rid again: its own answers once more, or 409005',
    oneOf: ['idempotent', 'conflict'],
    default: 'idempotent',
  },
  credentialsRefusal: {
    means: 'the next issueCertificate is refused with this code, or never answered; off again after it',
    oneOf: [
      'off',
      '400001',
      '403010',
      '404001',
      '409005',
      '412005',
      '429002',
      '429003',
      '500001',
      '503001',
      '503102',
      'silence',
    ],
    default: 'off',
  },
  credentialsFailure: {
    means: 'the next operation that was accepted with 202 ends with this code; off again after it',
    oneOf: ['off', '400037', '400040', '412005', '500001', '503001'],
    default: 'off',
  },
  credentialsTopic: {
    means: 'form of the topic of an answer; one script of the service team mentions the longer one',
    oneOf: ['plain', 'versioned'],
    default: 'plain',
  },
  certificatesForm: {
    means: 'form of the 200: `certificates` with base64 DER, the same with PEM, or a bare array of base64 DER',
    oneOf: ['objectDer', 'objectPem', 'bareArray'],
    default: 'objectDer',
  },
  issuance: {
    means: 'whether an accepted operation finishes by itself or waits to be told',
    oneOf: ['prompt', 'held'],
    default: 'prompt',
  },
  operationExpiresSeconds: { means: 'life of an operation of issueCertificate', unit: 's', default: 12 * 3600 },
} as const satisfies Record<string, Row>
