import { request as httpsRequest } from 'node:https'
import type { IncomingMessage } from 'node:http'
import { asFailure, Failure } from '../../failure.ts'
import { tlsKeyOf } from '../../pki/token-engine.ts'
import { makeRoomInTpm } from '../../pki/token-room.ts'
import type { Clock } from '../../system/clock.ts'
import { errorCode } from '../../system/error-code.ts'

/** Where certificates are issued, and by which authorities its server is known. */
export interface EstServer {
  /** `https://host:port`, with a path in front of /.well-known where there is one. */
  readonly url: string
  /** The label of an authority behind the same server. Source: RFC 7030, 3.2.2. */
  readonly label?: string | undefined
  /** The only authorities that are trusted. */
  readonly caPem: string
}

/** Who asks: by name and password, or by a certificate. Both are secrets. */
export type EstIdentity =
  | { readonly by: 'password'; readonly user: string; readonly password: string }
  | { readonly by: 'certificate'; readonly chainPem: string; readonly keyPem: string }

export type EstOperation = 'cacerts' | 'csrattrs' | 'simpleenroll' | 'simplereenroll'

export interface EstAnswer {
  readonly status: number
  readonly retryAfter: string | undefined
  readonly body: string
}

/** For a whole exchange, in milliseconds. */
const WITHIN_MS = 30_000

/** What TLS says of a certificate that its other side does not take. Source: RFC 8446, 6.2, in the words of OpenSSL: a code, or a text beside EPROTO. */
const REFUSED_IN_TLS =
  /alert[ _](?:unknown[ _]ca|(?:bad|unsupported)[ _]certificate|access[ _]denied|certificate[ _](?:revoked|expired|unknown|required))/i

const MAX_ANSWER_BYTES = 256 * 1024

/**
 * One exchange of EST. No redirect is followed: it could lead a password elsewhere.
 *
 * @param csrBase64 DER as base64, for the operations that enrol
 * @throws Failure ISSUER_REFUSED     the certificate that was shown, in the handshake
 * @throws Failure ISSUER_UNREACHABLE, ISSUER_ANSWER_INVALID
 * @throws signal.reason when aborted
 */
export async function exchangeEst(
  server: EstServer,
  operation: EstOperation,
  { csrBase64, identity }: { readonly csrBase64?: string; readonly identity?: EstIdentity | undefined },
  clock: Clock,
  signal: AbortSignal,
): Promise<EstAnswer> {
  signal.throwIfAborted()
  const over = new AbortController()
  const stop = AbortSignal.any([signal, over.signal])
  const late = clock.wait(WITHIN_MS, stop).then(() => over.abort(new Error(`no answer within ${WITHIN_MS / 1000} s`)))
  late.catch(() => undefined)
  try {
    return await send(urlOf(server, operation), server.caPem, csrBase64, identity, stop)
  } catch (cause) {
    signal.throwIfAborted()
    if (cause instanceof Failure) throw cause
    const reason: unknown = over.signal.aborted ? over.signal.reason : cause
    const why = errorCode(reason) ?? (reason instanceof Error ? reason.message : String(reason))
    if (identity?.by === 'certificate' && REFUSED_IN_TLS.test(`${why} ${asFailure(reason).message}`))
      throw new Failure('ISSUER_REFUSED', `${server.url} refused the certificate for ${operation}: ${why}`, { cause })
    throw new Failure('ISSUER_UNREACHABLE', `${server.url} did not answer ${operation}: ${why}`, { cause })
  } finally {
    over.abort()
  }
}

function urlOf({ url, label }: EstServer, operation: EstOperation): string {
  const place = label === undefined ? '' : `/${encodeURIComponent(label)}`
  return `${url.replace(/\/+$/, '')}/.well-known/est${place}/${operation}`
}

function send(
  url: string,
  ca: string,
  csrBase64: string | undefined,
  identity: EstIdentity | undefined,
  signal: AbortSignal,
): Promise<EstAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<EstAnswer>()
  if (identity?.by === 'certificate') makeRoomInTpm(identity.keyPem)
  const request = httpsRequest(url, {
    ...{ method: csrBase64 === undefined ? 'GET' : 'POST', agent: false, ca, minVersion: 'TLSv1.2', signal },
    headers: {
      ...(csrBase64 !== undefined && { 'content-type': 'application/pkcs10', 'content-transfer-encoding': 'base64' }),
      ...(identity?.by === 'password' && { authorization: basic(identity) }),
    },
    ...(identity?.by === 'certificate' && { cert: identity.chainPem, ...tlsKeyOf(identity.keyPem, 'the private key') }),
  })
  request.on('error', reject)
  request.on('response', (response) => void read(response).then(resolve, reject))
  request.end(csrBase64)
  return promise
}

/** Source: RFC 7617. */
function basic({ user, password }: Extract<EstIdentity, { by: 'password' }>): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`
}

async function read(response: IncomingMessage): Promise<EstAnswer> {
  const parts: Buffer[] = []
  let size = 0
  for await (const part of response as AsyncIterable<Buffer>) {
    size += part.length
    if (size > MAX_ANSWER_BYTES)
      throw new Failure('ISSUER_ANSWER_INVALID', `the EST server sent more than ${MAX_ANSWER_BYTES} bytes`)
    parts.push(part)
  }
  const { statusCode = 0, headers } = response
  return { status: statusCode, retryAfter: headers['retry-after'], body: Buffer.concat(parts).toString('latin1') }
}
