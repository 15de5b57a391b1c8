/** Keys and certificates of devices for clients that we did not write: as text and as files. */
import { randomUUID } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import type { DeviceCredential } from '../cloud/authority.ts'
import { makeKey, makeRequest, makeRoot, type Authority, type Profile } from '../kit/openssl.ts'

/** Signs certificates of devices. */
export interface DeviceAuthority {
  readonly certificatePem: string
  makeDevice(commonName: string, options?: { readonly profile?: Profile }): Promise<DeviceCredential>
}

/** An authority that nobody knows. */
export async function strangeAuthority(folder: string): Promise<DeviceAuthority> {
  return deviceAuthority(folder, await makeRoot(folder, `Stranger ${randomUUID()}`))
}

/** An authority whose devices keep their files in `folder`. */
export function deviceAuthority(folder: string, signer: Authority): DeviceAuthority {
  return {
    certificatePem: signer.certificatePem,
    async makeDevice(commonName, { profile } = {}) {
      const base = join(folder, randomUUID())
      const [keyFile, chainFile] = [await makeKey(`${base}.key`), `${base}.pem`]
      const leafPem = await signer.sign(await makeRequest(keyFile, `/CN=${commonName}`), profile)
      const chainPem = leafPem + signer.certificatePem
      await writeFile(chainFile, chainPem)
      return { keyPem: await readFile(keyFile, 'utf8'), keyFile, leafPem, chainPem, chainFile }
    },
  }
}
