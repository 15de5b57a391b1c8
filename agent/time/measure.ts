import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import type { IncomingHttpHeaders } from 'node:http'
import { checkServerIdentity, connect as connectTls, getCACertificates } from 'node:tls'
import type { DetailedPeerCertificate, TLSSocket } from 'node:tls'
import type { Clock } from '../system/clock.ts'
import { bounded } from '../system/deadline.ts'
import { lookup } from '../system/loopback.ts'
import { leadsToAnchor, readAnchors } from './server-chain.ts'

/** A server of the cloud that is asked for its time. */
export interface TimeServer {
  readonly host: string
  /** 443 for DPS and IoT Hub. */
  readonly port: number
  /** PEM of the only roots to trust; those of the runtime when left out. */
  readonly ca?: string | undefined
}

export type Measurement =
  | {
      readonly found: 'time'
      /** The server's time minus ours, in milliseconds; good to a second and half the round trip. */
      readonly skewMs: number
      /** False when the certificate of the server holds in all but its dates: then it is a hint, and proves nothing. */
      readonly verified: boolean
    }
  | { readonly found: 'nothing'; readonly reason: string }

const WITHIN_MS = 10_000

/** `Date` has whole seconds, cut off: on average half of one is missing. Source: RFC 9110 section 5.6.7. */
const CUT_OFF_MS = 500

/** Date as every server must write it; other forms that a parser may take are of no known zone. */
const IMF_FIXDATE = /^(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/

/** Verification results that a wrong clock explains. */
const DATES = new Set(['CERT_NOT_YET_VALID', 'CERT_HAS_EXPIRED'])

/**
 * Asks a server for its time: the `Date` of its answer to `HEAD /` over TLS, whatever the status of that answer. Nothing
 * follows a redirect, no body is read, no certificate of ours is shown.
 *
 * Never rejects but with `signal.reason`: a server that cannot be reached or is not the right one is no news about the clock.
 */
export async function measureSkew(server: TimeServer, clock: Clock, signal: AbortSignal): Promise<Measurement> {
  signal.throwIfAborted()
  try {
    return await askOver(openSocket(server), server, clock, signal)
  } catch (error) {
    signal.throwIfAborted()
    return nothing(error instanceof Error ? error.message : String(error))
  }
}

/**
 * The skew from a `Date` header, or undefined when there is none that can be used.
 *
 * @param receivedMs wall time at which the answer came
 */
export function skewFrom(headers: IncomingHttpHeaders, receivedMs: number, roundTripMs: number): number | undefined {
  const { date, age } = headers
  // What comes out of a cache has the date at which it went in.
  if (date === undefined || age !== undefined || !IMF_FIXDATE.test(date)) return undefined
  const dateMs = Date.parse(date)
  return Number.isNaN(dateMs) ? undefined : dateMs + CUT_OFF_MS + roundTripMs / 2 - receivedMs
}

function openSocket({ host, port, ca }: TimeServer): TLSSocket {
  const socket = connectTls({
    ...{ host, port, servername: host, lookup, minVersion: 'TLSv1.2' },
    ...(ca === undefined ? {} : { ca }),
    // Judged by standingOf, before anything is sent, because the dates are judged apart.
    rejectUnauthorized: false,
  })
  return socket.on('error', ignoreLater)
}

async function askOver(socket: TLSSocket, server: TimeServer, clock: Clock, signal: AbortSignal): Promise<Measurement> {
  const what = `asking ${server.host} for its time`
  try {
    return await bounded(
      ask(socket, server, clock),
      { clock, withinMs: WITHIN_MS, code: 'NETWORK_TIMEOUT', what },
      signal,
    )
  } finally {
    socket.destroy()
  }
}

async function ask(socket: TLSSocket, server: TimeServer, clock: Clock): Promise<Measurement> {
  await once(socket, 'secureConnect')
  const standing = standingOf(socket, server)
  if (standing.refused !== undefined) return nothing(standing.refused)
  const sentMs = clock.monotonicMs()
  const headers = await head(socket, server)
  const skewMs = skewFrom(headers, clock.now(), clock.monotonicMs() - sentMs)
  if (skewMs === undefined) return nothing('the answer has no date')
  return { found: 'time', skewMs, verified: standing.verified }
}

type Standing =
  | { readonly refused: string; readonly verified?: never }
  | { readonly refused?: never; readonly verified: boolean }

function standingOf(socket: TLSSocket, server: TimeServer): Standing {
  if (socket.authorized) return { verified: true }
  // Typed as an Error, it is the code of one.
  const code = String(socket.authorizationError)
  if (!DATES.has(code)) return { refused: `the server is not to be trusted: ${code}` }
  const sent = socket.getPeerCertificate(true)
  // Node leaves the name unjudged where it has found another fault.
  if (checkServerIdentity(server.host, sent) !== undefined) return { refused: 'the server has another name' }
  const anchors = server.ca === undefined ? getCACertificates('default').flatMap(readAnchors) : readAnchors(server.ca)
  const chain = { certificates: chainOf(sent), anchors }
  return leadsToAnchor(chain)
    ? { verified: false }
    : { refused: `the server is not to be trusted: ${code}, and its chain` }
}

/** The certificates of the peer, leaf first; Node closes the list with a root that is its own issuer. */
function chainOf(leaf: DetailedPeerCertificate): readonly X509Certificate[] {
  const chain: X509Certificate[] = []
  const seen = new Set<DetailedPeerCertificate>()
  for (let each = leaf; each?.raw !== undefined && !seen.has(each); each = each.issuerCertificate) {
    seen.add(each)
    chain.push(new X509Certificate(each.raw))
  }
  return chain
}

async function head(socket: TLSSocket, { host, port }: TimeServer): Promise<IncomingHttpHeaders> {
  // Loaded when it is first needed: most devices have NTP and never ask.
  const { request } = await import('node:http')
  const asked = request({
    ...{ method: 'HEAD', path: '/', host, port },
    headers: { host: port === 443 ? host : `${host}:${port}`, connection: 'close' },
    createConnection: () => socket,
  })
  const answered = once(asked, 'response')
  asked.on('error', ignoreLater)
  asked.end()
  const [response] = (await answered) as [{ readonly headers: IncomingHttpHeaders }]
  return response.headers
}

function nothing(reason: string): Measurement {
  return { found: 'nothing', reason }
}

/** The first error rejects what waits; those that follow it when the socket is destroyed tell nothing more. */
function ignoreLater(): void {
  return undefined
}
