/**
 * An EST server beside the stand-in (RFC 7030): it signs for the authority that DPS knows, and refuses what an EST server
 * refuses. A device enrols with its registration ID and the one password, and again with the certificate that it has.
 */
import { randomBytes, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { TLSSocket } from 'node:tls'

import { pkcs7Of } from '../kit/est-server.ts'
import { armour, requestProblem } from './adr/request.ts'
import type { CloudAuthority } from './authority.ts'

export interface Est extends AsyncDisposable {
  /** What `issuer.est.server` is to be. */
  readonly url: string
  /** Of every device. */
  readonly password: string
}

interface Answer {
  readonly status: number
  /** PKCS#7 in base64 with 200, a sentence with anything else. */
  readonly body: string
}

const PREFIX = '/.well-known/est/'
const MAX_BODY_BYTES = 64 * 1024

export async function startEst(authority: CloudAuthority, port = 0, address = '127.0.0.1'): Promise<Est> {
  const password = randomBytes(18).toString('base64url')
  const { root, intermediate, server: own, folder } = authority
  const trusted = [intermediate.certificatePem, root.certificatePem]
  const tls = { key: own.keyPem, cert: own.chainPem, ca: trusted, requestCert: true, rejectUnauthorized: false }

  const sign = async (csr: string, commonName: string): Promise<Answer> => {
    const problem = await requestProblem(csr, commonName, 'ecOrRsa')
    if (problem !== undefined) return { status: 400, body: problem }
    return { status: 200, body: await pkcs7Of(folder, await intermediate.sign(armour(csr))) }
  }

  const answer = async (request: IncomingMessage): Promise<Answer> => {
    const operation = request.url?.startsWith(PREFIX) === true ? request.url.slice(PREFIX.length) : ''
    const isGet = request.method === 'GET'
    switch (operation) {
      case 'cacerts':
        return isGet ? { status: 200, body: await pkcs7Of(folder, trusted.join('')) } : NOT_ALLOWED
      case 'csrattrs':
        return isGet ? { status: 204, body: '' } : NOT_ALLOWED
      case 'simpleenroll':
      case 'simplereenroll': {
        if (isGet) return NOT_ALLOWED
        // RFC 7030, 3.3.2 and 4.2.2: by the certificate that is to be replaced, and for its name alone.
        const who = operation === 'simpleenroll' ? (shownBy(request) ?? namedBy(request, password)) : shownBy(request)
        if (who === undefined) return { status: 401, body: 'who asks is not known' }
        if (request.headers['content-type']?.split(';')[0] !== 'application/pkcs10')
          return { status: 415, body: 'the body is no application/pkcs10' }
        const body = await bodyOf(request)
        return body === undefined ? { status: 413, body: 'the request is too large' } : sign(body, who)
      }
      default:
        return { status: 404, body: 'there is no such operation' }
    }
  }

  const server = createServer(tls, (request, response) => {
    answer(request).then(
      (found) => send(response, found),
      (cause: unknown) => send(response, { status: 500, body: String(cause) }),
    )
  })
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, address, () => resolve()))
  return {
    password,
    url: `https://localhost:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

const NOT_ALLOWED: Answer = { status: 405, body: 'not by this method' }

/** The common name of a certificate that the authority has signed and whose dates fit. */
function shownBy(request: IncomingMessage): string | undefined {
  const socket = request.socket as TLSSocket
  if (!socket.authorized) return undefined
  const { CN } = socket.getPeerCertificate().subject
  return typeof CN === 'string' ? CN : undefined
}

/** The user, where the password is right. Source: RFC 7617. */
function namedBy({ headers }: IncomingMessage, password: string): string | undefined {
  const text = Buffer.from(headers.authorization?.replace(/^Basic /, '') ?? '', 'base64').toString()
  const [user = '', ...rest] = text.split(':')
  const [given, right] = [Buffer.from(rest.join(':')), Buffer.from(password)]
  return given.length === right.length && timingSafeEqual(given, right) ? user : undefined
}

/** Base64 without white space, however it was broken into lines. Source: RFC 8951, 2. */
async function bodyOf(request: IncomingMessage): Promise<string | undefined> {
  const parts: Buffer[] = []
  let size = 0
  for await (const part of request as AsyncIterable<Buffer>) {
    size += part.length
    if (size > MAX_BODY_BYTES) return undefined
    parts.push(part)
  }
  return Buffer.concat(parts).toString('latin1').replaceAll(/\s/g, '')
}

function send(response: ServerResponse, { status, body }: Answer): void {
  const type = status === 200 ? 'application/pkcs7-mime; smime-type=certs-only' : 'text/plain'
  const more = {
    ...(status === 200 && { 'content-transfer-encoding': 'base64' }),
    ...(status === 401 && { 'www-authenticate': 'Basic realm="estrealm"' }),
  }
  response.writeHead(status, { 'content-type': type, ...more }).end(body)
}
