import type { X509Certificate } from 'node:crypto'
import type { TLSSocket } from 'node:tls'

/** Longest chain that is read; a client that sends more is cut off here. */
const MAX_CHAIN = 10

/**
 * The certificates of the client in the order they were sent, leaf first. Node's `getPeerX509Certificate` walks the list of the
 * handshake as it came, while `getPeerCertificate(true)` sorts it by issuer and drops what does not link. To be called once: the
 * walk empties the list.
 */
export function presentedChain(socket: TLSSocket): readonly X509Certificate[] {
  const chain: X509Certificate[] = []
  let certificate = socket.getPeerX509Certificate()
  while (certificate !== undefined && chain.length < MAX_CHAIN) {
    chain.push(certificate)
    certificate = certificate.issuerCertificate
  }
  return chain
}
