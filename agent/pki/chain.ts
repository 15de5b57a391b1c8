import type { KeyObject, X509Certificate } from 'node:crypto'
import { certificateFacts, oneLine } from './certificate.ts'
import type { CertificateFacts } from './certificate.ts'
import { holdsPrivateKey, readCertificates } from './certificates-file.ts'
import type { ChainProblem } from './certificates-file.ts'
import { readExtensions } from './extensions.ts'
import { isSamePublicKey, keyKind } from './key.ts'
import { isSelfSigned, orderPath } from './path.ts'

export type { ChainProblem } from './certificates-file.ts'

/** What a chain is held against. */
export interface ChainExpectation {
  /** The text that came from the issuer. */
  readonly pem: string
  /** The public half of the key that the request was signed with. */
  readonly publicKey: KeyObject
  readonly registrationId: string
  /** Wall time. */
  readonly nowMs: number
}

/** A chain that passed every check and may become the credential of this device. */
export interface CheckedChain {
  readonly leaf: X509Certificate
  /** From the issuer of the leaf upwards, without a self-signed root. */
  readonly intermediates: readonly X509Certificate[]
  /** Leaf and intermediates in the order in which TLS sends them. */
  readonly pem: string
  readonly facts: CertificateFacts
}

export type ChainVerdict =
  | { readonly ok: true; readonly value: CheckedChain }
  | { readonly ok: false; readonly problems: readonly ChainProblem[] }

/** How far ahead of our clock an issuer may be. Expiry has no such grace. */
const NOT_BEFORE_SKEW_MS = 5 * 60_000

const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2'
const ANY_PURPOSE = '2.5.29.37.0'

/** SHA-256, -384 and -512 with RSA (PKCS#1 v1.5) and with ECDSA. Source: RFC 4055 section 5, RFC 5758 section 3.2. */
const acceptedSignatures = new Set([
  ...['1.2.840.113549.1.1.11', '1.2.840.113549.1.1.12', '1.2.840.113549.1.1.13'],
  ...['1.2.840.10045.4.3.2', '1.2.840.10045.4.3.3', '1.2.840.10045.4.3.4'],
])

/**
 * Judges a chain from any issuer. It is untrusted input: the leaf is found by our key and never by its place, the
 * others are ordered by issuer, and every problem is reported at once.
 *
 * Decisions: the leaf alone is enough, because only DPS knows which authority it has verified. A self-signed root is
 * checked as a link and by its dates but is not sent. A certificate that belongs to no link is refused, since the
 * usual cause is a wrong intermediate. The leaf must list clientAuth by name: the request asked for it, and an absent
 * extendedKeyUsage, although RFC 5280 reads it as "anything", is a certificate that the request did not ask for.
 */
export function checkChain(expected: ChainExpectation): ChainVerdict {
  if (holdsPrivateKey(expected.pem)) return refuse('CHAIN_HOLDS_PRIVATE_KEY', 'there is a private key in it')
  const read = readCertificates(expected.pem)
  if (!read.ok) return read
  const leaf = read.value.find((certificate) => isSamePublicKey(certificate.publicKey, expected.publicKey))
  if (leaf === undefined) {
    const names = read.value.map((certificate) => oneLine(certificate.subject)).join('; ')
    return refuse('CHAIN_KEY_MISMATCH', `none of the certificates is for the key of this device: ${names}`)
  }
  const others = read.value.filter((certificate) => certificate !== leaf)
  return judge(expected, leaf, others)
}

function judge(expected: ChainExpectation, leaf: X509Certificate, others: readonly X509Certificate[]): ChainVerdict {
  const { path, unused, problems: links } = orderPath(leaf, others)
  const sent = path.filter((certificate) => certificate === leaf || !isSelfSigned(certificate))
  const problems = [
    ...leafProblems(leaf, expected.registrationId),
    ...links,
    ...unused.map((certificate) => unusedProblem(certificate, path)),
    ...path.flatMap((certificate) => dateProblems(certificate, expected.nowMs)),
    ...sent.flatMap(weaknesses),
    ...sent.slice(1).flatMap(purposeProblems),
  ]
  if (problems.length > 0) return { ok: false, problems }
  const pem = sent.map((certificate) => certificate.toString()).join('')
  return { ok: true, value: { leaf, intermediates: sent.slice(1), pem, facts: certificateFacts(leaf) } }
}

function leafProblems(leaf: X509Certificate, registrationId: string): readonly ChainProblem[] {
  const problems: ChainProblem[] = []
  const { commonName } = certificateFacts(leaf)
  const { authority, maySignData } = readExtensions(leaf)
  if (commonName !== registrationId) {
    const found = commonName === '' ? 'no single CN' : `CN "${commonName}"`
    problems.push(problem('CHAIN_NAME_MISMATCH', leaf, `has ${found} instead of "${registrationId}"`))
  }
  if (authority || leaf.ca) problems.push(problem('CHAIN_LEAF_IS_CA', leaf, 'has basicConstraints CA:TRUE'))
  if (!purposesOf(leaf).includes(CLIENT_AUTH)) {
    problems.push(problem('CHAIN_NO_CLIENT_AUTH', leaf, 'does not list clientAuth in extendedKeyUsage'))
  }
  if (!maySignData) problems.push(problem('CHAIN_NO_CLIENT_AUTH', leaf, 'has a keyUsage without digitalSignature'))
  return problems
}

/** An authority that is limited to other purposes makes every leaf below it useless for clients. */
function purposeProblems(authority: X509Certificate): readonly ChainProblem[] {
  const purposes = purposesOf(authority)
  if (purposes.length === 0 || purposes.includes(CLIENT_AUTH) || purposes.includes(ANY_PURPOSE)) return []
  return [problem('CHAIN_NO_CLIENT_AUTH', authority, 'is limited by extendedKeyUsage to other purposes')]
}

/** The OIDs of extendedKeyUsage, which Node calls `keyUsage`; none when the extension is absent. */
function purposesOf(certificate: X509Certificate): readonly string[] {
  const purposes: readonly string[] | undefined = certificate.keyUsage
  return purposes ?? []
}

function dateProblems(certificate: X509Certificate, nowMs: number): readonly ChainProblem[] {
  const { validFromDate: from, validToDate: to } = certificate
  const now = new Date(nowMs).toISOString()
  if (nowMs + NOT_BEFORE_SKEW_MS < from.getTime()) {
    return [problem('CHAIN_NOT_YET_VALID', certificate, `is valid from ${from.toISOString()}, it is ${now} here`)]
  }
  if (nowMs > to.getTime()) {
    return [problem('CHAIN_EXPIRED', certificate, `was valid until ${to.toISOString()}, it is ${now} here`)]
  }
  return []
}

function weaknesses(certificate: X509Certificate): readonly ChainProblem[] {
  const problems: ChainProblem[] = []
  const { publicKey, signatureAlgorithm, signatureAlgorithmOid } = certificate
  if (!isStrong(publicKey)) {
    problems.push(problem('CHAIN_TOO_WEAK', certificate, `has a key of kind ${keyKind(publicKey)}`))
  }
  if (!acceptedSignatures.has(signatureAlgorithmOid)) {
    const name = signatureAlgorithm ?? signatureAlgorithmOid
    problems.push(problem('CHAIN_TOO_WEAK', certificate, `is signed with ${name}`))
  }
  return problems
}

/** P-521 is more than policy asks for, and some authorities have it. */
function isStrong(key: KeyObject): boolean {
  if (key.asymmetricKeyType === 'rsa') return (key.asymmetricKeyDetails?.modulusLength ?? 0) >= 2048
  return ['ec-p256', 'ec-p384', 'ec-p521'].includes(keyKind(key))
}

function unusedProblem(certificate: X509Certificate, path: readonly X509Certificate[]): ChainProblem {
  const last = path.at(-1)
  const wanted = last === undefined || isSelfSigned(last) ? 'is complete without it' : `lacks ${oneLine(last.issuer)}`
  return problem('CHAIN_BROKEN', certificate, `is no part of the chain, which ${wanted}`)
}

function problem(code: ChainProblem['code'], certificate: X509Certificate, fact: string): ChainProblem {
  return { code, message: `certificate ${oneLine(certificate.subject)} ${fact}` }
}

function refuse(code: ChainProblem['code'], message: string): ChainVerdict {
  return { ok: false, problems: [{ code, message }] }
}
