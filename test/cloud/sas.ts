/**
 * Shared access signatures of DPS and IoT Hub: reading, judging, making, and the keys derived from a group key.
 * Pure: time comes as an argument.
 */
import { createHmac, timingSafeEqual } from 'node:crypto'

/** The fields of one token. */
export interface SasToken {
  /** Exactly the characters that stand in the token: the signature is over these. */
  readonly sr: string
  /** `sr` with its percent signs decoded. */
  readonly resource: string
  readonly signature: Buffer
  readonly expiresAtSeconds: number
  /** Name of the policy, or `registration` for DPS; absent for a device key of a hub. */
  readonly skn: string | undefined
}

export type SasResult =
  | { readonly ok: true; readonly value: SasToken }
  | { readonly ok: false; readonly reason: string }

/** What a token has to satisfy. */
export interface SasExpectation {
  /** Base64; any of them may have signed. Missing and empty ones are passed over. */
  readonly keys: readonly (string | null | undefined)[]
  /** What is asked for, decoded, as `hub1.azure-devices.net/devices/edge-0042`. */
  readonly resource: string
  /** `exact`: the token names the resource itself (DPS). `prefix`: it names it or a parent of it (hub). */
  readonly scope: 'exact' | 'prefix'
  /** Host names ignore case always, device IDs of a hub never, registration IDs of DPS do. */
  readonly ignoreCase: 'host' | 'all'
  readonly nowMs: number
  /** Seconds by which an expired token still passes; 5 when left out. */
  readonly skewSeconds?: number
}

const SCHEME = 'SharedAccessSignature '
const DEFAULT_SKEW_SECONDS = 5

/** Reads a token by field name, in any order. */
export function parseSas(text: string): SasResult {
  if (!text.startsWith(SCHEME)) return refuse('the token does not begin with SharedAccessSignature')
  const fields = new Map<string, string>()
  for (const part of text.slice(SCHEME.length).trim().split('&')) {
    const at = part.indexOf('=')
    if (at < 1) return refuse(`the token has a field without a name or value: ${part.slice(0, 20)}`)
    const name = part.slice(0, at)
    if (fields.has(name)) return refuse(`the token names ${name} twice`)
    fields.set(name, part.slice(at + 1))
  }
  const { sr, sig, se } = { sr: fields.get('sr'), sig: fields.get('sig'), se: fields.get('se') }
  if (sr === undefined || sr === '') return refuse('the token has no sr')
  if (sig === undefined || sig === '') return refuse('the token has no sig')
  if (se === undefined || !/^\d{1,15}$/.test(se)) return refuse('the token has no se in whole seconds')
  const resource = decode(sr)
  const signature = decode(sig)
  const skn = decode(fields.get('skn') ?? '')
  if (resource === undefined || signature === undefined || skn === undefined)
    return refuse('the token has a broken percent sign')
  return {
    ok: true,
    value: {
      sr,
      resource,
      signature: Buffer.from(signature, 'base64'),
      expiresAtSeconds: Number(se),
      skn: skn === '' ? undefined : skn,
    },
  }
}

/** Judges a token: form, resource, signature over the literal `sr`, and expiry, in that order. */
export function verifySas(text: string, expected: SasExpectation): SasResult {
  const parsed = parseSas(text)
  if (!parsed.ok) return parsed
  const token = parsed.value
  if (!covers(token.resource, expected))
    return refuse(`the token is for ${token.resource} and not for ${expected.resource}`)
  if (!expected.keys.some((key) => isSignedWith(token, key)))
    return refuse('the signature of the token fits none of the keys')
  const endMs = (token.expiresAtSeconds + (expected.skewSeconds ?? DEFAULT_SKEW_SECONDS)) * 1000
  if (expected.nowMs > endMs) return refuse(`the token expired at ${utc(token.expiresAtSeconds)}`)
  return parsed
}

export interface SasRequest {
  /** Not encoded, as `0ne00000001/registrations/edge-0042`. */
  readonly resource: string
  /** Base64. */
  readonly key: string
  readonly expiresAtSeconds: number
  readonly skn?: string
  /** How `sr` stands in the token: `%2F` (usual), `%2f`, or as it is (the Node SDK's symmetric key). */
  readonly encoding?: 'upper' | 'lower' | 'raw'
}

/** Makes a token as the SDKs do. */
export function signSas({ resource, key, expiresAtSeconds, skn, encoding = 'upper' }: SasRequest): string {
  const upper = encodeURIComponent(resource)
  const lower = upper.replaceAll(/%[\dA-F]{2}/g, (escape) => escape.toLowerCase())
  const sr = { upper, lower, raw: resource }[encoding]
  const sig = encodeURIComponent(hmac(key, `${sr}\n${expiresAtSeconds}`).toString('base64'))
  const name = skn === undefined ? '' : `&skn=${encodeURIComponent(skn)}`
  return `${SCHEME}sr=${sr}&sig=${sig}&se=${expiresAtSeconds}${name}`
}

/** The key of one device of a symmetric enrollment group (base64). The registration ID counts in lower case. */
export function deriveDeviceKey(groupKey: string, registrationId: string): string {
  return hmac(groupKey, registrationId.toLowerCase()).toString('base64')
}

function isSignedWith(token: SasToken, key: string | null | undefined): boolean {
  if (key === null || key === undefined || key === '') return false
  const expected = hmac(key, `${token.sr}\n${token.expiresAtSeconds}`)
  return token.signature.length === expected.length && timingSafeEqual(token.signature, expected)
}

function covers(resource: string, expected: SasExpectation): boolean {
  const given = segments(resource, expected.ignoreCase)
  const wanted = segments(expected.resource, expected.ignoreCase)
  if (expected.scope === 'exact' && given.length !== wanted.length) return false
  return given.length <= wanted.length && given.every((segment, index) => segment === wanted[index])
}

function segments(resource: string, ignoreCase: SasExpectation['ignoreCase']): string[] {
  const [host = '', ...path] = resource.replace(/\/$/, '').split('/')
  return [host.toLowerCase(), ...path.map((segment) => (ignoreCase === 'all' ? segment.toLowerCase() : segment))]
}

function hmac(key: string, text: string): Buffer {
  return createHmac('sha256', Buffer.from(key, 'base64')).update(text, 'utf8').digest()
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch (cause) {
    if (cause instanceof URIError) return undefined
    throw cause
  }
}

function utc(seconds: number): string {
  return new Date(seconds * 1000).toISOString()
}

function refuse(reason: string): { readonly ok: false; readonly reason: string } {
  return { ok: false, reason }
}
