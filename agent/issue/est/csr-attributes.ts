import { createPublicKey } from 'node:crypto'
import { Failure } from '../../failure.ts'
import { derTags, readDer, readInside } from '../../pki/der.ts'
import type { DerElement } from '../../pki/der.ts'
import { keyKind } from '../../pki/key.ts'

/** Content bytes of object identifiers, as hex. Source: RFC 5480 2.1.1, RFC 8017 A.1. */
const EC_PUBLIC_KEY = '2a8648ce3d0201'
const RSA_ENCRYPTION = '2a864886f70d010101'

const curves: Readonly<Record<string, string>> = {
  '2a8648ce3d030107': 'ec-p256',
  '2b81040022': 'ec-p384',
  '2b81040023': 'ec-p521',
}

/**
 * The kinds of key that a server asks for, in the words of `auth.x509.keyType`; empty where it asks for none. What else
 * such an answer may say (digests, extensions, a challenge password) is passed over, as RFC 7030, 4.5.2 has it for what
 * a client does not know.
 *
 * @param body base64 of the DER of CsrAttrs, with line breaks or without
 * @throws Failure ISSUER_ANSWER_INVALID
 */
export function keyKindsWanted(body: string): readonly string[] {
  const text = body.replaceAll(/\s/g, '')
  try {
    if (!/^[A-Za-z0-9+/]+={0,2}$/.test(text)) throw new RangeError('it is not base64')
    const [attributes, ...rest] = readDer(Buffer.from(text, 'base64'))
    if (rest.length > 0) throw new RangeError('something follows the list')
    return readInside(attributes, derTags.sequence).flatMap(keyKindOf)
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause
    throw new Failure('ISSUER_ANSWER_INVALID', `the EST server did not send CSR attributes: ${cause.message}`, {
      cause,
    })
  }
}

/** The kind of the key in a certificate request of ours. @param csrBase64 its DER */
export function keyKindOfRequest(csrBase64: string): string {
  const [request] = readDer(Buffer.from(csrBase64, 'base64'))
  const information = Buffer.from(readInside(request, derTags.sequence)[0]?.content ?? [])
  // version, subject, subjectPKInfo: RFC 2986, 4.1. The runtime takes the key with its header, which is of 2 to 5 bytes.
  const spki = readDer(information)[2]?.content ?? new Uint8Array()
  return keyKind(createPublicKey({ key: withHeader(spki), format: 'der', type: 'spki' }))
}

/** An attribute has a type and a set of values; a bare object identifier is no key. */
function keyKindOf(element: DerElement): readonly string[] {
  if (element.tag === derTags.oid) return []
  const [type, values] = readInside(element, derTags.sequence)
  if (type?.tag !== derTags.oid) throw new RangeError('an attribute has no type')
  const name = hex(type)
  const wanted = readInside(values, derTags.set)
  if (name === EC_PUBLIC_KEY) return wanted.map((curve) => curves[hex(curve)] ?? 'ec of another curve')
  if (name === RSA_ENCRYPTION) return wanted.map((bits) => `rsa-${Number.parseInt(hex(bits), 16)}`)
  return []
}

function hex({ content }: DerElement): string {
  return Buffer.from(content).toString('hex')
}

/** A SEQUENCE around this content, with a length of two bytes. */
function withHeader(content: Uint8Array): Buffer {
  return Buffer.concat([Buffer.of(derTags.sequence, 0x82, content.length >> 8, content.length & 0xff), content])
}
