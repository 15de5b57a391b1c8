/** What the hub answers to certificate requests with. Source: azure-protocols, 3.3. */
export const CREDENTIALS_FILTER = '$iothub/credentials/res/#'

/** One documentation page prints the singular, so that both are taken. */
export const CREDENTIAL_PREFIXES = ['$iothub/credentials/', '$iothub/credential/'] as const

/** @param rid 4 to 36 ASCII letters, digits or dashes, no dash at either end */
export function issueCertificateTopic(rid: string): string {
  return `$iothub/credentials/POST/issueCertificate/?$rid=${rid}`
}

/** Matched loosely: a trailing `&$version=1`, a request ID in the path, and the singular have each been seen. */
export function parseCredentialTopic(topic: string): { readonly status: number; readonly rid: string } | undefined {
  const match = /^\$iothub\/credentials?\/res\/(\d{3})\/?(.*)$/.exec(topic)
  if (match === null) return undefined
  const [, status, rest = ''] = match
  const query = rest.startsWith('?') ? new URLSearchParams(rest.slice(1)).get('$rid') : rest.replace(/\/$/, '')
  return { status: Number(status), rid: query ?? '' }
}
