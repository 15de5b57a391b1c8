/** What a device publishes to DPS: topics and bodies. Pure. */

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

export type RegisterBody =
  | { readonly ok: true; readonly value: { readonly payload: unknown } }
  | { readonly ok: false; readonly errorCode: number; readonly reason: string }

/** Reads the body of a registration: nothing, a space, or an object whose registration ID is the session's. */
export function parseRegisterBody(bytes: Buffer, registrationId: string): RegisterBody {
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
  return { ok: true, value: { payload: parsed['payload'] } }
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
