/** The two listeners: MQTT over TLS, and HTTPS that carries MQTT over WebSocket and the service side. Both choose by SNI. */
import { constants } from 'node:crypto'
import { createServer as createHttpsServer, type Server as HttpsServer } from 'node:https'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { createServer as createTlsServer, type Server as TlsServer, type TLSSocket, type TlsOptions } from 'node:tls'
import { createWebSocketStream, WebSocketServer } from 'ws'

import type { Endpoint, Recorder } from '../model.ts'
import type { Visit } from './house.ts'
import { presentedChain } from './presented.ts'

export interface Listener {
  readonly port: number
  /** Shows this to whoever connects from now on; open connections stay. */
  present(server: { readonly keyPem: string; readonly chainPem: string }): void
  close(): Promise<void>
}

export interface ListenOptions {
  readonly address: string
  /** 0 takes a free port. */
  readonly port: number
  readonly keyPem: string
  readonly chainPem: string
  readonly maxTlsVersion: 'TLSv1.2' | 'TLSv1.3'
  /** The endpoint behind a name of SNI (lower case); undefined for a name that does not exist here. */
  find(serverName: string): Endpoint | undefined
  attach(visit: Visit): void
  readonly recorder: Recorder
}

/** The service side: REST requests for the endpoint of that host. */
export type Service = (request: IncomingMessage, response: ServerResponse, host: string) => Promise<void>

const WEBSOCKET_PATH = '/$iothub/websocket'
const MAX_FRAME_BYTES = 1024 * 1024
const BACKLOG = 4096

export async function listenMqtt(options: ListenOptions): Promise<Listener> {
  const server = createTlsServer(tlsOptions(options), (socket) => {
    const serverName = nameOf(socket)
    const endpoint = options.find(serverName)
    if (endpoint === undefined) return turnAway(socket, serverName, options.recorder)
    options.attach({ stream: socket, endpoint, serverName, chain: presentedChain(socket), transport: 'mqtt' })
  })
  return open(server, options)
}

export async function listenHttps(options: ListenOptions, service: () => Service): Promise<Listener> {
  const webSockets = new WebSocketServer({
    noServer: true,
    maxPayload: MAX_FRAME_BYTES,
    handleProtocols: (offered) => (offered.has('mqtt') ? 'mqtt' : false),
  })
  const server = createHttpsServer(tlsOptions(options), (request, response) => {
    const serverName = nameOf(request.socket as TLSSocket)
    const endpoint = options.find(serverName)
    if (endpoint === undefined) return turnAway(request.socket, serverName, options.recorder)
    service()(request, response, endpoint.host).catch((cause: unknown) => {
      noteRefusal(options.recorder, endpoint.host, `the service side failed: ${textOf(cause)}`)
      response.destroy()
    })
  })
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    const refusal = upgradeProblem(request)
    const serverName = nameOf(socket as TLSSocket)
    const endpoint = options.find(serverName)
    if (endpoint === undefined) return turnAway(socket, serverName, options.recorder)
    socket.on('error', (error) => noteRefusal(options.recorder, endpoint.host, `WebSocket: ${error.message}`))
    if (refusal !== undefined) {
      noteRefusal(options.recorder, endpoint.host, refusal)
      socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n')
      return
    }
    const chain = presentedChain(socket as TLSSocket)
    webSockets.handleUpgrade(request, socket, head, (webSocket) => {
      // Before the stream's own listener, so that nothing of a text frame reaches MQTT.
      webSocket.on('message', (_bytes, isBinary) => {
        if (!isBinary) stream.destroy(new Error('MQTT goes in binary frames, this one is text'))
      })
      const stream = createWebSocketStream(webSocket)
      options.attach({ stream, endpoint, serverName, chain, transport: 'websocket' })
    })
  })
  server.on('clientError', (error: Error, socket: Duplex) => {
    noteRefusal(options.recorder, '', `HTTP: ${error.message}`)
    socket.destroy()
  })
  return open(server, options)
}

/** No tickets and no session cache: TLS 1.2 does not show the client certificate again when a session is resumed. */
function tlsOptions(options: ListenOptions): TlsOptions {
  return {
    key: options.keyPem,
    cert: options.chainPem,
    minVersion: 'TLSv1.2',
    maxVersion: options.maxTlsVersion,
    requestCert: true,
    rejectUnauthorized: false,
    secureOptions: constants.SSL_OP_NO_TICKET,
    handshakeTimeout: 30_000,
    // A front end of the service does not hold back small packets; with Nagle a registration takes seven times as long.
    noDelay: true,
    SNICallback(serverName, done) {
      const known = options.find(serverName.toLowerCase()) !== undefined
      // Without a context of its own the connection takes the server's, which carries every name.
      if (known) done(null)
      else done(new Error(`no endpoint is named ${serverName}`))
    },
  }
}

function upgradeProblem(request: IncomingMessage): string | undefined {
  const path = (request.url ?? '').split('?')[0]
  if (path !== WEBSOCKET_PATH) return `WebSocket on ${path ?? ''}; MQTT is at ${WEBSOCKET_PATH}`
  const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim())
  return offered.includes('mqtt') ? undefined : 'WebSocket without the sub-protocol mqtt'
}

async function open(server: TlsServer | HttpsServer, options: ListenOptions): Promise<Listener> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  server.on('tlsClientError', (error: Error) => noteRefusal(options.recorder, '', `TLS: ${error.message}`))
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen({ port: options.port, host: options.address, backlog: BACKLOG }, () => {
      server.off('error', reject)
      resolve()
    })
  })
  server.on('error', (error: Error) => noteRefusal(options.recorder, '', `listener: ${error.message}`))
  return {
    port: (server.address() as AddressInfo).port,
    present: ({ keyPem, chainPem }) => server.setSecureContext({ key: keyPem, cert: chainPem, minVersion: 'TLSv1.2' }),
    async close() {
      const closed = new Promise((resolve) => server.close(resolve))
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}

function nameOf(socket: TLSSocket): string {
  return typeof socket.servername === 'string' ? socket.servername.toLowerCase() : ''
}

function turnAway(socket: Duplex, serverName: string, recorder: Recorder): void {
  const reason = serverName === '' ? 'TLS without SNI' : `no endpoint is named ${serverName}`
  noteRefusal(recorder, serverName, reason)
  socket.destroy()
}

function noteRefusal(recorder: Recorder, host: string, reason: string): void {
  recorder.add({ kind: 'refused', host, clientId: '', reason })
}

function textOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause)
}
