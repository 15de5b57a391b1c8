/** What a device publishes to DPS: topics and bodies. Pure. */
import { encodingProblem } from '../adr/encoding.ts'

/** The one topic filter that exists. */
export const RESPONSE_FILTER = '$dps/registrations/res/#'

/** Largest body of a registration, in bytes. Source: DPS quotas. */
export const MAX_BODY_BYTES = 96 * 1024

export type DpsRequest =
  | { readonly ask: 'register'; readonly rid: string }
  | { readonly ask: 'poll'; readonly rid: string; readonly operationId: string }

/** Undefined for a topic that does not exist or lacks its `$rid`. */
export function parseTopic(topic: string): DpsRequest | undefined {
  const register = queryAfter(topic, '$dps/registrations/PUT/iotdps-register/?')
  const poll = queryAfter(topic, '$dps/registrations/GET/iotdps-get-operationstatus/?')
  const query = register ?? poll
  const rid = query?.get('$rid')
  if (query === undefined || rid === undefined || rid === '') return undefined
  if (register !== undefined) return { ask: 'register', rid }
  return { ask: 'poll', rid, operationId: query.get('operationId') ?? '' }
}

/** The topic of an answer; `$rid` comes first, for clients that compare from the left. */
export function responseTopic(status: number, rid: string, retryAfterSeconds?: number): string {
  const wait = retryAfterSeconds === undefined ? '' : `&retry-after=${retryAfterSeconds}`
  return `$dps/registrations/res/${status}/?$rid=${rid}${wait}`
}

export interface RegisterWish {
  readonly payload: unknown
  /** Base64 of a certificate request. */
  readonly csr: string | undefined
}

export type RegisterBody =
  | { readonly ok: true; readonly value: RegisterWish }
  | { readonly ok: false; readonly errorCode: number; readonly reason: string }

/**
 * Reads the body of a registration: nothing, a space, or an object whose registration ID is the session's. `csr` is looked
 * at by versions that issue certificates, and by no other. No code for a bad one is published; this is the one for bad fields.
 */
export function parseRegisterBody(bytes: Buffer, registrationId: string, takesCsr = false): RegisterBody {
  const parsed = parseJson(bytes)
  if (parsed === undefined || !isObject(parsed))
    return { ok: false, errorCode: 400012, reason: 'Body deserialization failed: the body is not a JSON object.' }
  const named = parsed['registrationId']
  if (named !== undefined && named !== null) {
    if (typeof named !== 'string') return { ok: false, errorCode: 400012, reason: 'registrationId is not a string.' }
    if (named.toLowerCase() !== registrationId.toLowerCase())
      return { ok: false, errorCode: 400004, reason: `registrationId ${named} is not the one of the session.` }
  }
  if (parsed['tpm'] !== undefined && parsed['tpm'] !== null)
    return { ok: false, errorCode: 400004, reason: 'TPM attestation is not available over MQTT.' }
  const csr = takesCsr ? (parsed['csr'] ?? undefined) : undefined
  const problem = csr === undefined ? undefined : encodingProblem(csr)
  if (problem !== undefined)
    return { ok: false, errorCode: 400004, reason: `csr is not base64 of DER on one line, or too long: ${problem}.` }
  return { ok: true, value: { payload: parsed['payload'], csr: typeof csr === 'string' ? csr : undefined } }
}

/** Whether the body of a status look-up asks for a certificate, which only a registration may do. */
export function asksForCertificate(bytes: Buffer): boolean {
  const parsed = parseJson(bytes)
  return isObject(parsed) && parsed['csr'] !== undefined
}

/** Splits by hand: `$rid` goes back exactly as it came. */
function queryAfter(topic: string, prefix: string): Map<string, string> | undefined {
  if (!topic.startsWith(prefix)) return undefined
  const pairs = topic.slice(prefix.length).split('&')
  return new Map(pairs.map((pair) => [pair.split('=', 1)[0] ?? '', pair.slice(pair.indexOf('=') + 1)]))
}

function parseJson(bytes: Buffer): unknown {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    return text.trim() === '' ? {} : (JSON.parse(text) as unknown)
  } catch (cause) {
    if (cause instanceof SyntaxError || cause instanceof TypeError) return undefined
    throw cause
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
