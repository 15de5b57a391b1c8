import { X509Certificate } from 'node:crypto'

/** A chain as a server sent it, and what it is held against. */
export interface ServerChain {
  /** Leaf first; the order of the others does not matter. */
  readonly certificates: readonly X509Certificate[]
  /** What is trusted without a signature. */
  readonly anchors: readonly X509Certificate[]
}

/** Longer than any chain of Azure or of a company; a loop of cross-signed authorities ends here. */
const MAX_LINKS = 8

const SERVER_AUTH = '1.3.6.1.5.5.7.3.1'
const ANY_PURPOSE = '2.5.29.37.0'

/**
 * Whether a server's chain leads to an anchor by valid signatures of authorities, whatever the dates say. Node cannot
 * leave the dates out by itself: it reports one verification error, the last that OpenSSL met, and for a self-made expired
 * certificate that is its date as well.
 *
 * Not looked at: path lengths, name constraints, policies, revocation, strength of keys and digests. So a chain that only
 * this function has seen may cast doubt on a clock and may not vouch for it. The name of the server is the caller's.
 */
export function leadsToAnchor({ certificates, anchors }: ServerChain): boolean {
  const [leaf, ...others] = certificates
  if (leaf === undefined || !isForServers(leaf)) return false
  let child = leaf
  for (let link = 0; link < MAX_LINKS; link += 1) {
    const below = child
    if (anchors.some((anchor) => anchor.fingerprint256 === below.fingerprint256 || signed(anchor, below))) return true
    const issuer = others.find((other) => other.fingerprint256 !== below.fingerprint256 && signed(other, below))
    if (issuer === undefined) return false
    child = issuer
  }
  return false
}

/** The certificates of a PEM text; those that cannot be read are passed over, as TLS does. */
export function readAnchors(pem: string): readonly X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []
  return blocks.flatMap((block) => {
    try {
      return [new X509Certificate(block)]
    } catch {
      return []
    }
  })
}

function isForServers(leaf: X509Certificate): boolean {
  // What Node calls keyUsage is the extended key usage; without the extension everything is allowed.
  const purposes: readonly string[] | undefined = leaf.keyUsage
  return purposes === undefined || purposes.includes(SERVER_AUTH) || purposes.includes(ANY_PURPOSE)
}

function signed(issuer: X509Certificate, child: X509Certificate): boolean {
  if (!issuer.ca || !child.checkIssued(issuer)) return false
  try {
    return child.verify(issuer.publicKey)
  } catch {
    // A public key of a kind that OpenSSL does not know proves nothing.
    return false
  }
}
