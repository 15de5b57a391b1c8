/** Reading and judging certificate chains, with the verification of OpenSSL below `X509Certificate`. */
import { X509Certificate } from 'node:crypto'

/** Certificate details in the words of the REST API. */
export interface CertificateInfo {
  readonly subjectName: string
  readonly sha1Thumbprint: string
  readonly sha256Thumbprint: string
  readonly issuerName: string
  readonly notBeforeUtc: string
  readonly notAfterUtc: string
  readonly serialNumber: string
  readonly version: 3
}

/** PEM, or the base64 of DER as the portals upload it. Undefined when it is neither. */
export function readCertificate(text: string): X509Certificate | undefined {
  try {
    return new X509Certificate(text.includes('-----BEGIN') ? text : Buffer.from(text, 'base64'))
  } catch {
    return undefined
  }
}

export function sha256Thumbprint(certificate: X509Certificate): string {
  return certificate.fingerprint256.replaceAll(':', '')
}

/** The common name; undefined when there is none or more than one. */
export function commonName(certificate: X509Certificate): string | undefined {
  const name: unknown = certificate.toLegacyObject().subject.CN
  return typeof name === 'string' ? name : undefined
}

export function certificateInfo(certificate: X509Certificate): CertificateInfo {
  return {
    subjectName: oneLine(certificate.subject),
    sha1Thumbprint: certificate.fingerprint.replaceAll(':', ''),
    sha256Thumbprint: sha256Thumbprint(certificate),
    issuerName: oneLine(certificate.issuer),
    notBeforeUtc: new Date(certificate.validFrom).toISOString(),
    notAfterUtc: new Date(certificate.validTo).toISOString(),
    serialNumber: certificate.serialNumber,
    version: 3,
  }
}

/** Whether `issuer` is an authority whose key signed `certificate`. */
export function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  return issuer.ca && certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey)
}

/** Undefined inside the validity; otherwise what is wrong. */
export function validityProblem(certificate: X509Certificate, nowMs: number): string | undefined {
  if (nowMs < Date.parse(certificate.validFrom)) return `${oneLine(certificate.subject)} is not valid yet`
  if (nowMs > Date.parse(certificate.validTo)) return `${oneLine(certificate.subject)} expired`
  return undefined
}

/**
 * Walks from the leaf towards the root over verified links and stops at the first certificate that an `authority`
 * issued: the nearest one. `path` is the leaf and the presented intermediates below that authority.
 */
export function nearestAuthority<A extends { readonly certificate: X509Certificate }>(
  chain: readonly X509Certificate[],
  authorities: readonly A[],
): { readonly authority: A; readonly path: readonly X509Certificate[] } | undefined {
  const [leaf, ...rest] = chain
  const path: X509Certificate[] = []
  for (let current = leaf; current !== undefined;) {
    const certificate: X509Certificate = current
    path.push(certificate)
    const authority = authorities.find((candidate) => isIssuedBy(certificate, candidate.certificate))
    if (authority !== undefined) return { authority, path }
    current = rest.find((candidate) => !path.includes(candidate) && isIssuedBy(certificate, candidate))
  }
  return undefined
}

function oneLine(name: string | undefined): string {
  return (name ?? '').split('\n').join(', ')
}
