import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, before, test } from 'node:test'
import type { TestContext } from 'node:test'
import { setInterval } from 'node:timers/promises'
import tls from 'node:tls'
import type { TlsOptions, TLSSocket } from 'node:tls'
import mqttPacket from 'mqtt-packet'
import type { Failure } from '../../../agent/failure.ts'
import { openSession } from '../../../agent/hub/session.ts'
import type { Session, SessionOptions } from '../../../agent/hub/session.ts'
import { systemClock } from '../../../agent/system/clock.ts'
import { loadTlsIdentity } from '../../../agent/wire/credential.ts'
import { createWire } from '../../../agent/wire/wire.ts'
import type { WireOptions } from '../../../agent/wire/wire.ts'
import { listenOpenssl, listenTcp, listenTls, makePki } from './tls-server.ts'
import type { DevicePair, Listening, Pair, Pki } from './tls-server.ts'

let pki: Pki
let server: Pair
let device: DevicePair

before(async () => {
  pki = await makePki()
  server = await pki.server('hub.localhost')
  device = await pki.device('edge-1')
})
after(() => pki[Symbol.asyncDispose]())

interface Roots {
  readonly ca?: string | undefined
}

/** Connects as the agent does and gives the diagnosis back. */
async function failureAgainst(port: number, credential = device, roots: Roots = {}): Promise<Failure> {
  return open(port, { credential, ...roots }).then(
    () => assert.fail('the session opened'),
    (error: Failure) => error,
  )
}

type Changes = Partial<Pick<SessionOptions, 'credential' | 'keepAliveSeconds'>> & Roots

function open(port: number, changes: Changes = {}): Promise<Session> {
  const { ca, ...options } = {
    host: `hub.localhost:${port}`,
    deviceId: 'edge-1',
    credential: device,
    ca: pki.servers.certificatePem,
    keepAliveSeconds: 30,
    clock: systemClock,
    productInfo: 'test',
    connectTimeoutMs: 2_000,
    ...changes,
  }
  return openSession(ca === undefined ? options : { ...options, ca })
}

type Visit = (socket: TLSSocket) => void

async function diagnosis(context: TestContext, pair: Pair, options: TlsOptions = {}, visit?: Visit): Promise<Failure> {
  const listening: Listening = await listenTls(pair, options, visit)
  context.after(() => listening[Symbol.asyncDispose]())
  return failureAgainst(listening.port)
}

test('a certificate of an authority that is not trusted is TLS_SERVER_UNTRUSTED', async (t) => {
  const listening = await listenTls(server, {})
  t.after(() => listening[Symbol.asyncDispose]())
  const failure = await failureAgainst(listening.port, device, { ca: pki.devices.certificatePem })
  assert.equal(failure.code, 'TLS_SERVER_UNTRUSTED')
})

test('without a CA file the roots of the runtime decide', async (t) => {
  const listening = await listenTls(server, {})
  t.after(() => listening[Symbol.asyncDispose]())
  const failure = await failureAgainst(listening.port, device, { ca: undefined })
  assert.equal(failure.code, 'TLS_SERVER_UNTRUSTED')
})

test('no variable of the environment switches the check of the server off', async (t) => {
  const listening = await listenTls(server, {})
  t.after(() => listening[Symbol.asyncDispose]())
  const name = 'NODE_TLS_REJECT_UNAUTHORIZED'
  t.after(() => {
    delete process.env[name]
  })
  process.env[name] = '0'
  const failure = await failureAgainst(listening.port, device, { ca: pki.devices.certificatePem })
  assert.equal(failure.code, 'TLS_SERVER_UNTRUSTED')
  const misnamed = await pki.server('portal.example')
  assert.equal((await diagnosis(t, misnamed)).code, 'TLS_SERVER_NAME')
})

test('an expired and a future server certificate are TLS_SERVER_DATES', async (t) => {
  const day = 86_400_000
  const past = { notBefore: new Date(Date.now() - 3 * day), notAfter: new Date(Date.now() - day) }
  const future = { notBefore: new Date(Date.now() + day), notAfter: new Date(Date.now() + 3 * day) }
  for (const dates of [past, future]) {
    const pair = await pki.server('hub.localhost', {
      extensions: 'subjectAltName = DNS:hub.localhost',
      ...dates,
    })
    assert.equal((await diagnosis(t, pair)).code, 'TLS_SERVER_DATES')
  }
})

test('a server certificate for another name is TLS_SERVER_NAME', async (t) => {
  const pair = await pki.server('portal.example')
  assert.equal((await diagnosis(t, pair)).code, 'TLS_SERVER_NAME')
})

for (const version of ['-tls1_2', '-tls1_3'] as const) {
  test(`an alert about an unknown authority is TLS_CREDENTIAL_REFUSED (${version})`, async (t) => {
    const listening = await listenOpenssl(pki, server, pki.servers, version)
    t.after(() => listening[Symbol.asyncDispose]())
    const failure = await failureAgainst(listening.port)
    assert.equal(failure.code, 'TLS_CREDENTIAL_REFUSED', `${failure.message} ${String(failure.context.raw)}`)
  })

  test(`an alert about an expired certificate is TLS_CREDENTIAL_REFUSED (${version})`, async (t) => {
    const expired = await pki.device('edge-1', {
      notBefore: new Date(Date.now() - 7_200_000),
      notAfter: new Date(Date.now() - 3_600_000),
    })
    const listening = await listenOpenssl(pki, server, pki.devices, version)
    t.after(() => listening[Symbol.asyncDispose]())
    const failure = await failureAgainst(listening.port, expired)
    assert.equal(failure.code, 'TLS_CREDENTIAL_REFUSED', `${failure.message} ${String(failure.context.raw)}`)
  })
}

test('a server that destroys the connection in the middle of the handshake is TLS_FAILED, not a verdict', async (t) => {
  const demanding = { requestCert: true, rejectUnauthorized: true, maxVersion: 'TLSv1.2' } as const
  assert.equal((await diagnosis(t, server, demanding)).code, 'TLS_FAILED')
})

test('something that does not speak TLS is TLS_FAILED, whether it talks or closes', async (t) => {
  for (const listening of [await listenTcp('SSH-2.0-OpenSSH_9.2\r\n'), await listenTcp(undefined, true)]) {
    t.after(() => listening[Symbol.asyncDispose]())
    assert.equal((await failureAgainst(listening.port)).code, 'TLS_FAILED')
  }
})

test('a server of nothing but TLS 1.1 is TLS_FAILED', async (t) => {
  const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' } as const
  assert.equal((await diagnosis(t, server, old)).code, 'TLS_FAILED')
})

test('TLS 1.1 is refused even where the runtime would allow it', async (t) => {
  const { DEFAULT_MIN_VERSION, DEFAULT_CIPHERS } = tls
  t.after(() => Object.assign(tls, { DEFAULT_MIN_VERSION, DEFAULT_CIPHERS }))
  Object.assign(tls, { DEFAULT_MIN_VERSION: 'TLSv1', DEFAULT_CIPHERS: 'DEFAULT@SECLEVEL=0' })
  const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' } as const
  const failure = await diagnosis(t, server, old)
  assert.equal(failure.code, 'TLS_FAILED')
})

test('a port where nobody listens is NETWORK_REFUSED', async () => {
  const listening = await listenTcp(undefined)
  await listening[Symbol.asyncDispose]()
  assert.equal((await failureAgainst(listening.port)).code, 'NETWORK_REFUSED')
})

test('a close right after the handshake is HUB_CLOSED_EARLY and no verdict on the credential', async (t) => {
  const failure = await diagnosis(t, server, {}, (socket) => socket.destroy())
  assert.equal(failure.code, 'HUB_CLOSED_EARLY')
  assert.equal(failure.kind, 'transient')
})

test('an answer that is not MQTT is HUB_BAD_ANSWER', async (t) => {
  const failure = await diagnosis(t, server, {}, (socket) => socket.write(Buffer.alloc(8, 0xff)))
  assert.equal(failure.code, 'HUB_BAD_ANSWER')
})

test('each return code of CONNACK has its own diagnosis', async (t) => {
  const codes = {
    1: 'HUB_PROTOCOL',
    2: 'HUB_PROTOCOL',
    3: 'HUB_BUSY',
    4: 'HUB_REFUSED_CREDENTIAL',
    5: 'HUB_REFUSED_CREDENTIAL',
  }
  for (const [returnCode, expected] of Object.entries(codes)) {
    const connack = Buffer.from([0x20, 0x02, 0x00, Number(returnCode)])
    const failure = await diagnosis(t, server, {}, (socket) => socket.end(connack))
    assert.equal(failure.code, expected)
  }
})

test('a server that secures and then says nothing is HUB_NO_ANSWER, and no socket is left', async (t) => {
  const sockets: TLSSocket[] = []
  const listening = await listenTls(server, {}, (socket) => sockets.push(socket))
  t.after(() => listening[Symbol.asyncDispose]())
  const failure = await failureAgainst(listening.port)
  assert.equal(failure.code, 'HUB_NO_ANSWER')
  const [socket] = sockets
  assert.ok(socket)
  if (!socket.destroyed) await new Promise((resolve) => socket.once('close', resolve))
})

test('the first query carries the name without its port as SNI', async (t) => {
  let name: unknown
  await diagnosis(t, server, {}, (socket) => {
    name = (socket as unknown as { servername: string }).servername
    socket.destroy()
  })
  assert.equal(name, 'hub.localhost')
})

test('a half-open connection is noticed after an unanswered ping, as HUB_NO_ANSWER', async (t) => {
  const accepts = Buffer.from([0x20, 0x02, 0x00, 0x00])
  const listening = await listenTls(server, {}, (socket) => socket.write(accepts))
  t.after(() => listening[Symbol.asyncDispose]())
  const session = await open(listening.port, { keepAliveSeconds: 1 })
  const failure = await session.ended
  assert.equal(failure.code, 'HUB_NO_ANSWER')
  assert.equal(failure.context.phase, 'open')
})

test('a half-open connection is noticed as soon when messages are being sent', async (t) => {
  const accepts = Buffer.from([0x20, 0x02, 0x00, 0x00])
  const listening = await listenTls(server, {}, (socket) => socket.write(accepts))
  t.after(() => listening[Symbol.asyncDispose]())
  const session = await open(listening.port, { keepAliveSeconds: 1 })
  t.after(() => session[Symbol.asyncDispose]())
  let over = false
  void session.ended.then(() => (over = true))
  const sent: Promise<unknown>[] = []
  for await (const _tick of setInterval(50)) {
    if (over || sent.length === 80) break
    const types = { contentType: 'application/json', contentEncoding: 'utf-8' } as const
    sent.push(session.send({ body: '{}', messageId: String(sent.length), ...types }).catch((error: unknown) => error))
  }
  assert.ok(over, 'four seconds of sending into nothing were not noticed')
  assert.equal((await session.ended).code, 'HUB_NO_ANSWER')
  for (const outcome of await Promise.all(sent)) assert.equal((outcome as Failure).code, 'HUB_NO_ANSWER')
})

/** A wire without the SDK's transports above it. */
async function bareWire(context: TestContext, receive: WireOptions['receive'], visit?: Visit) {
  const accepts = Buffer.from([0x20, 0x02, 0x00, 0x00])
  const listening = await listenTls(server, {}, (socket) => {
    socket.write(accepts)
    visit?.(socket)
  })
  context.after(() => listening[Symbol.asyncDispose]())
  const wire = createWire({
    endpoint: 'hub',
    address: { host: 'hub.localhost', port: listening.port },
    context: loadTlsIdentity(device, pki.servers.certificatePem).context,
    keepAliveSeconds: 30,
    clock: systemClock,
    receive,
  })
  context.after(() => wire.kill())
  const config = { uri: 'mqtts://x', clientId: 'edge-1', username: 'x', x509: { cert: 'x', key: 'x' } }
  await new Promise<void>((resolve, reject) => {
    wire.base.connect(config, (error) => (error === undefined || error === null ? resolve() : reject(error)))
  })
  return wire
}

test('no small packet waits for the acknowledgement of the one before', async (t) => {
  const wire = await bareWire(t, () => undefined)
  const { stream } = wire.live() as unknown as { stream: TLSSocket }
  const state = Object.getOwnPropertySymbols(stream).find(({ description }) => description === 'kSetNoDelay')
  assert.ok(state, 'Node keeps the state of TCP_NODELAY elsewhere by now')
  assert.equal((stream as unknown as Record<symbol, unknown>)[state], true)
})

test('a message that cannot be handled ends the connection and not the process', async (t) => {
  const publish = mqttPacket.generate({ cmd: 'publish', topic: 'x', payload: 'x', qos: 0, dup: false, retain: false })
  const defect = new RangeError('Maximum call stack size exceeded')
  const wire = await bareWire(
    t,
    () => {
      throw defect
    },
    (socket) => socket.write(publish),
  )
  await wire.closed
  assert.equal(wire.failure().code, 'UNEXPECTED')
  assert.equal(wire.failure().cause, defect)
})

/** What a hub that has lost its mind may send: every packet type with every flag, with bodies of all sorts. */
function* madPackets(): Generator<Buffer> {
  const bodies = [[], [0], [0, 0], [0, 1], [0xff, 0xff], [0, 1, 0x78], [0, 0, 0x80], [0, 1, 0x80, 0x80, 3]]
  for (let first = 0; first < 256; first += 1) {
    for (const body of bodies) yield Buffer.from([first, body.length, ...body])
    yield Buffer.concat([Buffer.from([first, 40]), randomBytes(40)])
  }
}

test('whatever a hub sends, the session lives on or ends with a diagnosis', async (t) => {
  const accepts = Buffer.from([0x20, 0x02, 0x00, 0x00])
  const packets = [...madPackets()]
  const listening = await listenTls(server, {}, (socket) => {
    socket.write(accepts)
    socket.end(Buffer.concat(packets.splice(0, 6)))
  })
  t.after(() => listening[Symbol.asyncDispose]())
  while (packets.length > 0) {
    const failure = await open(listening.port).then(
      async (session) => {
        await Promise.allSettled([session.readTwin()])
        return session.ended
      },
      (error: unknown) => error as Failure,
    )
    assert.match(failure.code, /^(HUB|NETWORK|TWIN)_/, failure.message)
  }
})

test('closing towards a frozen server takes half a second and no longer', async (t) => {
  const accepts = Buffer.from([0x20, 0x02, 0x00, 0x00])
  const listening = await listenTls(server, { allowHalfOpen: true }, (socket) => {
    socket.write(accepts)
    socket.pause()
  })
  t.after(() => listening[Symbol.asyncDispose]())
  const session = await open(listening.port)
  const startedMs = performance.now()
  await session[Symbol.asyncDispose]()
  const tookMs = performance.now() - startedMs
  assert.ok(tookMs > 400 && tookMs < 1_000, `${tookMs} ms`)
  assert.equal((await session.ended).code, 'SESSION_CLOSED')
})
