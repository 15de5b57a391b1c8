/** A server of EST over real TLS that says what it is told to: for what a well-behaved one does not do. */
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { promisify } from 'node:util'
import { makeKey, makeRequest } from './openssl.ts'
import type { Authority } from './openssl.ts'

const call = promisify(execFile)

/** What a device asked, and with what. */
export interface EstCall {
  readonly operation: string
  readonly authorization: string | undefined
  /** CN of the certificate that was shown. */
  readonly shown: string | undefined
  /** As it came: base64 of the DER. */
  readonly body: string
}

/** What it is answered. */
export interface EstReply {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

export interface EstServer extends AsyncDisposable {
  readonly url: string
  readonly calls: readonly EstCall[]
}

/** @param answer undefined closes the connection without a word */
export async function startEstServer(
  folder: string,
  authority: Authority,
  answer: (call: EstCall) => Promise<EstReply | undefined>,
): Promise<EstServer> {
  const key = await makeKey(`${folder}/est-server.key`)
  const profile = { extensions: 'subjectAltName = DNS:localhost\nextendedKeyUsage = serverAuth' }
  const cert = await authority.sign(await makeRequest(key, '/CN=localhost'), profile)
  const calls: EstCall[] = []
  const options = { key: await readFile(key), cert, requestCert: true, rejectUnauthorized: false }
  const server = createServer(options, (request, response) => {
    void take(request).then(async (each) => {
      calls.push(each)
      const reply = await answer(each)
      if (reply === undefined) return void request.socket.destroy()
      return send(response, reply)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `https://localhost:${(server.address() as AddressInfo).port}`,
    calls,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

async function take(request: IncomingMessage): Promise<EstCall> {
  const parts: Buffer[] = []
  for await (const part of request as AsyncIterable<Buffer>) parts.push(part)
  const shown = (request.socket as TLSSocket).getPeerCertificate().subject as { readonly CN?: string } | undefined
  return {
    operation: request.url?.replace(/^.*\/\.well-known\/est\//, '') ?? '',
    authorization: request.headers.authorization,
    shown: shown?.CN,
    body: Buffer.concat(parts).toString('latin1'),
  }
}

function send(response: ServerResponse, { status, headers = {}, body = '' }: EstReply): void {
  response.writeHead(status, headers).end(body)
}

/** Certificates as a server of EST sends them: PKCS#7 in base64 with line breaks, made by openssl. */
export async function pkcs7Of(folder: string, pem: string): Promise<string> {
  const { stdout } = await call('sh', [
    '-euc',
    'printf "%s" "$2" >"$1/pkcs7.pem"; openssl crl2pkcs7 -nocrl -certfile "$1/pkcs7.pem" -outform DER | base64',
    'sh',
    folder,
    pem,
  ])
  return stdout
}

/** The request that a device sent, as PEM. */
export function requestOfBody(body: string): string {
  const lines = body.replaceAll(/\s/g, '').match(/.{1,64}/g) ?? []
  return `-----BEGIN CERTIFICATE REQUEST-----\n${lines.join('\n')}\n-----END CERTIFICATE REQUEST-----\n`
}
