import { Failure } from '../failure.ts'
import type { FailureCode } from '../failure.ts'
import { pemOfIssued } from '../pki/issued.ts'
import { isObject, parseJson } from '../system/json.ts'
import { parseAddress } from '../wire/address.ts'
import type { Delivery } from '../wire/guarded-base.ts'

/** Where DPS wants the device to be. */
export interface Assignment {
  /** `name` or `name:port`, lower case. */
  readonly assignedHub: string
  /** Case-sensitive; may differ from the registration ID for an individual enrollment. */
  readonly deviceId: string
  readonly registrationId: string
  readonly substatus?: string
  /** The certificates that DPS issued for the request in the registration: PEM, in the order in which they came; unchecked. */
  readonly issuedPem?: string
  /** What a custom allocation webhook wants the device to know. */
  readonly payload?: unknown
}

/** What an answer of DPS asks for: let the SDK poll after a while, or end the registration in one of two ways. */
export type Verdict =
  | {
      readonly next: 'poll'
      readonly delivery: Delivery
      readonly afterMs: number
      /** How much of `afterMs` is the wish of DPS. */
      readonly wishedMs: number
    }
  | { readonly next: 'assigned'; readonly assignment: Assignment }
  | { readonly next: 'failed'; readonly failure: Failure }

/** Where DPS answers: `$dps/registrations/res/{status}/?$rid={rid}&retry-after={seconds}`. */
const ANSWER_TOPIC = /^\$dps\/registrations\/res\/(\d{3})\/\?(.+)$/

/** Wait before the next poll when DPS names none. Source: the default of the SDKs. */
const DEFAULT_POLL_MS = 2_000

/** Longest wait that is granted to DPS at a time, in milliseconds; a longer wish is cut down to it. */
export const MAX_RETRY_AFTER_MS = 60 * 60_000

/** Longest text of the service that goes into a message of ours, in characters. */
const MAX_QUOTE = 300

/** Device IDs that IoT Hub has. Source: its identity registry. */
const DEVICE_ID = /^[A-Za-z0-9\-:.+%_#*?!(),=@$']{1,128}$/

/**
 * Judges one message on the answer topic before the SDK sees it; undefined when it is not an answer. The SDK would crash
 * on what is not JSON or not ASCII, and would try again for ever, and silently, on 429 and 5xx.
 *
 * @param asked the request that is answered: `poll` once DPS has accepted the registration
 */
export function judgeAnswer(
  delivery: Delivery,
  registrationId: string,
  asked: 'register' | 'poll',
): Verdict | undefined {
  const match = ANSWER_TOPIC.exec(delivery.topic)
  if (match === null) return undefined
  const status = Number(match[1])
  const query = new URLSearchParams(match[2])
  const waitMs = retryAfterMs(query.get('retry-after'))
  const text = delivery.payload.toString('utf8')
  const value = parseJson(text)
  const body = isObject(value) ? value : undefined
  if (status >= 300) return failed(codeOfStatus(status, asked), `DPS answered ${status}`, body, waitMs)
  if (body === undefined) return failed('DPS_BAD_ANSWER', `DPS answered ${status} with ${describe(text)}`)
  const state = isObject(body.registrationState) ? body.registrationState : {}
  const outcome = typeof body.status === 'string' ? body.status.toLowerCase() : ''
  switch (outcome) {
    case 'registering':
    case 'assigning':
      return {
        next: 'poll',
        delivery: forSdk(status, query, body),
        afterMs: waitMs ?? DEFAULT_POLL_MS,
        wishedMs: waitMs ?? 0,
      }
    case 'assigned':
      return judgeAssignment(state, registrationId)
    case 'failed':
      return failed(codeOfInnerError(state.errorCode), 'DPS could not register the device', state, waitMs)
    case 'disabled':
      return failed('DPS_DISABLED', 'DPS says that the enrollment is disabled', state)
    case 'unassigned':
      return failed('DPS_NOT_ASSIGNED', 'DPS ended the registration unassigned', state)
    default:
      return failed('DPS_BAD_ANSWER', `DPS answered ${status} with ${describe(text)}`)
  }
}

type Body = Readonly<Record<string, unknown>>

/** Source: azure-docs, how-to-troubleshoot-dps; everything from 500 on is a fault of the service. */
function codeOfStatus(status: number, asked: 'register' | 'poll'): FailureCode {
  if (status === 401 || status === 403) return 'DPS_UNAUTHORIZED'
  // Scope and enrollment were found by then: what is missing is the operation, and a new registration has a new one.
  if (status === 404) return asked === 'poll' ? 'DPS_OPERATION_LOST' : 'DPS_NOT_FOUND'
  if (status === 409 || status === 412) return 'DPS_CONFLICT'
  if (status === 429) return 'DPS_THROTTLED'
  if (status >= 500) return 'DPS_SERVICE_FAULT'
  return status >= 400 ? 'DPS_BAD_REQUEST' : 'DPS_BAD_ANSWER'
}

/** Everything in an assignment comes over the network and ends in a resolver, a topic and a file: it is checked first. */
function judgeAssignment(state: Body, registrationId: string): Verdict {
  const profile = state.connectionProfile ?? 'classic'
  if (profile !== 'classic') {
    return failed('HUB_TYPE_UNSUPPORTED', `the assigned hub has the connection profile ${quote(profile)}`)
  }
  const { assignedHub, deviceId, substatus, payload } = state
  if (typeof assignedHub !== 'string' || parseAddress(assignedHub) === undefined) {
    return failed('DPS_BAD_ANSWER', `DPS assigned a hub that is no host name: ${quote(assignedHub)}`)
  }
  if (typeof deviceId !== 'string' || !DEVICE_ID.test(deviceId)) {
    return failed('DPS_BAD_ANSWER', `DPS assigned a device ID that no hub has: ${quote(deviceId)}`)
  }
  const answered = state.registrationId ?? registrationId
  if (typeof answered !== 'string' || answered.toLowerCase() !== registrationId.toLowerCase()) {
    return failed('DPS_BAD_ANSWER', `DPS answered for the registration ${quote(answered)}`)
  }
  const issuedPem = pemOfIssued(state.issuedCertificateChain)
  if (issuedPem === 'unreadable')
    return failed('DPS_BAD_ANSWER', 'DPS answered with an issued chain that is no list of certificates')
  const assignment: Assignment = {
    assignedHub: assignedHub.toLowerCase(),
    deviceId,
    registrationId,
    ...(issuedPem === undefined ? {} : { issuedPem }),
    ...(typeof substatus === 'string' ? { substatus: quote(substatus) } : {}),
    ...(payload === undefined || payload === null ? {} : { payload }),
  }
  return { next: 'assigned', assignment }
}

/**
 * The extended code of a registration that failed behind DPS. A 401 there is the stale credential of DPS at its hub, not
 * ours. Source: azure-docs, how-to-troubleshoot-dps.
 */
function codeOfInnerError(errorCode: unknown): FailureCode {
  const status = typeof errorCode === 'number' ? Math.floor(errorCode / 1000) : 0
  return status === 429 || status >= 500 ? codeOfStatus(status, 'poll') : 'DPS_REGISTRATION_FAILED'
}

/** A body helps an operator but decides nothing, so that an empty or a broken one does no harm. */
function failed(code: FailureCode, fact: string, body?: Body, waitMs?: number): Verdict {
  const message = body?.message ?? body?.errorMessage
  const reason = typeof message === 'string' && message !== '' ? `: ${quote(message)}` : ''
  const context: Record<string, string | number> = {}
  if (typeof body?.errorCode === 'number') context.errorCode = body.errorCode
  if (typeof body?.trackingId === 'string') context.trackingId = quote(body.trackingId)
  const details = waitMs === undefined ? { context } : { context, retryAfterMs: waitMs }
  return { next: 'failed', failure: new Failure(code, `${fact}${reason}`, details) }
}

/** Milliseconds of a `retry-after` in seconds, within bounds; undefined when absent or not a number of seconds. */
function retryAfterMs(text: string | null): number | undefined {
  if (text === null || !/^\d+(\.\d+)?$/.test(text)) return undefined
  return Math.min(Number(text) * 1000, MAX_RETRY_AFTER_MS)
}

/** The answer as the SDK can read it: ASCII only, and without a wait, which has passed by then. */
function forSdk(status: number, query: URLSearchParams, body: Body): Delivery {
  const topic = `$dps/registrations/res/${status}/?$rid=${encodeURIComponent(query.get('$rid') ?? '')}&retry-after=0`
  return { topic, payload: Buffer.from(toAscii(JSON.stringify(body)), 'ascii') }
}

/** Escapes of JSON carry every character through the ASCII decoding of the SDK. */
function toAscii(json: string): string {
  return json.replaceAll(/[\u007F-\uFFFF]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

function describe(text: string): string {
  return text.trim() === '' ? 'an empty body' : `something that is not a registration: ${quote(text)}`
}

/** Text of the service for a log line: no control characters, not long. */
function quote(value: unknown): string {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? 'nothing')
  return text.replaceAll(/\p{Cc}/gu, ' ').slice(0, MAX_QUOTE)
}
