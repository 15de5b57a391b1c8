import type { X509Certificate } from 'node:crypto'
import { oneLine } from './certificate.ts'
import type { ChainProblem } from './certificates-file.ts'
import { readExtensions } from './extensions.ts'

/** Certificates put into the order in which each is signed by the next. */
export interface CertificatePath {
  /** Leaf first; a self-signed certificate can only be the last. */
  readonly path: readonly X509Certificate[]
  /** Those that no certificate of the path names as its issuer. */
  readonly unused: readonly X509Certificate[]
  /** Links that do not hold: wrong signature, an issuer that may not sign, a path longer than allowed. */
  readonly problems: readonly ChainProblem[]
}

/**
 * Orders certificates by issuer, from the leaf up, whatever their order in the file. The last of the path may well
 * have been signed by somebody who is not there: DPS knows that authority, or will refuse.
 */
export function orderPath(leaf: X509Certificate, others: readonly X509Certificate[]): CertificatePath {
  const path = [leaf]
  const problems: ChainProblem[] = []
  let unused = others
  for (let child = leaf; !isSelfSigned(child);) {
    const named = unused.filter((candidate) => candidate.subject === child.issuer || child.checkIssued(candidate))
    const issuer = named.find((candidate) => signed(candidate, child)) ?? named[0]
    if (issuer === undefined) break
    problems.push(...linkProblems(child, issuer, path.length - 1))
    path.push(issuer)
    unused = unused.filter((candidate) => candidate !== issuer)
    child = issuer
  }
  return { path, unused, problems }
}

/** A certificate that names itself as its issuer: a root, which need not be sent. */
export function isSelfSigned(certificate: X509Certificate): boolean {
  return certificate.subject === certificate.issuer && signed(certificate, certificate)
}

/** @param authoritiesBelow how many authorities stand between `issuer` and the leaf */
function linkProblems(child: X509Certificate, issuer: X509Certificate, authoritiesBelow: number): ChainProblem[] {
  const names = { child: oneLine(child.subject), issuer: oneLine(issuer.subject) }
  if (!signed(issuer, child)) {
    return [broken(`${names.child} names ${names.issuer} as its issuer but was not signed by its key`)]
  }
  const { authority, maySignCertificates, pathLength } = readExtensions(issuer)
  if (!issuer.ca || !authority || !maySignCertificates) {
    return [broken(`${names.issuer} signed ${names.child} but is no authority (basicConstraints, keyUsage)`)]
  }
  if (pathLength !== undefined && authoritiesBelow > pathLength) {
    return [broken(`${names.issuer} allows ${pathLength} authorities below it, there are ${authoritiesBelow}`)]
  }
  // Names fit, signature fits: what is left for OpenSSL to dislike is the authority key identifier.
  return child.checkIssued(issuer)
    ? []
    : [broken(`the authority key identifier of ${names.child} does not point to ${names.issuer}`)]
}

function signed(issuer: X509Certificate, child: X509Certificate): boolean {
  try {
    return child.verify(issuer.publicKey)
  } catch {
    // A public key of a kind that OpenSSL does not know proves nothing.
    return false
  }
}

function broken(message: string): ChainProblem {
  return { code: 'CHAIN_BROKEN', message }
}
