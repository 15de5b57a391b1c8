import { randomBytes } from 'node:crypto'
import { Failure } from '../failure.ts'
import { keyToPem, makeKey, readPublicKey } from '../pki/key.ts'
import type { KeyType } from '../pki/key.ts'
import { keyStoreOf } from '../pki/key-store.ts'
import type { KeyStore } from '../pki/key-store.ts'
import { signerOf } from '../pki/signer.ts'
import type { Signer } from '../pki/signer.ts'
import { tokenEnvironment } from '../pki/token-environment.ts'
import type { Clock } from '../system/clock.ts'
import { cleanWords, runProgram } from '../system/run-program.ts'
import { decryptKey, encryptKey, isEncryptedKey, readEncryptionKey } from './encrypted-key.ts'
import { makeEngineKey } from './engine-key.ts'

/** Makes a private key where it is to live; what comes back is the text of `key.pem`, which stands for it. */
export type MakeKeyPem = (type: KeyType) => Promise<string>

/** What TLS and the signing of requests take for the text of `key.pem`: the same, unless it is encrypted. */
export type OpenKeyPem = (pem: string, where: string) => Promise<string>

/** How keys get into the vault, and out of it again. */
export interface VaultKeys {
  /** @throws Failure KEY_STORE_UNAVAILABLE */
  readonly make: MakeKeyPem
  /** @throws Failure KEY_STORE_UNAVAILABLE */
  readonly open: OpenKeyPem
  /** Signs requests with an opened key; `where` is the file it came from. */
  readonly signer: (pem: string, where: string) => Signer
  /** Where new ones are made. */
  readonly keyStore: KeyStore
}

/** Where new keys are made. */
export interface KeyPlace {
  readonly keyStore: KeyStore
  /** The label of the PKCS#11 token. */
  readonly token?: string | undefined
  /** The library of OpenSSL's PKCS#11 engine, where that is to reach the token, and no provider. */
  readonly pkcs11Engine?: string | undefined
  /** The file of its PIN, beside an engine: a provider has it from the configuration of OpenSSL. */
  readonly pinFile?: string | undefined
  /** Where the secret is that encrypts keys in files: an absolute path, or `credential:NAME`. */
  readonly encryptionKeyFile: string
}

/** A TPM takes seconds for an RSA key. */
const TIMEOUT_MS = 60_000

const algorithms: Readonly<Record<KeyType, readonly string[]>> = {
  'ec-p256': ['-algorithm', 'EC', '-pkeyopt', 'group:P-256'],
  'ec-p384': ['-algorithm', 'EC', '-pkeyopt', 'group:P-384'],
  'rsa-2048': ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048'],
  'rsa-3072': ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:3072'],
  'rsa-4096': ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:4096'],
}

/**
 * The maker of keys for a place. In a token the key is made by `openssl genpkey` with the provider that OPENSSL_CONF
 * configures: the runtime has no way to have one made there. A PIN is in a file that this configuration names, so that
 * neither the arguments nor the environment have it.
 *
 * The maker throws Failure KEY_STORE_UNAVAILABLE, above all rather than give back a key that lies open.
 */
function keyMakerFor(place: KeyPlace, clock: Clock): MakeKeyPem {
  const { keyStore, token = '', pkcs11Engine: engine, pinFile = '', encryptionKeyFile } = place
  if (keyStore === 'file') return async (type) => keyToPem(await makeKey(type))
  if (keyStore === 'encrypted')
    return async (type) => {
      const secret = await readEncryptionKey(encryptionKeyFile, process.env)
      return encryptKey(await makeKey(type), secret)
    }
  if (keyStore === 'pkcs11' && engine !== undefined)
    return reusing((type) => makeEngineKey({ engine, token, pinFile }, type, newName(), clock))
  const make: MakeKeyPem = async (type) => {
    const program = ['openssl', 'genpkey', ...where(keyStore, token), ...algorithms[type]] as const
    const run = await runProgram(
      { program: [...program], timeoutMs: TIMEOUT_MS, environment: tokenEnvironment(process.env), clock },
      new AbortController().signal,
    )
    const pem = new TextDecoder().decode(run.stdout)
    if (run.how.end === 'exited' && run.how.exitCode === 0 && keyStoreOf(pem) === keyStore) return pem
    const words = cleanWords(run.stderr).slice(0, 300)
    const how = run.how.end === 'exited' ? `exit ${run.how.exitCode}` : run.how.end
    throw new Failure(
      'KEY_STORE_UNAVAILABLE',
      `no key was made in ${nameOf(keyStore)} (openssl genpkey: ${how}) ${words}`,
    )
  }
  // A TPM keeps nothing of a key that is not used.
  return keyStore === 'pkcs11' ? reusing(make) : make
}

/** A key that the token made and the runtime cannot read stays there: it is tried again, and no other is made meanwhile. */
function reusing(make: MakeKeyPem): MakeKeyPem {
  let unread: { readonly type: KeyType; readonly pem: string } | undefined
  return async (type) => {
    const pem = unread?.type === type ? unread.pem : await make(type)
    unread = { type, pem }
    readPublicKey(pem, 'the next certificate')
    unread = undefined
    return pem
  }
}

/**
 * The keys of a vault. Whatever place new ones are made in, those of earlier places are opened: a move to another place is
 * a renewal, and the way back has to stay.
 */
export function vaultKeysFor(place: KeyPlace, clock: Clock): VaultKeys {
  return {
    keyStore: place.keyStore,
    make: keyMakerFor(place, clock),
    signer: (pem, where) => signerOf(pem, where, clock),
    async open(pem, where) {
      if (!isEncryptedKey(pem)) return pem
      return decryptKey(pem, where, await readEncryptionKey(place.encryptionKeyFile, process.env))
    },
  }
}

/** As sentences say it. */
export function nameOf(store: KeyStore): string {
  return { file: 'a file', encrypted: 'an encrypted file', pkcs11: 'the PKCS#11 token', tpm: 'the TPM' }[store]
}

/** A TPM keeps no names: its key lies wrapped in the vault. */
function where(keyStore: Exclude<KeyStore, 'file' | 'encrypted'>, token: string): readonly string[] {
  if (keyStore === 'tpm') return ['-propquery', '?provider=tpm2']
  const { name, idHex } = newName()
  const uri = `pkcs11:token=${encodeURIComponent(token)};object=${name};id=${idHex.replaceAll(/../g, '%$&')}`
  return ['-propquery', 'provider=pkcs11', '-pkeyopt', `pkcs11_uri:${uri}`]
}

/** Each key has a name of its own in the token. */
function newName(): { readonly name: string; readonly idHex: string } {
  const idHex = randomBytes(8).toString('hex')
  return { name: `iot-device-agent-${idHex}`, idHex }
}
