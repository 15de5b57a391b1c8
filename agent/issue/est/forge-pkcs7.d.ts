/** The validators of PKCS#7 alone. They are in no published types. */
declare module 'node-forge/lib/pkcs7asn1.js' {
  /** What `asn1.validate` takes. */
  type Validator = Readonly<Record<string, unknown>>

  const validators: { readonly contentInfoValidator: Validator; readonly signedDataValidator: Validator }
  export default validators
}
