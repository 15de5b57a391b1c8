/** Where the private key of a certificate lives: in a file of the vault, or in a token that does not give it away. */
export type KeyStore = 'file' | 'pkcs11' | 'tpm'

/** What OpenSSL's providers write in the place of a key that they do not give away. */
const labels: readonly (readonly [label: string, store: KeyStore])[] = [
  ['-----BEGIN PKCS#11 PROVIDER URI-----', 'pkcs11'],
  ['-----BEGIN TSS2 PRIVATE KEY-----', 'tpm'],
]

/** Where the key lives that this text stands for, by its label; `file` for everything that holds a key itself. */
export function keyStoreOf(pem: string): KeyStore {
  return labels.find(([label]) => pem.includes(label))?.[1] ?? 'file'
}
