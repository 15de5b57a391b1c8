import assert from 'node:assert/strict'
import { createServer } from 'node:https'
import type { RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { systemClock } from '../../../agent/system/clock.ts'
import { measureSkew, skewFrom } from '../../../agent/time/measure.ts'
import type { Measurement } from '../../../agent/time/measure.ts'
import { INTERMEDIATE_EXTENSIONS, makeKey, makeRequest, makeRoot, openssl } from '../../kit/openssl.ts'
import type { Profile } from '../../kit/openssl.ts'
import { createFakeClock } from '../../kit/clock.ts'
import { listenTcp, listenTls, makePki } from '../wire/tls-server.ts'
import type { Pair } from '../wire/tls-server.ts'

const HOST = 'time.localhost'
const DAY = 86_400_000
const pki = await makePki()
after(() => pki[Symbol.asyncDispose]())
const ca = pki.servers.certificatePem
const never = new AbortController().signal

const ago = (days: number) => new Date(Date.now() - days * DAY)
const expired: Profile = { notBefore: ago(20), notAfter: ago(10) }
const early: Profile = { notBefore: ago(-10), notAfter: ago(-20) }

/** An answer without the `Date` of the runtime, with this header in its place. */
function answering(headers: Readonly<Record<string, string>>, seen: string[] = []): RequestListener {
  return (request, response) => {
    seen.push(`${request.method} ${request.url} ${request.headers.host?.replace(/:\d+$/, '')}`)
    response.sendDate = false
    response.writeHead(404, headers)
    response.end()
  }
}

const dated = (aheadMs: number) => answering({ date: new Date(Date.now() + aheadMs).toUTCString() })

async function listenHttps(pair: Pair, listener: RequestListener) {
  const server = createServer({ cert: pair.chainPem, key: pair.keyPem }, listener)
  server.on('tlsClientError', () => undefined)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

async function measure(pair: Pair, listener: RequestListener, host = HOST, trusted = ca): Promise<Measurement> {
  await using server = await listenHttps(pair, listener)
  return await measureSkew({ host, port: server.port, ca: trusted }, systemClock, never)
}

/** Whole seconds of the header, and the time that the exchange takes. */
function assertSkew(measurement: Measurement, expectedMs: number, verified: boolean): void {
  assert.equal(measurement.found, 'time', JSON.stringify(measurement))
  assert.equal(measurement.verified, verified)
  assert.ok(Math.abs(measurement.skewMs - expectedMs) <= 2_000, `${measurement.skewMs} instead of ${expectedMs}`)
}

test('the date of a server is measured against our clock, whatever the status of the answer', async () => {
  const pair = await pki.server(HOST)
  assertSkew(await measure(pair, dated(0)), 0, true)
  assertSkew(await measure(pair, dated(3_600_000)), 3_600_000, true)
  assertSkew(await measure(pair, dated(-3_600_000)), -3_600_000, true)
})

test('one HEAD for the root is all that is sent, and no redirect is followed', async () => {
  const seen: string[] = []
  const date = new Date().toUTCString()
  await measure(await pki.server(HOST), answering({ date, location: 'https://other.localhost/' }, seen))
  assert.deepEqual(seen, [`HEAD / ${HOST}`])
})

test('an expired server gives a hint and no more', async () => {
  assertSkew(await measure(await pki.server(HOST, expired), dated(-15 * DAY)), -15 * DAY, false)
})

test('a server that is not valid yet gives a hint and no more', async () => {
  assertSkew(await measure(await pki.server(HOST, early), dated(15 * DAY)), 15 * DAY, false)
})

test('a server behind an intermediate that it sends gives a hint as well', async () => {
  const name = `Servers ${Date.now()}`
  const middle = await pki.servers.makeIntermediate(name, { profile: { extensions: INTERMEDIATE_EXTENSIONS } })
  const keyPath = await makeKey(join(pki.folder, 'behind.key'))
  const leaf = await middle.sign(await makeRequest(keyPath, `/CN=${HOST}`), {
    extensions: `subjectAltName = DNS:${HOST}\nextendedKeyUsage = serverAuth`,
    ...expired,
  })
  const keyPem = await readFile(keyPath, 'utf8')
  assertSkew(await measure({ chainPem: `${leaf}${middle.certificatePem}`, keyPem }, dated(DAY)), DAY, false)
  const alone = await measure({ chainPem: leaf, keyPem }, dated(DAY))
  assert.equal(alone.found, 'nothing')
})

const impostors: readonly (readonly [name: string, make: () => Promise<Pair>])[] = [
  ['of another authority', () => pki.device(HOST, { extensions: `subjectAltName = DNS:${HOST}` })],
  [
    'of another authority, and expired',
    () => pki.device(HOST, { extensions: `subjectAltName = DNS:${HOST}`, ...expired }),
  ],
  ['of another name', () => pki.server('other.localhost')],
  ['of another name, and expired', () => pki.server('other.localhost', expired)],
  [
    'for clients, and expired',
    () => pki.server(HOST, { extensions: `subjectAltName = DNS:${HOST}\nextendedKeyUsage = clientAuth`, ...expired }),
  ],
  [
    'for clients',
    () => pki.server(HOST, { extensions: `subjectAltName = DNS:${HOST}\nextendedKeyUsage = clientAuth` }),
  ],
  ['self-made', () => selfMade('self', {})],
  ['self-made, and expired', () => selfMade('self-expired', expired)],
  ['of an authority of the right name but another key, and expired', () => ofNamesake()],
  ['signed by a leaf that is no authority, and expired', () => belowLeaf()],
  ['below an authority that may have none below it', () => tooDeep()],
]

async function selfMade(file: string, profile: Profile): Promise<Pair> {
  const extensions = `basicConstraints = CA:TRUE\nsubjectAltName = DNS:${HOST}\nextendedKeyUsage = serverAuth`
  const root = await makeRoot(pki.folder, file, { profile: { extensions, ...profile } })
  return { chainPem: root.certificatePem, keyPem: await readFile(root.keyPath, 'utf8') }
}

async function ofNamesake(): Promise<Pair> {
  await using other = await makePki()
  // Without the identifier of the authority's key, so that only the signature tells the two apart.
  const extensions = `subjectAltName = DNS:${HOST}\nextendedKeyUsage = serverAuth\nauthorityKeyIdentifier = none`
  return await other.server(HOST, { extensions, ...expired })
}

async function belowLeaf(): Promise<Pair> {
  const above = await pki.server('above.localhost')
  const file = (name: string) => join(pki.folder, name)
  await writeFile(file('above.pem'), above.chainPem)
  await writeFile(file('above.key'), above.keyPem)
  await makeKey(file('below.key'))
  await writeFile(file('below.csr'), await makeRequest(file('below.key'), `/CN=${HOST}`))
  await writeFile(file('below.ext'), `subjectAltName = DNS:${HOST}\nextendedKeyUsage = serverAuth`)
  const leaf = await openssl([
    ...['x509', '-req', '-in', file('below.csr'), '-CA', file('above.pem'), '-CAkey', file('above.key')],
    ...['-set_serial', '77', '-days', '-1', '-extfile', file('below.ext')],
  ])
  return { chainPem: `${leaf}${above.chainPem}`, keyPem: await readFile(file('below.key'), 'utf8') }
}

/** What this agent itself does not look at, and OpenSSL does. */
async function tooDeep(): Promise<Pair> {
  const upper = await pki.servers.makeIntermediate('upper')
  const lower = await upper.makeIntermediate('lower')
  const keyPath = await makeKey(join(pki.folder, 'deep.key'))
  const extensions = `subjectAltName = DNS:${HOST}\nextendedKeyUsage = serverAuth`
  const leaf = await lower.sign(await makeRequest(keyPath, `/CN=${HOST}`), { extensions })
  const chainPem = `${leaf}${lower.certificatePem}${upper.certificatePem}`
  return { chainPem, keyPem: await readFile(keyPath, 'utf8') }
}

for (const [name, make] of impostors) {
  test(`a server with a certificate ${name} is not asked`, async () => {
    const seen: string[] = []
    const measurement = await measure(await make(), answering({ date: new Date().toUTCString() }, seen))
    assert.equal(measurement.found, 'nothing')
    assert.match(measurement.reason, /not to be trusted|another name/)
    assert.deepEqual(seen, [])
  })
}

test('a switched-off verification in the environment changes nothing', async () => {
  process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0'
  try {
    const measurement = await measure(await pki.device(HOST, { extensions: `subjectAltName = DNS:${HOST}` }), dated(0))
    assert.equal(measurement.found, 'nothing')
    assert.match(measurement.reason, /not to be trusted/)
  } finally {
    delete process.env['NODE_TLS_REJECT_UNAUTHORIZED']
  }
})

test('without authorities of the configuration those of the runtime are asked, for expired servers too', async () => {
  await using server = await listenHttps(await pki.server(HOST, expired), dated(0))
  const measurement = await measureSkew({ host: HOST, port: server.port }, systemClock, never)
  assert.equal(measurement.found, 'nothing')
  assert.match(measurement.reason, /not to be trusted: CERT_HAS_EXPIRED, and its chain/)
})

const undatable: readonly (readonly [name: string, headers: Readonly<Record<string, string>>])[] = [
  ['no date', {}],
  ['a date that is none', { date: 'today' }],
  ['a date of no known zone', { date: 'Sun Nov  6 08:49:37 1994' }],
  ['a date in ISO form', { date: '1994-11-06T08:49:37Z' }],
  ['a date of a day that is not', { date: 'Sun, 99 Nov 1994 08:49:37 GMT' }],
  ['an answer out of a cache', { date: new Date().toUTCString(), age: '600' }],
]

for (const [name, headers] of undatable) {
  test(`${name} is no measurement`, async () => {
    const measurement = await measure(await pki.server(HOST), answering(headers))
    assert.deepEqual(measurement, { found: 'nothing', reason: 'the answer has no date' })
  })
}

test('the skew counts half of the round trip, and half of the second that the header cuts off', () => {
  const date = 'Sun, 06 Nov 1994 08:49:37 GMT'
  const dateMs = Date.UTC(1994, 10, 6, 8, 49, 37)
  // Sent 4 s before it came; the server wrote it 2 s ago, somewhere within that second.
  assert.equal(skewFrom({ date }, dateMs + 10_000, 4_000), -10_000 + 2_000 + 500)
})

test('a closed port, an unknown name and a server that hangs up are no measurement', async () => {
  const closed = await listenTcp(undefined)
  await closed[Symbol.asyncDispose]()
  assert.equal((await measureSkew({ host: HOST, port: closed.port, ca }, systemClock, never)).found, 'nothing')
  await using rude = await listenTcp(undefined, true)
  assert.equal((await measureSkew({ host: HOST, port: rude.port, ca }, systemClock, never)).found, 'nothing')
  await using cut = await listenTls(await pki.server(HOST), {}, (socket) => socket.destroy())
  assert.equal((await measureSkew({ host: HOST, port: cut.port, ca }, systemClock, never)).found, 'nothing')
  await using garbled = await listenTls(await pki.server(HOST), {}, (socket) => socket.end('220 smtp\r\n'))
  assert.equal((await measureSkew({ host: HOST, port: garbled.port, ca }, systemClock, never)).found, 'nothing')
})

test('a server that never answers is given up after ten seconds, before and after the handshake', async () => {
  await using mute = await listenTcp(undefined)
  await using deaf = await listenTls(await pki.server(HOST), {})
  for (const { port } of [mute, deaf]) {
    const clock = createFakeClock()
    const measuring = measureSkew({ host: HOST, port, ca }, clock, never)
    await clock.waiting()
    assert.deepEqual(clock.pending(), [10_000])
    await clock.advance(10_000)
    assert.equal((await measuring).found, 'nothing')
    assert.deepEqual(clock.pending(), [])
  }
})

test('an aborted measurement rejects with the reason and leaves no timer', async () => {
  await using mute = await listenTcp(undefined)
  const clock = createFakeClock()
  const stop = new AbortController()
  const measuring = measureSkew({ host: HOST, port: mute.port, ca }, clock, stop.signal)
  const reason = new Error('stopped')
  await clock.waiting()
  stop.abort(reason)
  await assert.rejects(measuring, reason)
  assert.deepEqual(clock.pending(), [])
})
