import type { X509Certificate } from 'node:crypto'
import { derTags, readDer, readInside } from './der.ts'
import type { DerElement } from './der.ts'

/** The extensions that the runtime's certificate class does not show. */
export interface CertificateExtensions {
  /** basicConstraints cA. */
  readonly authority: boolean
  /** Most authorities that may stand between this one and a leaf; undefined when unlimited. */
  readonly pathLength: number | undefined
  /** keyUsage digitalSignature; an absent keyUsage allows everything (RFC 5280 section 4.2.1.3). */
  readonly maySignData: boolean
  /** keyUsage keyCertSign, likewise. */
  readonly maySignCertificates: boolean
}

/** Content bytes of the object identifiers, as hex. Source: RFC 5280 sections 4.2.1.3 and 4.2.1.9. */
const KEY_USAGE = '551d0f'
const BASIC_CONSTRAINTS = '551d13'

/**
 * Reads basicConstraints and keyUsage from the DER of a certificate.
 *
 * @throws RangeError when the DER is not what RFC 5280 says, or an extension stands there twice
 */
export function readExtensions(certificate: X509Certificate): CertificateExtensions {
  const extensions = extensionValues(certificate.raw)
  const constraints = extensions.get(BASIC_CONSTRAINTS)
  const usage = extensions.get(KEY_USAGE)
  return {
    ...(constraints === undefined ? { authority: false, pathLength: undefined } : readConstraints(constraints)),
    maySignData: usage === undefined || hasBit(usage, 0),
    maySignCertificates: usage === undefined || hasBit(usage, 5),
  }
}

function extensionValues(der: Uint8Array): ReadonlyMap<string, Uint8Array> {
  const [certificate] = readDer(der)
  const [toBeSigned] = readInside(certificate, derTags.sequence)
  const holder = readInside(toBeSigned, derTags.sequence).find((part) => part.tag === derTags.explicit3)
  const values = new Map<string, Uint8Array>()
  if (holder === undefined) return values
  const [list] = readInside(holder, derTags.explicit3)
  for (const extension of readInside(list, derTags.sequence)) {
    const parts = readInside(extension, derTags.sequence)
    const oid = Buffer.from(contentOf(parts[0], derTags.oid)).toString('hex')
    if (values.has(oid)) throw new RangeError(`extension ${oid} stands there twice`)
    values.set(oid, contentOf(parts.at(-1), derTags.octetString))
  }
  return values
}

function readConstraints(value: Uint8Array): Pick<CertificateExtensions, 'authority' | 'pathLength'> {
  const [constraints] = readDer(value)
  const parts = readInside(constraints, derTags.sequence)
  const flag = parts.find((part) => part.tag === derTags.boolean)
  const limit = parts.find((part) => part.tag === derTags.integer)
  return {
    authority: flag !== undefined && flag.content[0] !== 0,
    pathLength: limit === undefined ? undefined : Number(`0x${Buffer.from(limit.content).toString('hex')}`),
  }
}

/** Bit 0 is the highest bit of the first byte after the count of unused bits. */
function hasBit(value: Uint8Array, bit: number): boolean {
  const [element] = readDer(value)
  const bits = contentOf(element, derTags.bitString)
  return ((bits[1 + (bit >> 3)] ?? 0) & (0x80 >> (bit & 7))) !== 0
}

function contentOf(element: DerElement | undefined, tag: number): Uint8Array {
  if (element?.tag !== tag) throw new RangeError(`expected DER tag ${tag}, found ${element?.tag ?? 'nothing'}`)
  return element.content
}
