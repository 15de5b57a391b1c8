/** Small TLS servers that misbehave, for raw errors as Node and OpenSSL really give them. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer as createTcpServer } from 'node:net'
import type { AddressInfo, Server } from 'node:net'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createServer as createTlsServer } from 'node:tls'
import type { TlsOptions, TLSSocket } from 'node:tls'
import { makeKey, makeRequest, makeRoot, makeTemporaryFolder } from '../../kit/openssl.ts'
import type { Authority, OpensslKey, Profile } from '../../kit/openssl.ts'

export interface Pair {
  readonly chainPem: string
  readonly keyPem: string
}

/** A pair as a device presents it. */
export type DevicePair = Pair & { readonly lane: 'x509' }

/** Two authorities, one for servers and one for devices, in a folder that goes with them. */
export interface Pki extends AsyncDisposable {
  readonly folder: string
  readonly servers: Authority
  readonly devices: Authority
  server(names: string, profile?: Profile): Promise<Pair>
  device(name: string, profile?: Profile, key?: OpensslKey): Promise<DevicePair>
}

export async function makePki(): Promise<Pki> {
  const folder = await makeTemporaryFolder()
  const servers = await makeRoot(folder.path, 'Server Root')
  const devices = await makeRoot(folder.path, 'Device Root')
  let made = 0
  const issue = async (authority: Authority, name: string, profile: Profile, key?: OpensslKey): Promise<Pair> => {
    made += 1
    const keyPath = await makeKey(join(folder.path, `${made}.key`), key)
    const chainPem = await authority.sign(await makeRequest(keyPath, `/CN=${name}`), profile)
    return { chainPem, keyPem: await readFile(keyPath, 'utf8') }
  }
  return {
    folder: folder.path,
    servers,
    devices,
    server: (name, profile = {}) =>
      issue(servers, name, { extensions: `subjectAltName = DNS:${name}\nextendedKeyUsage = serverAuth`, ...profile }),
    device: async (name, profile = {}, key) => ({ ...(await issue(devices, name, profile, key)), lane: 'x509' }),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  }
}

export interface Listening extends AsyncDisposable {
  readonly port: number
}

/** A TLS server with this pair; every secured socket goes to `visit`. */
export function listenTls(
  pair: Pair,
  options: TlsOptions,
  visit: (socket: TLSSocket) => void = () => undefined,
): Promise<Listening> {
  const server = createTlsServer({ cert: pair.chainPem, key: pair.keyPem, ...options }, (socket) => {
    socket.on('error', ignore)
    socket.resume()
    visit(socket)
  })
  server.on('tlsClientError', ignore)
  return listen(server)
}

/** A TCP server that says `greeting` at once. */
export function listenTcp(greeting: string | undefined, end = false): Promise<Listening> {
  return listen(
    createTcpServer((socket) => {
      socket.on('error', ignore)
      if (greeting !== undefined) socket.write(greeting)
      if (end) socket.destroy()
    }),
  )
}

/** `openssl s_server` that demands a client certificate below `authority` and says why not with a TLS alert. */
export async function listenOpenssl(
  pki: Pki,
  pair: Pair,
  authority: Authority,
  version: '-tls1_2' | '-tls1_3',
): Promise<Listening> {
  const file = (name: string) => join(pki.folder, name)
  await writeFile(file('s_server.pem'), pair.chainPem)
  await writeFile(file('s_server.key'), pair.keyPem)
  const credential = ['-cert', file('s_server.pem'), '-key', file('s_server.key'), '-CAfile', authority.certificatePath]
  const child = spawn('openssl', [
    's_server',
    '-accept',
    '127.0.0.1:0',
    '-Verify',
    '1',
    '-verify_return_error',
    version,
    ...credential,
  ])
  const exited = once(child, 'exit')
  child.stderr.resume()
  let said = ''
  let match: RegExpExecArray | null = null
  while (match === null) {
    const [chunk] = (await once(child.stdout, 'data')) as [Buffer]
    said += String(chunk)
    match = /ACCEPT \S*:(\d+)\s/.exec(said)
  }
  const port = Number(match[1])
  child.stdout.resume()
  return {
    port,
    async [Symbol.asyncDispose]() {
      child.kill()
      await exited
    },
  }
}

async function listen(server: Server): Promise<Listening> {
  const sockets = new Set<{ destroy(): void }>()
  server.on('connection', (socket: { destroy(): void }) => sockets.add(socket))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve))
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}

/** Errors on the server's side are what these tests provoke. */
function ignore(): void {
  return undefined
}
