/** Looks for the secret part of a private key in whatever left the device, in every form it could have left in. */
import { createPrivateKey } from 'node:crypto'

/** Byte strings of which none may be found outside the vault. */
export type KeyForms = readonly Buffer[]

/**
 * The private numbers of a key (EC: d; RSA: d, p, q), raw, as hexadecimal, and as base64 at each of the three
 * alignments they can have inside a larger base64 text such as a PEM or a JSON body.
 */
export function keyForms(pem: string): KeyForms {
  const jwk = createPrivateKey(pem).export({ format: 'jwk' })
  const numbers = [jwk.d, jwk.p, jwk.q].flatMap((text) => (text === undefined ? [] : [Buffer.from(text, 'base64url')]))
  return numbers.flatMap(secretForms)
}

/** The same for a secret that is nothing but bytes, as a symmetric key. */
export function secretForms(secret: Buffer): KeyForms {
  return [
    secret,
    Buffer.from(secret.toString('hex')),
    Buffer.from(secret.toString('hex').toUpperCase()),
    ...[0, 1, 2].flatMap((shift) => [base64Inside(secret, shift, 'base64'), base64Inside(secret, shift, 'base64url')]),
  ]
}

/** Whether any form of the key is in `haystack`, also when line breaks (real or as JSON escapes) run through it. */
export function holdsKey(forms: KeyForms, haystack: Buffer): boolean {
  const joined = Buffer.from(haystack.toString('latin1').replaceAll(/\\[rn]|[\r\n\t ]+/g, ''), 'latin1')
  return forms.some((form) => haystack.includes(form) || joined.includes(form))
}

/** The characters of base64 that depend on `number` alone when `shift` unknown bytes stand before it. */
function base64Inside(number: Buffer, shift: number, encoding: 'base64' | 'base64url'): Buffer {
  const text = Buffer.concat([Buffer.alloc(shift), number])
    .toString(encoding)
    .replaceAll('=', '')
  return Buffer.from(text.slice(shift === 0 ? 0 : shift + 1, -1))
}
