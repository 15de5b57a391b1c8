/**
 * Reads one issueCertificate: topic and body. azure-protocols.md 3.3 and 3.4; the sentences are those of the scenario log of
 * 2026-01-30. Pure.
 */
import { encodingProblem } from '../adr/encoding.ts'
import { parseJson } from './json.ts'
import { queryOf } from './topics.ts'

const TOPIC = '$iothub/credentials/POST/issueCertificate'

export interface CredentialRequest {
  readonly csr: string
  /** The $rid of the operation to cancel, `*` for any. */
  readonly replace: string | undefined
}

export type CredentialBody =
  | { readonly ok: true; readonly value: CredentialRequest }
  | { readonly ok: false; readonly errorCode: 400004 | 400006; readonly message: string }

/** Whether this is the topic of the request, with or without what follows it. */
export function isRequestTopic(topic: string): boolean {
  return topic === TOPIC || topic === `${TOPIC}/` || topic.startsWith(`${TOPIC}/?`)
}

/** Empty when the topic has none. */
export function ridOf(topic: string): string {
  return queryOf(topic)?.get('$rid') ?? ''
}

export function isRid(text: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9-]{2,34}[A-Za-z0-9]$/.test(text)
}

export function parseCredentialBody(bytes: Buffer, deviceId: string): CredentialBody {
  if (bytes.length === 0) return invalid("payload is missing. Include a JSON payload with 'id' and 'csr' fields.")
  const parsed = parseJson(bytes)
  if (parsed === undefined) return { ok: false, errorCode: 400006, message: 'cannot decode json format' }
  // An array, a number or null has no `id`: the log shows an array refused with the sentence about another ID.
  if (!isObject(parsed.value)) return invalid(OTHER_DEVICE)
  const problem = membersProblem(parsed.value, deviceId)
  if (problem !== undefined) return invalid(problem)
  const { csr, replace } = parsed.value
  return { ok: true, value: { csr: String(csr), replace: typeof replace === 'string' ? replace : undefined } }
}

const OTHER_DEVICE =
  "'id' field does not match the authenticated device ID. Use the same device ID used for authentication."

const encodingSentences = {
  missing: "'csr' field is invalid or missing. Provide a valid base64-encoded certificate signing request.",
  tooLong: "'csr' field exceeds maximum allowed length. Reduce the CSR size.",
  notBase64: "'csr' field is not valid base64. Ensure the CSR is properly base64-encoded.",
} as const

function membersProblem(body: Readonly<Record<string, unknown>>, deviceId: string): string | undefined {
  if (Object.keys(body).some((name) => !['id', 'csr', 'replace'].includes(name)))
    return "payload contains an unknown field. Only 'id', 'csr', and 'replace' fields are allowed."
  if (typeof body['id'] !== 'string' || body['id'] === '')
    return "'id' field is invalid or missing. Provide the device ID of the authenticated device."
  if (body['id'] !== deviceId) return OTHER_DEVICE
  const encoding = encodingProblem(body['csr'])
  if (encoding !== undefined) return encodingSentences[encoding]
  const { replace } = body
  if (replace === undefined || replace === '*' || (typeof replace === 'string' && isRid(replace))) return undefined
  return (
    "'replace' field has an invalid format. An exact request ID must be between 4 and 36 characters, only have " +
    "alphanumeric characters and hyphens, and cannot start or end with a hyphen. Use '*' to replace any pending request."
  )
}

function invalid(problem: string): CredentialBody {
  return { ok: false, errorCode: 400004, message: `Issue certificate request ${problem}` }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
