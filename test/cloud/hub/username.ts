/** The user name of a hub connection: `{host}/{deviceId}/?api-version={version}&DeviceClientType={agent}&model-id={dtmi}`. Pure. */

export interface HubUser {
  /** Lower case, without a port. */
  readonly host: string
  readonly deviceId: string
  readonly apiVersion: string
}

/** Every version that a client of MQTT 3.1.1 has been seen with. */
const API_VERSIONS = new Set(['2019-10-01', '2020-09-30', '2021-04-12', '2025-08-01-preview'])

export function isKnownHubVersion(version: string): boolean {
  return API_VERSIONS.has(version)
}

/** Whether this version knows the renewal of certificates over the hub. */
export function renewsCertificates(version: string): boolean {
  return version === '2025-08-01-preview'
}

/** Undefined when the form is another. A port behind the host is tolerated: SDKs put in what they connect to. */
export function parseHubUser(text: string): HubUser | undefined {
  const match = /^([^/]+)\/([^/]+)\/\?(.*)$/s.exec(text)
  const [, host = '', deviceId = '', query = ''] = match ?? []
  if (match === null) return undefined
  const apiVersion = new URLSearchParams(query).get('api-version') ?? ''
  return { host: bareHost(host), deviceId, apiVersion }
}

/** Lower case, without a port. */
export function bareHost(host: string): string {
  return host.toLowerCase().replace(/:\d{1,5}$/, '')
}
