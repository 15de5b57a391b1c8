/** Whether a device may connect, and as what: azure-protocols.md 4.1, 4.7 and 5. Pure: time and rules come as arguments. */
import type { X509Certificate } from 'node:crypto'

import { identifierIn } from '../adr/identifier.ts'
import { commonName, nearestAuthority, validityProblem } from '../dps/certificates.ts'
import type { Hello, Identity } from '../model.ts'
import { parseSas, verifySas, type SasToken } from '../sas.ts'
import { EVENTS_TOPIC } from './topics.ts'
import { bareHost, isKnownHubVersion, parseHubUser, renewsCertificates } from './username.ts'

/** A shared access policy of a hub; only those with `deviceConnect` let devices in. */
export interface SharedAccessPolicy {
  readonly name: string
  readonly primaryKey: string
  readonly secondaryKey: string
  readonly rights: readonly ('registryRead' | 'registryWrite' | 'serviceConnect' | 'deviceConnect')[]
}

export interface HubRules {
  readonly host: string
  readonly nowMs: number
  readonly policies: readonly SharedAccessPolicy[]
  /** Authorities registered and verified on the hub. */
  readonly authorities: readonly X509Certificate[]
  /** Issuing authorities of credential policies, as far as they are synced. */
  readonly issuers: readonly X509Certificate[]
  /** What a leaf below one of them has to carry for this device. */
  readonly identifierOf: (deviceId: string) => string
  readonly disableDeviceSAS: boolean
  readonly disableLocalAuth: boolean
  /** The api-version that renews certificates is one of those that this hub knows. */
  readonly knowsRenewals: boolean
}

/** As what a device was let in. */
export interface Admission {
  readonly deviceId: string
  readonly type: 'sas' | 'x509'
  /** `hub` when a policy of the hub signed the token. */
  readonly scope: 'device' | 'hub'
  /** When the token or the leaf ends, in milliseconds. */
  readonly endsAtMs: number
}

export type AdmissionResult =
  | { readonly ok: true; readonly value: Admission }
  | { readonly ok: false; readonly reason: string }

type Find = (deviceId: string) => Identity | undefined

/** Judges one CONNECT. The reasons go to the record; a client sees return code 5 for all of them. */
export function judge(hello: Hello, find: Find, rules: HubRules): AdmissionResult {
  const user = parseHubUser(hello.username)
  if (user === undefined) return refuse('the user name has not the form {host}/{deviceId}/?api-version={version}')
  if (user.host !== rules.host) return refuse(`the user name names the host ${user.host}, this is ${rules.host}`)
  if (!isKnownHubVersion(user.apiVersion) || (renewsCertificates(user.apiVersion) && !rules.knowsRenewals))
    return refuse(`api-version ${user.apiVersion || '(none)'} is not known`)
  if (hello.clientId !== user.deviceId) return refuse(`the client ID ${hello.clientId} is not the device ID`)
  const { will } = hello
  if (will !== undefined && !will.topic.startsWith(`devices/${user.deviceId}/${EVENTS_TOPIC}`))
    return refuse(`a will may go to the events topic only, not to ${will.topic}`)
  if (will !== undefined && will.qos > 1) return refuse('a will of QoS 2')
  const identity = find(user.deviceId)
  if (identity === undefined) return refuse(`404001: no device ${user.deviceId} is registered`)
  if (identity.status === 'disabled') return refuse(`403012: device ${user.deviceId} is disabled`)
  return hello.password === '' ? judgeCertificate(hello, identity, rules) : judgeToken(hello, identity, rules)
}

function judgeToken(hello: Hello, identity: Identity, rules: HubRules): AdmissionResult {
  const { type, symmetricKey } = identity.authentication
  if (type !== 'sas') return refuse(`401003: a token for an identity of type ${type}`)
  const parsed = parseSas(hello.password)
  if (!parsed.ok) return refuse(`401003: ${parsed.reason}`)
  const scope = parsed.value.skn === undefined ? 'device' : 'hub'
  if (scope === 'device' && rules.disableDeviceSAS) return refuse('401003: disableDeviceSAS is set')
  const policy = rules.policies.find(({ name }) => name === parsed.value.skn)
  const problem = scope === 'hub' ? policyProblem(parsed.value, policy, rules) : undefined
  if (problem !== undefined) return refuse(`401003: ${problem}`)
  const keys = scope === 'hub' ? [policy?.primaryKey, policy?.secondaryKey] : Object.values(symmetricKey)
  const verified = verifySas(hello.password, {
    keys,
    resource: `${hostAsWritten(parsed.value, rules)}/devices/${identity.deviceId}`,
    scope: 'prefix',
    ignoreCase: 'host',
    nowMs: rules.nowMs,
    skewSeconds: 0,
  })
  if (!verified.ok) return refuse(`401003: ${verified.reason}`)
  const endsAtMs = verified.value.expiresAtSeconds * 1000
  return accept({ deviceId: identity.deviceId, type: 'sas', scope, endsAtMs })
}

function policyProblem(token: SasToken, policy: SharedAccessPolicy | undefined, rules: HubRules): string | undefined {
  if (rules.disableLocalAuth) return 'disableLocalAuth is set, and a policy of the hub signed the token'
  if (policy === undefined) return `no shared access policy is named ${token.skn ?? ''}`
  return policy.rights.includes('deviceConnect') ? undefined : `policy ${policy.name} has no right to connect devices`
}

/** SDKs that were given `host:port` sign for `host:port`. */
function hostAsWritten(token: SasToken, rules: HubRules): string {
  const written = token.resource.split('/')[0] ?? ''
  return bareHost(written) === rules.host ? written : rules.host
}

function judgeCertificate(hello: Hello, identity: Identity, rules: HubRules): AdmissionResult {
  const { type, x509Thumbprint } = identity.authentication
  const [leaf] = hello.chain
  if (leaf === undefined) return refuse('401003: neither a token nor a certificate')
  if (type !== 'selfSigned' && type !== 'certificateAuthority')
    return refuse(`401003: a certificate for an identity of type ${type}`)
  const late = validityProblem(leaf, rules.nowMs)
  if (late !== undefined) return refuse(`401003: ${late}`)
  const problem =
    type === 'selfSigned'
      ? thumbprintProblem(leaf, [x509Thumbprint.primaryThumbprint, x509Thumbprint.secondaryThumbprint])
      : chainProblem(hello.chain, identity.deviceId, rules)
  if (problem !== undefined) return refuse(`401003: ${problem}`)
  const endsAtMs = Date.parse(leaf.validTo)
  return accept({ deviceId: identity.deviceId, type: 'x509', scope: 'device', endsAtMs })
}

/** Only the leaf counts; who issued it does not. */
function thumbprintProblem(leaf: X509Certificate, registered: readonly (string | null)[]): string | undefined {
  const presented = [leaf.fingerprint256, leaf.fingerprint].map((print) => print.replaceAll(':', ''))
  const known = registered.map((print) => (print ?? '').replaceAll(':', '').toUpperCase())
  return presented.some((print) => known.includes(print)) ? undefined : 'the thumbprint does not match'
}

function chainProblem(chain: readonly X509Certificate[], deviceId: string, rules: HubRules): string | undefined {
  const [leaf] = chain
  const name = leaf === undefined ? undefined : commonName(leaf)
  if (name !== deviceId) return `the common name is ${name ?? '(none)'} and not ${deviceId}`
  const found = nearestAuthority(chain, [
    ...rules.issuers.map((certificate) => ({ certificate, isManaged: true })),
    ...rules.authorities.map((certificate) => ({ certificate, isManaged: false })),
  ])
  if (found === undefined) return 'the chain does not lead to an authority of this hub'
  if (found.authority.isManaged && leaf !== undefined && identifierIn(leaf) !== rules.identifierOf(deviceId))
    return 'the identifier in the leaf was revoked'
  const links = [...found.path, found.authority.certificate]
  return links.map((certificate) => validityProblem(certificate, rules.nowMs)).find((text) => text !== undefined)
}

function accept(value: Admission): AdmissionResult {
  return { ok: true, value }
}

function refuse(reason: string): AdmissionResult {
  return { ok: false, reason }
}
