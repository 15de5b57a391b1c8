/** The ASN.1 writer alone: 81 KB and 3 ms instead of all of node-forge. Its types are those of the whole package. */
declare module 'node-forge/lib/asn1.js' {
  import type { asn1 } from 'node-forge'

  /** The options exist since 0.9; the published types know only `strict`. */
  type FromDer = (bytes: string, options: { readonly strict: boolean; readonly decodeBitStrings: boolean }) => asn1.Asn1

  const writer: Omit<typeof asn1, 'fromDer'> & { readonly fromDer: FromDer }
  export default writer
}
