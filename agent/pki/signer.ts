import { createPublicKey, sign } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import type { Clock } from '../system/clock.ts'
import { readKey, readPublicKey } from './key.ts'
import { engineKeyOf, signByEngine } from './token-engine.ts'

/** What signs a certificate request, wherever its private key lives. */
export interface Signer {
  readonly publicKey: KeyObject
  /** ECDSA in DER, RSA by PKCS #1 v1.5. @throws Failure KEY_STORE_UNAVAILABLE */
  sign(digest: string, data: Buffer): Promise<Buffer>
}

/**
 * The signer of a private key, or of the text that stands for one in a token.
 *
 * @param where the file it came from, for messages
 * @throws Failure KEY_UNREADABLE, KEY_STORE_UNAVAILABLE, KEY_TYPE_UNSUPPORTED
 */
export function signerOf(pem: string, where: string, clock: Clock): Signer {
  const named = engineKeyOf(pem, where)
  if (named !== undefined)
    return {
      publicKey: readPublicKey(pem, where),
      sign: (digest, data) => signByEngine(named, digest, data, clock),
    }
  return signerFor(readKey(pem, where))
}

/** The signer of a key that the runtime holds, or that a provider of OpenSSL holds for it. */
export function signerFor(key: KeyObject): Signer {
  return {
    publicKey: createPublicKey(key),
    sign: (digest, data) => Promise.resolve(sign(digest, data, key)),
  }
}
