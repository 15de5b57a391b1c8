/**
 * Where the private key of a certificate lives: in a file of the vault, in one that is encrypted with a secret of this
 * machine, or in a token that does not give it away.
 */
export type KeyStore = 'file' | 'encrypted' | 'pkcs11' | 'tpm'

/** What lies in the place of a key: encrypted, or the words of OpenSSL's providers, or ours of its engine, for one that a token does not give away. */
const labels: readonly (readonly [label: string, store: KeyStore])[] = [
  ['-----BEGIN ENCRYPTED PRIVATE KEY-----', 'encrypted'],
  ['-----BEGIN PKCS#11 PROVIDER URI-----', 'pkcs11'],
  ['-----BEGIN PKCS#11 ENGINE KEY-----', 'pkcs11'],
  ['-----BEGIN TSS2 PRIVATE KEY-----', 'tpm'],
]

/** Where the key lives that this text of a file stands for, by its label; `file` for everything that holds a key itself. */
export function keyStoreOf(pem: string): KeyStore {
  return labels.find(([label]) => pem.includes(label))?.[1] ?? 'file'
}

/** Whether what stands there is only the name or the wrapping of a key, which is no secret. */
export function isInToken(pem: string): boolean {
  return ['pkcs11', 'tpm'].includes(keyStoreOf(pem))
}
