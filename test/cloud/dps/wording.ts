/** The small forms in which DPS writes dates, etags, identifiers and errors. */
import { randomBytes, randomUUID } from 'node:crypto'

/** ISO 8601 with seven fractional digits, as `2026-01-05T10:11:12.1230000Z`. */
export function dateTimeUtc(ms: number): string {
  return new Date(ms).toISOString().replace('Z', '0000Z')
}

/** Base64 of a quoted value in the shape of a GUID. */
export function makeEtag(): string {
  return Buffer.from(`"${randomUUID()}"`).toString('base64')
}

/** `<digit>.<16 hex>.<guid>` */
export function makeOperationId(): string {
  return `5.${randomBytes(8).toString('hex')}.${randomUUID()}`
}

/** Body of every refusal of DPS; `errorCode` div 1000 is the HTTP status. */
export interface ErrorBody {
  readonly errorCode: number
  readonly trackingId: string
  readonly message: string
  readonly timestampUtc: string
}

export function errorBody(errorCode: number, message: string, nowMs: number): ErrorBody {
  return { errorCode, trackingId: randomUUID(), message, timestampUtc: dateTimeUtc(nowMs) }
}

/** Letters, digits and `- . _ :`, ending alphanumeric or in a dash, at most 128. */
export function isRegistrationId(text: string): boolean {
  return /^[A-Za-z0-9\-._:]{0,127}[A-Za-z0-9-]$/.test(text)
}
