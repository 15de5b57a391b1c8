import { createPrivateKey } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { asFailure, Failure } from '../failure.ts'
import { keyToPem } from '../pki/key.ts'
import { readPrivate } from './sas-secret.ts'
import type { Environment } from './sas-secret.ts'

/** 32 random bytes in base64 are 44 characters; what is much shorter was made up by somebody. */
const LEAST_CHARACTERS = 32

const WHOLE = /^-----BEGIN ENCRYPTED PRIVATE KEY-----\n[^-]+-----END ENCRYPTED PRIVATE KEY-----\n?$/

/**
 * The secret that encrypts the private keys of this device.
 *
 * @param reference an absolute path, or `credential:NAME`
 * @throws Failure KEY_STORE_UNAVAILABLE; nothing of it is quoted
 */
export async function readEncryptionKey(reference: string, environment: Environment): Promise<string> {
  const { path, text } = await readPrivate(reference, environment).catch((cause: unknown) => {
    throw unavailable(`private keys are encrypted, and ${asFailure(cause).message}`, cause)
  })
  const secret = text.trim()
  if (secret.length >= LEAST_CHARACTERS) return secret
  throw unavailable(`${path} has ${secret.length} characters, which is too few to encrypt a key with`)
}

/** A private key as it lies on disk: PKCS#8, AES-256. The secret has all the strength, so that opening it costs nothing. */
export function encryptKey(key: KeyObject, secret: string): string {
  return key.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: secret }).toString()
}

/** Whether the text is a key that was encrypted, and whole: what was cut off is not. */
export function isEncryptedKey(pem: string): boolean {
  return WHOLE.test(pem)
}

/**
 * The key in PKCS#8, unencrypted: for memory, and nowhere else.
 *
 * @param where the file it came from, for the message
 * @throws Failure KEY_STORE_UNAVAILABLE another secret has encrypted it
 */
export function decryptKey(pem: string, where: string, secret: string): string {
  try {
    return keyToPem(createPrivateKey({ key: pem, passphrase: secret }))
  } catch (cause) {
    throw unavailable(`${where} was encrypted with another key than the one that is there now`, cause)
  }
}

function unavailable(fact: string, cause?: unknown): Failure {
  return new Failure('KEY_STORE_UNAVAILABLE', fact, cause === undefined ? {} : { cause })
}
