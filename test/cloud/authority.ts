/**
 * The authorities of the stand-in, made by openssl: the device side in the shape of the migration tutorial (root, intermediate
 * with pathlen 0, leaves for clientAuth), and a root of its own for the server certificate.
 */
import { randomBytes } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import {
  makeKey,
  makeRequest,
  makeRoot,
  makeTemporaryFolder,
  type Authority,
  type AuthorityOptions,
  type OpensslKey,
  type Profile,
} from '../kit/openssl.ts'

/** `tutorial`: RSA 4096 under AES-256, as an operator makes them. `quick`: EC P-256, for tests that do not look at it. */
export type AuthorityShape = 'tutorial' | 'quick'

export interface CloudAuthorityOptions {
  readonly shape: AuthorityShape
  /** Every name that the server certificate has to carry; `localhost` is added. */
  readonly hosts: readonly string[]
  /** Where the files stay; a temporary folder that goes with the authority when left out. */
  readonly folder?: string
}

/** A device's key and certificate, as text and as files. */
export interface DeviceCredential {
  readonly keyPem: string
  readonly keyFile: string
  readonly leafPem: string
  /** Leaf, then intermediate. */
  readonly chainPem: string
  readonly chainFile: string
}

export interface CloudAuthority extends AsyncDisposable {
  readonly folder: string
  readonly root: Authority
  readonly intermediate: Authority
  readonly serverRoot: Authority
  /** What a client has to trust: the root of the server certificate (PEM file). */
  readonly caFile: string
  readonly server: { readonly keyPem: string; readonly chainPem: string }
  /** Another root for the servers, and a certificate by it for the same names. */
  nextServerSide(): Promise<Pick<CloudAuthority, 'serverRoot' | 'server' | 'caFile'>>
  /** Signs a device's request (PEM); leaf and intermediate come back. */
  signDevice(requestPem: string, profile?: Profile): Promise<string>
  /** Makes key and certificate of a device, for tests that need no device of ours. */
  makeDevice(
    commonName: string,
    options?: { readonly key?: OpensslKey; readonly profile?: Profile },
  ): Promise<DeviceCredential>
}

const ORGANISATION = '/O=Example/OU=IoT Security/C=US/ST=Virginia'

const ROOT_EXTENSIONS = `basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always, issuer:always`

export async function makeCloudAuthority(options: CloudAuthorityOptions): Promise<CloudAuthority> {
  await using stack = new AsyncDisposableStack()
  const folder = options.folder ?? stack.use(await makeTemporaryFolder()).path
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const [device, server] = await Promise.all([
    makeDeviceSide(folder, options.shape),
    makeServerSide(folder, 'server', options.shape, options.hosts),
  ])
  const files = stack.move()
  let made = 0
  const signDevice = async (requestPem: string, profile?: Profile) =>
    (await device.intermediate.sign(requestPem, profile)) + device.intermediate.certificatePem
  return {
    folder,
    ...device,
    ...server,
    nextServerSide: () => makeServerSide(folder, 'next-server', options.shape, options.hosts),
    signDevice,
    async makeDevice(commonName, { key, profile } = {}) {
      made += 1
      const keyFile = await makeKey(join(folder, `device-${made}.key`), key)
      const chainPem = await signDevice(await makeRequest(keyFile, `/CN=${commonName}`), profile)
      const chainFile = join(folder, `device-${made}.pem`)
      await writeFile(chainFile, chainPem)
      const leafPem = chainPem.slice(0, chainPem.indexOf(END) + END.length)
      return { keyPem: await readFile(keyFile, 'utf8'), keyFile, leafPem, chainPem, chainFile }
    },
    [Symbol.asyncDispose]: () => files.disposeAsync(),
  }
}

const END = '-----END CERTIFICATE-----\n'

/** Steps 1 and 3 of the tutorial. The passphrase lives in this process only. */
async function makeDeviceSide(folder: string, shape: AuthorityShape) {
  const secret: AuthorityOptions =
    shape === 'tutorial' ? { key: 'rsa-4096', passphrase: randomBytes(24).toString('base64url') } : { key: 'ec-p256' }
  const root = await makeRoot(folder, 'IoT Root CA', {
    ...secret,
    profile: { extensions: ROOT_EXTENSIONS, subject: `/CN=IoT Root CA${ORGANISATION}` },
  })
  const intermediate = await root.makeIntermediate('IoT Intermediate CA 01', {
    ...secret,
    profile: { subject: `/CN=IoT Intermediate CA 01${ORGANISATION}` },
  })
  return { root, intermediate }
}

async function makeServerSide(
  folder: string,
  name: 'server' | 'next-server',
  shape: AuthorityShape,
  hosts: readonly string[],
) {
  const key: OpensslKey = shape === 'tutorial' ? 'rsa-2048' : 'ec-p256'
  const serverRoot = await makeRoot(folder, name === 'server' ? 'Stand-in Server Root' : 'Stand-in Server Root 2', {
    key,
  })
  const keyFile = await makeKey(join(folder, `${name}.key`), key)
  const names = [...new Set([...hosts, 'localhost'])]
  const leafPem = await serverRoot.sign(await makeRequest(keyFile, `/CN=${names[0] ?? 'localhost'}`), {
    extensions: `basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature, keyEncipherment
extendedKeyUsage = serverAuth
subjectAltName = ${names.map((name) => `DNS:${name}`).join(', ')}
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always`,
  })
  const server = { keyPem: await readFile(keyFile, 'utf8'), chainPem: leafPem }
  return { serverRoot, server, caFile: serverRoot.certificatePath }
}
