import { pemOfIssued } from '../../pki/issued.ts'
import { isObject, parseJson } from '../../system/json.ts'
import type { CredentialAnswer } from './line.ts'

/** What an answer of the hub says. */
export type Said =
  /** 202: it is being worked on until then, wall time in milliseconds. */
  | { readonly said: 'accepted'; readonly expiresAtMs: number | undefined }
  /** 200: the certificates as PEM, in the order in which they came; unchecked. */
  | { readonly said: 'issued'; readonly pem: string }
  | { readonly said: 'refused'; readonly refusal: Refusal }
  | { readonly said: 'nonsense'; readonly why: string }

/** The error body. Source: azure-protocols, 3.4. */
export interface Refusal {
  /** Six digits; the status with three zeros where the body names none. */
  readonly code: number
  /** The hub's own words, short and in one line. */
  readonly message: string
  readonly retryAfterMs?: number
  /** The pending operation that is in the way, of a 409. */
  readonly requestId?: string
  readonly expiresAtMs?: number
}

/** More than any chain with its frame has. */
const MAX_CHARACTERS = 128 * 1024

/** Reads an answer in all forms that were seen: an object or a bare array, base64 of DER or PEM, `info` that is null. */
export function readAnswer({ status, text }: CredentialAnswer): Said {
  const body = text.length > MAX_CHARACTERS ? undefined : parseJson(text)
  if (status === 202) return { said: 'accepted', expiresAtMs: instantIn(body, 'operationExpires') }
  if (status === 200) return readIssued(body)
  if (status >= 400) return { said: 'refused', refusal: readRefusal(status, body) }
  return { said: 'nonsense', why: `the hub answered a certificate request with ${status}` }
}

function readIssued(body: unknown): Said {
  const pem = pemOfIssued(isObject(body) ? body['certificates'] : body)
  if (pem === undefined || pem === 'unreadable')
    return { said: 'nonsense', why: 'the hub answered 200 without a list of certificates' }
  return { said: 'issued', pem }
}

function readRefusal(status: number, body: unknown): Refusal {
  const fields = isObject(body) ? body : {}
  const info = isObject(fields['info']) ? fields['info'] : {}
  const { errorCode, message, retryAfter } = fields
  const { requestId, credentialMessage } = info
  const words = [message, credentialMessage].filter((text) => typeof text === 'string')
  const expiresAtMs = instantIn(info, 'operationExpires')
  return {
    code: typeof errorCode === 'number' ? errorCode : status * 1000,
    message: words
      .join(': ')
      .replaceAll(/\p{Cc}+/gu, ' ')
      .slice(0, 300),
    ...(typeof retryAfter === 'number' && retryAfter >= 0 && { retryAfterMs: retryAfter * 1000 }),
    ...(typeof requestId === 'string' && { requestId }),
    ...(expiresAtMs !== undefined && { expiresAtMs }),
  }
}

function instantIn(body: unknown, name: string): number | undefined {
  const value = isObject(body) ? body[name] : undefined
  const ms = typeof value === 'string' ? Date.parse(value) : Number.NaN
  return Number.isNaN(ms) ? undefined : ms
}
