/** The user name of a DPS session. Source: azure-docs, iot-mqtt-connect-to-iot-dps. */

/** What the user name says. */
export interface DpsUser {
  readonly idScope: string
  readonly registrationId: string
  readonly apiVersion: string
}

/** The versions of the device API that are answered. */
const API_VERSIONS: readonly string[] = [
  '2019-03-31',
  '2021-06-01',
  '2021-10-01',
  '2021-11-01-preview',
  '2025-07-01-preview',
]

export function isKnownApiVersion(version: string): boolean {
  return API_VERSIONS.includes(version)
}

/** Whether this version knows certificate requests: the preview of 2025 and those after it. */
export function issuesCertificates(version: string): boolean {
  return version.endsWith('-preview') && version >= '2025-07-01'
}

/**
 * Reads `{idScope}/registrations/{registrationId}/api-version={ver}&ClientVersion={agent}` literally: unlike the hub's,
 * it has no question mark.
 */
export function parseUsername(text: string): DpsUser | undefined {
  const match = /^([^/]+)\/registrations\/([^/]+)\/(api-version=[^/?]*(?:&.*)?)$/.exec(text)
  if (match === null) return undefined
  const [, idScope = '', registrationId = '', query = ''] = match
  const fields = new URLSearchParams(query)
  const apiVersion = fields.get('api-version')
  return apiVersion === null || apiVersion === '' ? undefined : { idScope, registrationId, apiVersion }
}
