import { derTags, readDer, readInside } from './der.ts'

/** Content bytes of 2.5.4.3, as hex. */
const COMMON_NAME = '550403'

/** String types whose bytes are UTF-8 or ASCII: UTF8String, PrintableString, IA5String. Others occur in no device CN. */
const PLAIN_STRINGS = new Set([0x0c, 0x13, 0x16])

/** `[0] EXPLICIT`, the version; absent in certificates of version 1. */
const VERSION = 0xa0

/**
 * The one CN of the subject of a certificate; undefined when there is none, more than one, or one that not every
 * reader would read alike. Read from the DER: `X509Certificate.subject` escapes, and `toLegacyObject()` of Node 24
 * ends the process when the public key of the certificate cannot be decoded.
 *
 * @throws RangeError when the DER is not that of a certificate
 */
export function readCommonName(der: Uint8Array): string | undefined {
  const [certificate] = readDer(der)
  const [toBeSigned] = readInside(certificate, derTags.sequence)
  const fields = readInside(toBeSigned, derTags.sequence).filter((field) => field.tag !== VERSION)
  // serialNumber, signature, issuer, validity, subject: RFC 5280 section 4.1.
  const names = readInside(fields[4], derTags.sequence)
    .flatMap((set) => readInside(set, derTags.set))
    .map((attribute) => readInside(attribute, derTags.sequence))
    .filter(([type]) => type !== undefined && Buffer.from(type.content).toString('hex') === COMMON_NAME)
  const value = names.length === 1 ? names[0]?.[1] : undefined
  return value !== undefined && PLAIN_STRINGS.has(value.tag) ? decode(value.content) : undefined
}

function decode(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return undefined
  }
}
