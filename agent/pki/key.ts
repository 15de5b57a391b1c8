import { createPrivateKey, createPublicKey, generateKeyPair } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { promisify } from 'node:util'
import { Failure } from '../failure.ts'
import { isInToken, keyStoreOf } from './key-store.ts'
import { engineKeyOf, requireInToken } from './token-engine.ts'
import { makeRoomInTpm } from './token-room.ts'

/** The kinds of key that the agent makes; the first is the default. */
export const keyTypes = ['ec-p256', 'ec-p384', 'rsa-2048', 'rsa-3072', 'rsa-4096'] as const

export type KeyType = (typeof keyTypes)[number]

/** OpenSSL's names of the curves under the names of our configuration. */
const curveKinds: Readonly<Record<string, string>> = {
  prime256v1: 'ec-p256',
  secp384r1: 'ec-p384',
  secp521r1: 'ec-p521',
}

const generate = promisify(generateKeyPair)

const recipes: Readonly<Record<KeyType, () => Promise<{ readonly privateKey: KeyObject }>>> = {
  'ec-p256': () => generate('ec', { namedCurve: 'P-256' }),
  'ec-p384': () => generate('ec', { namedCurve: 'P-384' }),
  'rsa-2048': () => generate('rsa', { modulusLength: 2048 }),
  'rsa-3072': () => generate('rsa', { modulusLength: 3072 }),
  'rsa-4096': () => generate('rsa', { modulusLength: 4096 }),
}

/** Makes a new private key with the random source of the runtime. RSA 4096 may take seconds on a small board. */
export async function makeKey(type: KeyType): Promise<KeyObject> {
  const { privateKey } = await recipes[type]()
  return privateKey
}

/** A private key as unencrypted PKCS#8 PEM: for the vault and nowhere else. */
export function keyToPem(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString()
}

/**
 * Reads an unencrypted private key from PEM (PKCS#8, PKCS#1 or SEC 1).
 *
 * @param where the file it came from, for the message
 * @throws Failure KEY_UNREADABLE       not a private key, or encrypted
 * @throws Failure KEY_STORE_UNAVAILABLE a key that lives in a token, which is out of reach
 * @throws Failure KEY_TYPE_UNSUPPORTED a key that Azure does not document for client certificates
 */
export function readKey(pem: string, where: string): KeyObject {
  const key = parseKey(pem, where)
  return requireSupported(key, where)
}

function requireSupported(key: KeyObject, where: string): KeyObject {
  const kind = keyKind(key)
  if (isSupported(key)) return key
  throw new Failure('KEY_TYPE_UNSUPPORTED', `${where} holds a key of kind ${kind}`, { context: { path: where, kind } })
}

/** What was read of the keys in tokens: their texts are no secrets, and each look at a token takes time and its room. */
const seenInTokens = new Map<string, KeyObject>()
const MOST_SEEN = 16

/**
 * The public half of a private key in PEM. It holds on to nothing of the private one, and a token is asked once for each key.
 *
 * @throws Failure as `readKey`
 */
export function readPublicKey(pem: string, where: string): KeyObject {
  const seen = seenInTokens.get(pem)
  if (seen !== undefined) return seen
  const publicKey = readPublicHalf(pem, where)
  if (!isInToken(pem)) return publicKey
  if (seenInTokens.size >= MOST_SEEN) seenInTokens.clear()
  seenInTokens.set(pem, publicKey)
  return publicKey
}

function readPublicHalf(pem: string, where: string): KeyObject {
  const named = engineKeyOf(pem, where)
  if (named !== undefined) {
    requireInToken(named, where)
    return requireSupported(createPublicKey(named.publicKeyPem), where)
  }
  const spki = createPublicKey(readKey(pem, where)).export({ type: 'spki', format: 'der' })
  return createPublicKey({ key: spki, type: 'spki', format: 'der' })
}

/** What a key is, in the words of the configuration: `ec-p256`, `rsa-2048`; others by their OpenSSL name. */
export function keyKind(key: KeyObject): string {
  const { asymmetricKeyType = 'unknown', asymmetricKeyDetails: details } = key
  if (asymmetricKeyType === 'ec')
    return curveKinds[details?.namedCurve ?? ''] ?? `ec-${details?.namedCurve ?? 'unnamed'}`
  if (details?.modulusLength !== undefined) return `${asymmetricKeyType}-${details.modulusLength}`
  return asymmetricKeyType
}

/**
 * Whether two public keys are the same key, by their DER. `KeyObject.equals` of Node 24 is not used: for keys of
 * different types it leaves an error with OpenSSL that makes the next `createPrivateKey` of a good key fail.
 */
export function isSamePublicKey(one: KeyObject, other: KeyObject): boolean {
  const [ofOne, ofOther] = [one, other].map((key) => key.export({ type: 'spki', format: 'der' }))
  return ofOne !== undefined && ofOther !== undefined && ofOne.equals(ofOther)
}

/** RSA of 2048 to 4096 bits, P-256, P-384: the set that Microsoft's samples use (azure-protocols, section 2.1). */
function isSupported(key: KeyObject): boolean {
  const bits = key.asymmetricKeyDetails?.modulusLength ?? 0
  if (key.asymmetricKeyType === 'rsa') return bits >= 2048 && bits <= 4096
  return ['ec-p256', 'ec-p384'].includes(keyKind(key))
}

function parseKey(pem: string, where: string): KeyObject {
  if (/-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED/m.test(pem)) {
    const remedy = `openssl pkey -in ${where} -out ${where}.plain`
    const fact = `${where} is encrypted, and there is nobody to ask for its passphrase. Decrypt it: ${remedy}`
    throw new Failure('KEY_UNREADABLE', fact, { context: { path: where } })
  }
  const store = keyStoreOf(pem)
  makeRoomInTpm(pem)
  try {
    return readTwice(pem)
  } catch (cause) {
    if (store !== 'file')
      throw new Failure(
        'KEY_STORE_UNAVAILABLE',
        `the key of ${where} lives in a token (${store}) that does not answer`,
        {
          ...{ cause, context: { path: where, store } },
        },
      )
    throw new Failure('KEY_UNREADABLE', `${where} is not a private key in PEM`, { cause, context: { path: where } })
  }
}

/**
 * A token to which another process has just written may fail once before it looks again, and what it leaves with OpenSSL makes
 * the next key fail, a good one in a file too (both seen with SoftHSM 2.6). A key that is none fails twice.
 */
function readTwice(pem: string): KeyObject {
  try {
    return createPrivateKey(pem)
  } catch (error) {
    if (!(error instanceof Error)) throw error
    return createPrivateKey(pem)
  }
}
