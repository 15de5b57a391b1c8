/** Certificates for tests and for the stand-in, made by the openssl command and never by the code under test. */
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Runs openssl; what it writes to stdout comes back. Its stderr is in the error when it fails. */
export async function openssl(args: readonly string[], environment: Record<string, string> = {}): Promise<string> {
  const { stdout } = await run('openssl', args, {
    env: { ...process.env, ...environment },
    maxBuffer: 16 * 1024 * 1024,
  })
  return stdout
}

/** A folder that is gone at the end of the block: `await using folder = await makeTemporaryFolder()`. */
export async function makeTemporaryFolder(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'iot-agent-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}

/** Arguments of `openssl genpkey` by the names that the agent's configuration uses. */
const keyArguments = {
  'ec-p256': ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256'],
  'ec-p384': ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-384'],
  'ec-p521': ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-521'],
  ed25519: ['-algorithm', 'ED25519'],
  'rsa-1024': ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:1024'],
  'rsa-2048': ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048'],
  'rsa-3072': ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:3072'],
  'rsa-4096': ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:4096'],
} as const

export type OpensslKey = keyof typeof keyArguments

/** Extensions of a device leaf, as the migration tutorial writes them. */
export const DEVICE_EXTENSIONS = `basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature, keyEncipherment
extendedKeyUsage = clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always, issuer:always`

/** Extensions of an intermediate, as the migration tutorial writes them. */
export const INTERMEDIATE_EXTENSIONS = `basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always, issuer:always`

const ROOT_EXTENSIONS = `basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash`

/** What a signature may vary; a plain device leaf of 90 days when left out. */
export interface Profile {
  readonly extensions?: string
  readonly notBefore?: Date
  readonly notAfter?: Date
  /** Message digest of the signature, `sha256` usually. */
  readonly digest?: string
  /** Replaces the subject of the request, as `/CN=…`. */
  readonly subject?: string
}

/** One certificate authority whose private key stays in its folder. */
export interface Authority {
  readonly certificatePem: string
  readonly certificatePath: string
  readonly keyPath: string
  /** Signs a request (PEM); the certificate (PEM) comes back without its chain. */
  sign(requestPem: string, profile?: Profile): Promise<string>
  /** Makes an authority below this one. */
  makeIntermediate(name: string, options?: AuthorityOptions): Promise<Authority>
}

export interface AuthorityOptions {
  readonly key?: OpensslKey
  /** Encrypts the key file with AES-256, as the tutorial does. */
  readonly passphrase?: string
  readonly profile?: Profile
}

/** Makes a self-signed authority in `folder`. */
export async function makeRoot(folder: string, name: string, options: AuthorityOptions = {}): Promise<Authority> {
  const key = await makeAuthorityKey(folder, name, options)
  const requestPem = await makeRequest(key.path, `/CN=${name}`, key.environment)
  const certificatePem = await signWith({ ...key, selfSigned: true }, requestPem, {
    extensions: ROOT_EXTENSIONS,
    notAfter: daysAhead(7300),
    ...options.profile,
  })
  return authorityOf(folder, name, key, certificatePem)
}

/** Writes a private key (PKCS#8 PEM) under `path` and gives the path back. */
export async function makeKey(path: string, kind: OpensslKey = 'ec-p256'): Promise<string> {
  await openssl(['genpkey', ...keyArguments[kind], '-out', path])
  return path
}

/** A PKCS#10 request (PEM) for `subject`, made by openssl. */
export function makeRequest(
  keyPath: string,
  subject: string,
  environment: Record<string, string> = {},
): Promise<string> {
  const secret = 'AUTHORITY_PASSPHRASE' in environment ? ['-passin', 'env:AUTHORITY_PASSPHRASE'] : []
  return openssl(['req', '-new', '-key', keyPath, '-subj', subject, ...secret], environment)
}

interface SigningKey {
  readonly path: string
  readonly environment: Record<string, string>
}

interface Signer extends SigningKey {
  readonly certificatePath?: string
  readonly selfSigned?: boolean
}

async function makeAuthorityKey(folder: string, name: string, options: AuthorityOptions): Promise<SigningKey> {
  const path = join(folder, `${fileName(name)}.key`)
  const environment: Record<string, string> =
    options.passphrase === undefined ? {} : { AUTHORITY_PASSPHRASE: options.passphrase }
  const cipher = options.passphrase === undefined ? [] : ['-aes-256-cbc', '-pass', 'env:AUTHORITY_PASSPHRASE']
  await openssl(['genpkey', ...keyArguments[options.key ?? 'ec-p256'], ...cipher, '-out', path], environment)
  return { path, environment }
}

async function authorityOf(folder: string, name: string, key: SigningKey, certificatePem: string): Promise<Authority> {
  const certificatePath = join(folder, `${fileName(name)}.pem`)
  await writeFile(certificatePath, certificatePem)
  const signer: Signer = { ...key, certificatePath }
  return {
    certificatePem,
    certificatePath,
    keyPath: key.path,
    sign: (requestPem, profile = {}) => signWith(signer, requestPem, { extensions: DEVICE_EXTENSIONS, ...profile }),
    async makeIntermediate(childName, options = {}) {
      const childKey = await makeAuthorityKey(folder, childName, options)
      const requestPem = await makeRequest(childKey.path, `/CN=${childName}`, childKey.environment)
      const profile = { extensions: INTERMEDIATE_EXTENSIONS, notAfter: daysAhead(1825), ...options.profile }
      return authorityOf(folder, childName, childKey, await signWith(signer, requestPem, profile))
    },
  }
}

/** `openssl ca` with a throw-away database: the one sub-command of OpenSSL 3.0 that takes both dates. */
async function signWith(signer: Signer, requestPem: string, profile: Profile): Promise<string> {
  await using folder = await makeTemporaryFolder()
  const file = (name: string) => join(folder.path, name)
  await writeFile(file('request.pem'), requestPem)
  await writeFile(file('index.txt'), '')
  await writeFile(file('ca.cnf'), configuration(folder.path, profile))
  const notBefore = profile.notBefore ?? new Date(Date.now() - 60_000)
  const notAfter = profile.notAfter ?? daysAhead(90)
  const authority = signer.selfSigned === true ? ['-selfsign'] : ['-cert', signer.certificatePath ?? '']
  const secret = 'AUTHORITY_PASSPHRASE' in signer.environment ? ['-passin', 'env:AUTHORITY_PASSPHRASE'] : []
  const subject = profile.subject === undefined ? [] : ['-subj', profile.subject]
  await openssl(
    [
      ...['ca', '-batch', '-notext', '-config', file('ca.cnf'), '-keyfile', signer.path, ...authority, ...secret],
      ...['-in', file('request.pem'), '-out', file('out.pem'), '-extensions', 'wanted', ...subject],
      ...['-startdate', asn1Time(notBefore), '-enddate', asn1Time(notAfter), '-md', profile.digest ?? 'sha256'],
    ],
    signer.environment,
  )
  return await readFile(file('out.pem'), 'utf8')
}

function configuration(folder: string, profile: Profile): string {
  return `[ca]
default_ca = this
[this]
database = ${join(folder, 'index.txt')}
new_certs_dir = ${folder}
rand_serial = yes
unique_subject = no
policy = any
email_in_dn = no
[any]
commonName = optional
organizationName = optional
organizationalUnitName = optional
countryName = optional
stateOrProvinceName = optional
[wanted]
${profile.extensions ?? ''}
`
}

/** `YYYYMMDDHHMMSSZ`, the form that openssl takes for both kinds of ASN.1 time. */
function asn1Time(date: Date): string {
  return `${date.toISOString().replaceAll(/[-:T]/g, '').slice(0, 14)}Z`
}

function daysAhead(days: number): Date {
  return new Date(Date.now() + days * 86_400_000)
}

function fileName(name: string): string {
  return name.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-')
}
