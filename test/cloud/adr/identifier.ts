/** The identifier of a device inside its leaf, by which a hub knows a revoked one: azure-protocols.md 3.6. */
import type { X509Certificate } from 'node:crypto'

/** Azure's own object identifier is not published; this one is below the arc for examples. */
const OID = '2.999.1.1'
/** The same as DER. */
const OID_DER = Buffer.from('060488370101', 'hex')

const OCTET_STRING = 0x04
const UTF8_STRING = 0x0c

/** A line for the extensions of openssl. */
export function identifierExtension(identifier: string): string {
  return `${OID} = ASN1:UTF8String:${identifier}`
}

/** Undefined when the leaf has none. Short lengths only, which is what {@link identifierExtension} leads to. */
export function identifierIn(leaf: X509Certificate): string | undefined {
  const at = leaf.raw.indexOf(OID_DER)
  if (at < 0) return undefined
  const [outer, , inner, length = 0] = leaf.raw.subarray(at + OID_DER.length)
  if (outer !== OCTET_STRING || inner !== UTF8_STRING || length >= 0x80) return undefined
  const start = at + OID_DER.length + 4
  return leaf.raw.toString('utf8', start, start + length)
}
