/** Judges a certificate request as the service behind DPS and the hub does; openssl reads it. azure-protocols.md 3.2 and 3.5. */
import { execFile } from 'node:child_process'
import { createPublicKey, type KeyObject } from 'node:crypto'

import type { FaultValues } from '../faults.ts'

/** Proof of possession, subject and kind of key. Undefined when the request is good. */
export async function requestProblem(
  csr: string,
  commonName: string,
  keys: FaultValues['csrKeys'],
): Promise<string | undefined> {
  const der = Buffer.from(csr, 'base64')
  if (!isOneSequence(der)) return 'the request is not one DER sequence'
  const read = await readRequest(der)
  if (read === undefined) return 'the request is no PKCS#10'
  if (!read.isSignatureGood) return 'the signature of the request does not verify'
  if (read.commonNames.length !== 1 || read.commonNames[0] !== commonName)
    return `the common name is ${read.commonNames.join(' and ') || '(none)'} and not ${commonName}`
  return keyProblem(read, keys)
}

/** The request as PEM, which is what openssl signs. */
export function armour(csr: string): string {
  const lines = csr.match(/.{1,64}/g) ?? []
  return `-----BEGIN CERTIFICATE REQUEST-----\n${lines.join('\n')}\n-----END CERTIFICATE REQUEST-----\n`
}

interface ReadRequest {
  readonly isSignatureGood: boolean
  readonly commonNames: readonly string[]
  readonly key: KeyObject
  /** In the words of openssl, as `ecdsa-with-SHA384`. */
  readonly signatureAlgorithm: string
}

function keyProblem({ key, signatureAlgorithm }: ReadRequest, keys: FaultValues['csrKeys']): string | undefined {
  const kind = key.asymmetricKeyType ?? '(unknown)'
  const curve = key.asymmetricKeyDetails?.namedCurve
  if (kind !== 'ec' && kind !== 'rsa') return `a key of kind ${kind}`
  if (keys !== 'ecOrRsa' && kind !== 'ec') return `a key of kind ${kind} where the policy wants EC`
  if (keys === 'p384' && curve !== 'secp384r1') return `a key on ${curve ?? ''} where the policy wants P-384`
  if (keys === 'p384' && signatureAlgorithm !== 'ecdsa-with-SHA384')
    return `a signature by ${signatureAlgorithm} where the policy wants SHA-384`
  return undefined
}

/** openssl ignores what follows the request, and so cannot tell it from a request that was cut or glued. */
function isOneSequence(der: Buffer): boolean {
  const [tag, first = 0] = der
  const more = first < 0x80 ? 0 : first & 0x7f
  if (tag !== 0x30 || more > 3 || der.length < 2 + more) return false
  return der.length === 2 + more + (more === 0 ? first : der.readUIntBE(2, more))
}

async function readRequest(der: Buffer): Promise<ReadRequest | undefined> {
  const form = ['-nameopt', 'sep_multiline,sname,utf8', '-reqopt', 'no_pubkey,no_attributes,no_extensions']
  const said = await run(['req', '-inform', 'DER', '-verify', '-noout', '-pubkey', '-subject', '-text', ...form], der)
  if (said === undefined) return undefined
  const pem = /-----BEGIN PUBLIC KEY-----[^]*?-----END PUBLIC KEY-----/.exec(said.stdout)?.[0]
  const subject = /^subject=\n((?: {4}.*\n)*)/m.exec(said.stdout)?.[1] ?? ''
  return pem === undefined
    ? undefined
    : {
        // Its exit status is 0 either way.
        isSignatureGood: said.stderr.includes('verify OK'),
        commonNames: [...subject.matchAll(/^ {4}CN=(.*)$/gm)].map(([, name = '']) => name),
        key: createPublicKey(pem),
        signatureAlgorithm: [...said.stdout.matchAll(/Signature Algorithm: (\S+)/g)].at(-1)?.[1] ?? '',
      }
}

/** Undefined when openssl says that it cannot read it; what keeps openssl from running is thrown. */
function run(
  args: readonly string[],
  input: Buffer,
): Promise<{ readonly stdout: string; readonly stderr: string } | undefined> {
  return new Promise((resolve, reject) => {
    const child = execFile('openssl', args, (error, stdout, stderr) => {
      if (error === null) resolve({ stdout, stderr })
      else if (typeof error.code === 'number') resolve(undefined)
      else reject(error)
    })
    child.stdin?.on('error', reject)
    child.stdin?.end(input)
  })
}
