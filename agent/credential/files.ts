import { readFile } from 'node:fs/promises'
import { Failure } from '../failure.ts'
import { keyStoreOf } from '../pki/key-store.ts'
import { errorCode } from '../system/files.ts'
import { readKeyFile } from './private-file.ts'
import { pairUp } from './x509-credential.ts'
import type { X509Credential } from './x509-credential.ts'

/** Where the Python client had its certificate and key: `CERT_PATH` and `KEY_PATH`. */
export interface CredentialFiles {
  readonly certPath: string
  readonly keyPath: string
}

/**
 * Loads a certificate and key that somebody else laid down. They are accepted as they are, in any order, with or
 * without intermediates, whatever their purposes and dates: the cloud is the judge of those.
 *
 * @throws Failure KEY_EXPOSED, KEY_UNREADABLE, KEY_TYPE_UNSUPPORTED
 * @throws Failure CHAIN_UNREADABLE      the certificate file is missing or holds no certificate
 * @throws Failure TLS_LOCAL_CREDENTIAL  certificate and key are not a pair
 */
export async function loadCredentialFiles(files: CredentialFiles): Promise<X509Credential> {
  const { certPath, keyPath } = files
  const keyPem = await readKeyFile(keyPath)
  const pairing = pairUp(keyPem, keyPath, await readCertificateFile(certPath))
  if (pairing.ok) {
    const { chainPem, facts } = pairing
    return { lane: 'x509', origin: 'files', keyPem, keyStore: keyStoreOf(keyPem), chainPem, keyFile: keyPath, facts }
  }
  const context = { certPath, keyPath }
  if (pairing.reason === 'unreadable') {
    throw new Failure('CHAIN_UNREADABLE', `${certPath}: ${pairing.why}`, { context })
  }
  throw new Failure('TLS_LOCAL_CREDENTIAL', `${certPath} holds no certificate for the key in ${keyPath}`, { context })
}

async function readCertificateFile(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (cause) {
    const fact = `cannot read ${path}: ${errorCode(cause) ?? String(cause)}`
    throw new Failure('CHAIN_UNREADABLE', fact, { cause, context: { path } })
  }
}
