import { readBounded } from './find.ts'
import type { OldClient } from './find.ts'
import type { OldPair } from './plan.ts'

/** Where the tutorial's client has its pair when CERT_PATH and KEY_PATH are not set. */
const DEFAULT_FOLDER = '/etc/iot-certs'

/**
 * The certificate pair that the old client uses: that of its settings, or the default one where its program speaks X.509
 * or has no other way. Undefined for a client that has none.
 *
 * @throws whatever the file system refuses with
 */
export async function readPair(root: string, { values, lane }: OldClient): Promise<OldPair | undefined> {
  const { certPath, keyPath, registrationId, connectionString, deviceKey } = values
  const named = certPath !== undefined || keyPath !== undefined
  const id = registrationId?.value
  if (!named && (id === undefined || id.includes('/'))) return undefined
  const certificateFile = certPath?.value ?? `${DEFAULT_FOLDER}/${id}.pem`
  const keyFile = keyPath?.value ?? `${DEFAULT_FOLDER}/${id}.key`
  const [certificatePem, keyPem] = await Promise.all([readBounded(root, certificateFile), readBounded(root, keyFile)])
  const hasOther = connectionString !== undefined || deviceKey !== undefined
  if (!named && certificatePem === undefined && keyPem === undefined && hasOther && lane !== 'x509') return undefined
  return { certificateFile, keyFile, certificatePem, keyPem }
}
