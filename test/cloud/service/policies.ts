/** Shared access policies: who may call the service side, and with which key. */
import { randomBytes } from 'node:crypto'
import { parseSas, verifySas } from '../sas.ts'

/** One shared access policy; both keys (base64) count. */
export interface ServicePolicy {
  readonly name: string
  readonly primaryKey: string
  readonly secondaryKey: string
  readonly rights: readonly string[]
}

/** The policy that every DPS instance has when it is made. */
export function makeDpsPolicies(): readonly ServicePolicy[] {
  return [
    {
      name: 'provisioningserviceowner',
      primaryKey: randomBytes(32).toString('base64'),
      secondaryKey: randomBytes(32).toString('base64'),
      rights: ['serviceConfig', 'registrationStatusRead', 'registrationStatusWrite'],
    },
  ]
}

/** As the portals show it. */
export function connectionStringOf(host: string, policy: ServicePolicy): string {
  return `HostName=${host};SharedAccessKeyName=${policy.name};SharedAccessKey=${policy.primaryKey}`
}

export interface AccessRequest {
  /** The header Authorization. */
  readonly authorization: string | undefined
  readonly host: string
  /** Decoded path of the request, as `/devices/edge-0042`. */
  readonly path: string
  readonly policies: readonly ServicePolicy[]
  /** Any of these rights is enough. */
  readonly rights: readonly string[]
  readonly nowMs: number
}

/** Why the request is refused; undefined when a policy with the right signed it. */
export function accessProblem(request: AccessRequest): string | undefined {
  const { authorization = '', host, policies, rights } = request
  const token = parseSas(authorization)
  if (!token.ok) return token.reason
  const policy = policies.find(({ name }) => name === token.value.skn)
  if (policy === undefined) return `no shared access policy is named ${token.value.skn ?? '(none)'}`
  const verified = verifySas(authorization, {
    keys: [policy.primaryKey, policy.secondaryKey],
    resource: `${host}${request.path}`,
    scope: 'prefix',
    ignoreCase: 'host',
    nowMs: request.nowMs,
  })
  if (!verified.ok) return verified.reason
  return rights.some((right) => policy.rights.includes(right))
    ? undefined
    : `policy ${policy.name} has none of the rights ${rights.join(', ')}`
}
