/** What a hub answers to issueCertificate, as status and body: azure-protocols.md 3.3 and 3.4. */
import { randomUUID } from 'node:crypto'

import { dateTimeUtc } from '../dps/wording.ts'
import type { FaultValues } from '../faults.ts'
import type { CredentialOperation, Result } from './credential-operations.ts'

export interface Refusal {
  readonly errorCode: number
  readonly message: string
  readonly retryAfterSeconds?: number
  /** Left out of the body when it is empty: one official parser stumbles over null. */
  readonly info?: Readonly<Record<string, string>>
}

/** Sentences for codes that only a fault brings about, and for those without a sentence of their own in the log. */
export const sentences = {
  400001: 'Invalid protocol version.',
  400037: 'Unable to complete the certificate request at this time.',
  400040: 'The credential operation failed.',
  403010: 'The operation is not available in this tier.',
  404001: 'Device not found.',
  409005: 'A credential management operation is already active.',
  412005: 'The credential management precondition failed.',
  429002: 'The backlog of throttled requests is full.',
  429003: 'The throttled request timed out.',
  500001: 'Server error.',
  503001: 'Service unavailable.',
  503102: 'Device unavailable.',
} as const

export function refusalResult(refusal: Refusal, nowMs: number): Result {
  const { errorCode, message, retryAfterSeconds, info = {} } = refusal
  const trackingId = `${randomUUID().replaceAll('-', '').toUpperCase()}-G2:-TimeStamp:${dateTimeUtc(nowMs)}`
  const body = {
    ...{ errorCode, message, trackingId, timestampUtc: nanoseconds(nowMs) },
    ...(retryAfterSeconds === undefined ? {} : { retryAfter: retryAfterSeconds }),
    ...(Object.keys(info).length === 0 ? {} : { info }),
  }
  return { status: Math.floor(errorCode / 1000), errorCode, body: JSON.stringify(body) }
}

export function acceptedResult({ correlationId, expiresAtMs }: CredentialOperation): Result {
  const body = { correlationId, operationExpires: nanoseconds(expiresAtMs) }
  return { status: 202, errorCode: 0, body: JSON.stringify(body) }
}

/** @param chain base64 of DER, leaf first; an empty one leaves the member out */
export function issuedResult(
  { correlationId }: CredentialOperation,
  chain: readonly string[],
  form: FaultValues['certificatesForm'],
): Result {
  const certificates = form === 'objectPem' ? chain.map(armoured) : chain
  const wrapped = { correlationId, ...(chain.length === 0 ? {} : { certificates }) }
  return { status: 200, errorCode: 0, body: JSON.stringify(form === 'bareArray' ? chain : wrapped) }
}

/** Another operation is in the way; `info` names it. */
export function conflict(
  errorCode: 409004 | 409005,
  { rid, correlationId, expiresAtMs }: CredentialOperation,
): Refusal {
  const info = { requestId: rid, operationExpires: nanoseconds(expiresAtMs), correlationId }
  const message =
    'A credential management operation is already active. Use the requestId in info to check the status of the existing ' +
    "request, or send a new request with 'replace' to cancel and start a new one."
  return { errorCode, message, info }
}

export function nothingToReplace(requestId: string): Refusal {
  const message =
    "No active certificate request found to replace. Ensure the request ID in the 'replace' property matches an existing " +
    'pending request.'
  return { errorCode: 412001, message, info: { requestId } }
}

/** What the backend refused after the 202, in the words of the log and of the SDKs. */
export function lateFailure(errorCode: number, { correlationId }: CredentialOperation): Refusal {
  const message = errorCode in sentences ? sentences[errorCode as keyof typeof sentences] : 'The operation failed.'
  if (errorCode === 400037)
    return {
      ...{ errorCode, message },
      info: { correlationId, credentialError: '400000', credentialMessage: 'CSR did not pass verification' },
    }
  if (errorCode === 400040) return { errorCode, message, info: { correlationId, credentialError: 'FailedToDecodeCsr' } }
  return { errorCode, message, info: { correlationId } }
}

/** Nine fractional digits, as `2026-01-31T12:52:20.565000000Z`. */
function nanoseconds(ms: number): string {
  return new Date(ms).toISOString().replace('Z', '000000Z')
}

function armoured(base64: string): string {
  const lines = base64.match(/.{1,64}/g) ?? []
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`
}
