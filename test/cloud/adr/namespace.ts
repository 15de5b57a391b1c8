/** A namespace of Azure Device Registry: its root, the credential policies below it, and what they issue. azure-protocols.md 3.1 and 3.6. */
import { randomUUID, X509Certificate } from 'node:crypto'
import { join } from 'node:path'

import { makeKey, makeRequest, makeRoot, makeTemporaryFolder, type Authority } from '../../kit/openssl.ts'
import type { Faults, FaultValues } from '../faults.ts'
import { ServiceError, type Recorder } from '../model.ts'
import { identifierExtension } from './identifier.ts'
import { armour, requestProblem } from './request.ts'

export interface PolicySettings {
  /** Life of a leaf from its issuance. */
  readonly validitySeconds: number
  /** How far the notBefore of a leaf lies before its issuance. */
  readonly backdatedSeconds: number
}

export interface Order {
  readonly policy: string
  readonly deviceId: string
  /** What the request has to carry. */
  readonly commonName: string
  /** PKCS#10 as base64 of its DER. */
  readonly csr: string
  /** Who asked for the device: the host of DPS or of a hub. */
  readonly host: string
}

export interface Namespace {
  /** Makes a policy with an issuing authority of its own; one that exists keeps its authority and takes the settings. */
  putPolicy(name: string, settings?: Partial<PolicySettings>): Promise<void>
  /** The policy that issued for this device last. */
  policyOf(deviceId: string): string | undefined
  /**
   * Base64 of DER, leaf first and root last; empty as the fault `issuedChain` says.
   *
   * @throws ServiceError 412005 no such policy, 400037 a request that does not pass
   */
  issue(order: Order): Promise<readonly string[]>
  /** Issuing authorities of the policies as the hubs know them. */
  issuers(): readonly X509Certificate[]
  /** What a leaf of this device has to carry. */
  identifierOf(deviceId: string): string
  /** Turns the identifier: leaves issued so far are refused by every hub. */
  revokeDevice(deviceId: string): void
  /**
   * Puts a new issuing authority in the place of the old one, which no hub knows any longer.
   *
   * @throws ServiceError 404000 no such policy
   */
  revokeIssuer(policy: string): Promise<void>
}

export interface NamespaceOptions {
  /** Where keys and certificates of the authorities stay. */
  readonly folder: string
  readonly faults: Faults
  readonly recorder: Recorder
  /** Wall time in milliseconds. */
  readonly now: () => number
}

interface Policy {
  readonly name: string
  readonly issuer: Authority
  readonly settings: PolicySettings
}

/** Thirty days, as the preview's default; some clocks are late. */
const DEFAULTS: PolicySettings = { validitySeconds: 30 * 86_400, backdatedSeconds: 30 }

export function createNamespace({ folder, faults, recorder, now }: NamespaceOptions): Namespace {
  const policies = new Map<string, Policy>()
  const policyNames = new Map<string, string>()
  const identifiers = new Map<string, string>()
  let issuersMade = 0
  let root: Promise<Authority> | undefined

  const theRoot = () => (root ??= makeRoot(folder, 'Device Registry Root', { key: 'ec-p384' }))

  const makeIssuer = async (name: string) => {
    issuersMade += 1
    return (await theRoot()).makeIntermediate(`Device Registry ${name} ${issuersMade}`, { key: 'ec-p384' })
  }

  const identifierOf = (deviceId: string) => {
    const identifier = identifiers.get(deviceId) ?? randomUUID()
    identifiers.set(deviceId, identifier)
    return identifier
  }

  const sign = async ({ issuer, settings }: Policy, { deviceId, commonName, csr }: Order) => {
    const fault = faults.get('issuedChain')
    const requestPem = fault === 'otherKey' ? await strangeRequest(commonName) : armour(csr)
    return issuer.sign(requestPem, {
      extensions: `${LEAF_EXTENSIONS}\n${identifierExtension(identifierOf(deviceId))}`,
      notBefore: new Date(now() - settings.backdatedSeconds * 1000),
      notAfter: new Date(now() + settings.validitySeconds * 1000),
      digest: 'sha384',
      ...(fault === 'otherName' ? { subject: `/CN=other-${commonName}` } : {}),
    })
  }

  return {
    async putPolicy(name, settings = {}) {
      const present = policies.get(name)
      const issuer = present?.issuer ?? (await makeIssuer(name))
      policies.set(name, { name, issuer, settings: { ...DEFAULTS, ...present?.settings, ...settings } })
    },
    policyOf: (deviceId) => policyNames.get(deviceId),
    async issue(order) {
      const { deviceId, host } = order
      const policy = policies.get(order.policy)
      if (policy === undefined) throw new ServiceError(412005, `No credential policy is named ${order.policy}.`)
      const problem = await requestProblem(order.csr, order.commonName, faults.get('csrKeys'))
      if (problem !== undefined) throw new ServiceError(400037, problem)
      const leafPem = await sign(policy, order)
      const leaf = new X509Certificate(leafPem)
      policyNames.set(deviceId, policy.name)
      recorder.add({
        ...{ kind: 'issued', host, deviceId, policy: policy.name },
        thumbprint: leaf.fingerprint256.replaceAll(':', ''),
        notAfterMs: Date.parse(leaf.validTo),
      })
      const chain = [leafPem, policy.issuer.certificatePem, (await theRoot()).certificatePem]
      return arranged(chain.map(derOf), faults.get('issuedChain'))
    },
    issuers() {
      if (faults.get('credentialSync') === 'notSynced') return []
      return [...policies.values()].map(({ issuer }) => new X509Certificate(issuer.certificatePem))
    },
    identifierOf,
    revokeDevice: (deviceId) => void identifiers.set(deviceId, randomUUID()),
    async revokeIssuer(name) {
      const policy = policies.get(name)
      if (policy === undefined) throw new ServiceError(404000, `No credential policy is named ${name}.`)
      policies.set(name, { ...policy, issuer: await makeIssuer(name) })
    },
  }
}

const LEAF_EXTENSIONS = `basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always`

/** A request of a key that no device has. */
async function strangeRequest(commonName: string): Promise<string> {
  await using folder = await makeTemporaryFolder()
  return await makeRequest(await makeKey(join(folder.path, 'other.key')), `/CN=${commonName}`)
}

function derOf(pem: string): string {
  return new X509Certificate(pem).raw.toString('base64')
}

/** Leaf, issuing authority and root in the order that the fault says. */
function arranged(chain: readonly string[], fault: FaultValues['issuedChain']): readonly string[] {
  const [leaf = '', issuer = '', root = ''] = chain
  switch (fault) {
    case 'absent':
      return []
    case 'leafOnly':
      return [leaf]
    case 'withoutRoot':
      return [leaf, issuer]
    case 'rootFirst':
      return [root, issuer, leaf]
    case 'shuffled':
      return [issuer, leaf, root]
    case 'good':
    case 'otherKey':
    case 'otherName':
      return chain
  }
}
