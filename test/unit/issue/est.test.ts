import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import test, { after, before } from 'node:test'
import * as fc from 'fast-check'
import { Failure } from '../../../agent/failure.ts'
import { exchangeEst } from '../../../agent/issue/est/client.ts'
import type { EstIdentity } from '../../../agent/issue/est/client.ts'
import { createEstIssuer } from '../../../agent/issue/est/issuer.ts'
import { certificatesOf } from '../../../agent/issue/est/pkcs7.ts'
import { systemClock } from '../../../agent/system/clock.ts'
import { createFakeClock } from '../../kit/clock.ts'
import { eventually } from '../../kit/device.ts'
import { pkcs7Of, requestOfBody, startEstServer } from '../../kit/est-server.ts'
import type { EstCall, EstReply } from '../../kit/est-server.ts'
import { makeKey, makeRequest, makeRoot, makeTemporaryFolder } from '../../kit/openssl.ts'
import type { Authority } from '../../kit/openssl.ts'

let folder: Awaited<ReturnType<typeof makeTemporaryFolder>>
let root: Authority
let intermediate: Authority
let request: { readonly registrationId: string; readonly csrPem: string }
let chain: string

before(async () => {
  folder = await makeTemporaryFolder()
  root = await makeRoot(folder.path, 'EST Root')
  intermediate = await root.makeIntermediate('EST Intermediate')
  const csrPem = await makeRequest(await makeKey(`${folder.path}/device.key`), '/CN=edge-0042')
  request = { registrationId: 'edge-0042', csrPem }
  chain = await intermediate.sign(csrPem)
})
after(() => folder[Symbol.asyncDispose]())

test('the certificates of a PKCS#7 come out as they went in, with line breaks, without them, and with armour', async () => {
  const body = await pkcs7Of(folder.path, chain + intermediate.certificatePem)
  const expected = [chain, intermediate.certificatePem].map((pem) => new X509Certificate(pem).fingerprint256)
  const armoured = `-----BEGIN PKCS7-----\n${body}-----END PKCS7-----\n`
  for (const form of [body, body.replaceAll('\n', ''), body.replaceAll('\n', '\r\n'), armoured]) {
    const pems = await certificatesOf(form)
    assert.deepEqual(
      pems.map((pem) => new X509Certificate(pem).fingerprint256),
      expected,
    )
  }
})

test('whatever else a server sends is refused by name, and nothing is worse than that', async () => {
  const good = Buffer.from(await pkcs7Of(folder.path, chain), 'base64')
  const nested = Buffer.concat(Array.from({ length: 4000 }, () => Buffer.from('30820fff', 'hex')))
  const known = [
    '',
    '!',
    'AAAA',
    good.subarray(0, 200).toString('base64'),
    nested.toString('base64'),
    Buffer.from(chain).toString('base64'),
  ]
  for (const body of known)
    await assert.rejects(
      certificatesOf(body),
      (error) => error instanceof Failure && error.code === 'ISSUER_ANSWER_INVALID',
    )
  await fc.assert(
    fc.asyncProperty(fc.nat(good.length - 1), fc.nat(255), async (at, byte) => {
      const bent = Buffer.from(good)
      bent[at] = byte
      await certificatesOf(bent.toString('base64')).catch((error: unknown) =>
        assert.ok(error instanceof Failure, String(error)),
      )
    }),
    { numRuns: 300 },
  )
})

/** An issuer beside a server that answers in this order, and then as the last. */
async function setUp(
  answers: readonly ((call: EstCall) => Promise<EstReply | undefined>)[],
  identities: { readonly present?: EstIdentity; readonly bootstrap?: EstIdentity } = {},
  attributes: EstReply = { status: 204 },
) {
  let count = 0
  const server = await startEstServer(folder.path, root, async (call) => {
    if (call.operation.endsWith('cacerts'))
      return { status: 200, body: await pkcs7Of(folder.path, intermediate.certificatePem + root.certificatePem) }
    if (call.operation.endsWith('csrattrs')) return attributes
    const answer = answers[Math.min(count, answers.length - 1)]
    count += 1
    return answer?.(call)
  })
  const clock = createFakeClock()
  const warnings: Failure[] = []
  const issuer = createEstIssuer({
    server: () => Promise.resolve({ url: server.url, label: 'devices', caPem: root.certificatePem }),
    present: () => Promise.resolve(identities.present?.by === 'certificate' ? identities.present : undefined),
    bootstrap: () => Promise.resolve(identities.bootstrap),
    ...{ clock, random: () => 1, warn: (failure: Failure) => void warnings.push(failure) },
  })
  /** Waits until the issuer waits, with nothing on its way. */
  const resting = async (calls: number) => {
    while (server.calls.length < calls || (clock.pending()[0] ?? 0) === 30_000)
      await new Promise((resolve) => setImmediate(resolve))
    await clock.waiting()
  }
  const enrolments = () => server.calls.filter(({ operation }) => !/(cacerts|csrattrs)$/.test(operation))
  return {
    issuer,
    clock,
    warnings,
    server,
    resting,
    enrolments,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}

const signs = async ({ body }: EstCall): Promise<EstReply> => ({
  status: 200,
  body: await pkcs7Of(folder.path, await intermediate.sign(requestOfBody(body))),
})
const says =
  (status: number, more: Partial<EstReply> = {}) =>
  () =>
    Promise.resolve({ status, ...more })
const within = () => AbortSignal.timeout(20_000)
const password: EstIdentity = { by: 'password', user: 'press-07', password: 'open:sesame' }

async function maker(): Promise<EstIdentity> {
  const key = await makeKey(`${folder.path}/maker.key`)
  return {
    by: 'certificate',
    chainPem: await root.sign(await makeRequest(key, '/CN=from-the-maker')),
    keyPem: await readFile(key, 'utf8'),
  }
}

test('a device without a certificate shows its password, and gets leaf and intermediate, without the root', async () => {
  await using bench = await setUp([signs], { bootstrap: password })
  const pem = await bench.issuer.issue(request, within())
  const subjects = pem.split(/(?<=-----END CERTIFICATE-----\n)/).map((each) => new X509Certificate(each).subject)
  assert.deepEqual(subjects, ['CN=edge-0042', 'CN=EST Intermediate'])
  const [call] = bench.enrolments()
  assert.equal(call?.operation, 'devices/simpleenroll')
  // Source: RFC 7617, section 2: the first colon ends the name.
  assert.equal(call?.authorization, `Basic ${Buffer.from('press-07:open:sesame').toString('base64')}`)
})

test('a device with a certificate shows that, and no password', async () => {
  await using bench = await setUp([signs], { present: await maker(), bootstrap: password })
  await bench.issuer.issue(request, within())
  const [call] = bench.enrolments()
  assert.deepEqual(
    [call?.operation, call?.shown, call?.authorization],
    ['devices/simplereenroll', 'from-the-maker', undefined],
  )
})

test('where the server refuses the certificate in use, the device enrols as it did at first', async () => {
  await using bench = await setUp([says(403), signs], { present: await maker(), bootstrap: password })
  await bench.issuer.issue(request, within())
  assert.deepEqual(
    bench.enrolments().map(({ operation }) => operation),
    ['devices/simplereenroll', 'devices/simpleenroll'],
  )
  assert.deepEqual(bench.warnings, [])
})

/** A port that nobody listens on at this moment. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

test('a server that refuses the certificate in the handshake has refused it, and is not out of reach', async () => {
  const stranger = await makeRoot(folder.path, 'Authority of other devices')
  const port = await freePort()
  const key = await makeKey(`${folder.path}/refusing.key`)
  const profile = { extensions: 'subjectAltName = DNS:localhost\nextendedKeyUsage = serverAuth' }
  await writeFile(`${folder.path}/refusing.pem`, await root.sign(await makeRequest(key, '/CN=localhost'), profile))
  const server = spawn('openssl', [
    ...['s_server', '-accept', `127.0.0.1:${port}`, '-quiet', '-verify', '1', '-verify_return_error'],
    ...['-CAfile', stranger.certificatePath, '-cert', `${folder.path}/refusing.pem`, '-key', key],
  ])
  const ended = once(server, 'exit')
  const asked = async () => {
    const est = { url: `https://localhost:${port}`, caPem: root.certificatePem }
    const asks = exchangeEst(est, 'simplereenroll', { csrBase64: 'AA', identity: await maker() }, systemClock, within())
    return asks.then(
      () => assert.fail('it answered'),
      (error: unknown) => error,
    )
  }
  try {
    const failure = await eventually(async () => {
      const error = await asked()
      assert.ok(error instanceof Failure)
      return error.message.includes('ECONNREFUSED') ? undefined : error
    })
    assert.equal(failure.code, 'ISSUER_REFUSED', failure.message)
  } finally {
    server.kill()
    await ended
  }
})

test('what a server repeats of a password is not told', async () => {
  const said = Buffer.from('press-07:open:sesame').toString('base64')
  await using bench = await setUp([says(401, { body: `bad auth: Basic ${said}, and no more` })], {
    bootstrap: password,
  })
  const stop = new AbortController()
  const issued = bench.issuer.issue(request, stop.signal)
  await bench.resting(2)
  stop.abort()
  await assert.rejects(issued)
  assert.match(bench.warnings.at(-1)?.message ?? '', /bad auth: Basic \*\*\* and no more$/)
})

test('a server that decides later is told of once, and asked again when it says, and not before', async () => {
  const later = says(202, { headers: { 'retry-after': '600' } })
  await using bench = await setUp([later, later, signs], { bootstrap: password })
  const issued = bench.issuer.issue(request, within())
  await bench.resting(2)
  assert.deepEqual(bench.clock.pending(), [600_000])
  await bench.clock.advance(600_000)
  await bench.clock.waiting(600_000)
  await bench.clock.advance(600_000)
  assert.match(await issued, /BEGIN CERTIFICATE/)
  assert.deepEqual(
    bench.warnings.map(({ code, message }) => [code, message.replace(bench.server.url, '')]),
    [['ISSUER_DECIDES_LATER', ' decides later; it is asked again in 600 s']],
  )
})

for (const [what, answer, code] of [
  ['refuses', says(401, { body: 'no\nsuch   device' }), 'ISSUER_REFUSED'],
  ['is not well', says(503), 'ISSUER_UNREACHABLE'],
  ['leads elsewhere', says(302, { headers: { location: 'https://localhost:1/' } }), 'ISSUER_UNREACHABLE'],
  ['hangs up', () => Promise.resolve(undefined), 'ISSUER_UNREACHABLE'],
  ['talks nonsense', says(200, { body: 'hello' }), 'ISSUER_ANSWER_INVALID'],
  ['says too much', says(200, { body: 'A'.repeat(300_000) }), 'ISSUER_ANSWER_INVALID'],
] as const) {
  test(`a server that ${what} is told of by ${code}, and asked again after a pause that grows`, async () => {
    await using bench = await setUp([answer, answer, signs], { bootstrap: password })
    const issued = bench.issuer.issue(request, within())
    const pauses: number[] = []
    for (const attempt of [1, 2]) {
      while (bench.warnings.length < attempt) await new Promise((resolve) => setImmediate(resolve))
      await bench.clock.waiting()
      pauses.push(bench.clock.pending()[0] ?? 0)
      await bench.clock.advance(pauses.at(-1) ?? 0)
    }
    await issued
    assert.deepEqual(pauses, [5_000, 10_000])
    assert.deepEqual(
      bench.warnings.map((warning) => warning.code),
      [code, code],
    )
    assert.ok(bench.warnings.every(({ message }) => !/sesame|\n/.test(message)))
  })
}

test('a server that is busy is asked again when it says: the certificate is not refused, and no password is shown', async () => {
  const busy = says(429, { headers: { 'retry-after': '600' } })
  await using bench = await setUp([busy, signs], { present: await maker(), bootstrap: password })
  const issued = bench.issuer.issue(request, within())
  await bench.resting(2)
  assert.deepEqual(bench.clock.pending(), [600_000])
  await bench.clock.advance(600_000)
  await issued
  assert.deepEqual(
    bench.enrolments().map(({ operation }) => operation),
    ['devices/simplereenroll', 'devices/simplereenroll'],
  )
  assert.deepEqual(
    bench.warnings.map(({ code }) => code),
    ['ISSUER_UNREACHABLE'],
  )
})

test('a certificate is not thrown away for what the server says of its authorities', async () => {
  await using server = await startEstServer(folder.path, root, async (call) => {
    if (call.operation === 'cacerts') return { status: 200, body: 'hello' }
    return call.operation === 'csrattrs' ? undefined : signs(call)
  })
  const warnings: Failure[] = []
  const issuer = createEstIssuer({
    server: () => Promise.resolve({ url: server.url, caPem: root.certificatePem }),
    present: () => Promise.resolve(undefined),
    bootstrap: () => Promise.resolve(password),
    ...{ clock: createFakeClock(), random: () => 1, warn: (failure: Failure) => void warnings.push(failure) },
  })
  assert.equal(new X509Certificate(await issuer.issue(request, within())).subject, 'CN=edge-0042')
  assert.deepEqual(
    warnings.map(({ code }) => code),
    ['ISSUER_UNREACHABLE', 'ISSUER_ANSWER_INVALID'],
  )
})

// Source: RFC 7030, 4.5.2: P-384 among other things.
const wantsP384 = 'MEEGCSqGSIb3DQEJBzASBgcqhkjOPQIBMQcGBSuBBAAiMBYGCSqGSIb3DQEJDjEJBgcrBgEBAQEWBggqhkjOPQQDAw=='

test('a server that asks for another kind of key is told of once for each request, and decides itself', async () => {
  const attributes = { status: 200, body: wantsP384 }
  await using bench = await setUp([says(400), signs], { bootstrap: password }, attributes)
  const issued = bench.issuer.issue(request, within())
  while (bench.warnings.length < 2) await new Promise((resolve) => setImmediate(resolve))
  await bench.clock.waiting()
  await bench.clock.advance(bench.clock.pending()[0] ?? 0)
  await issued
  assert.deepEqual(
    bench.warnings.map(({ code }) => code),
    ['ISSUER_WANTS_OTHER_KEY', 'ISSUER_REFUSED'],
  )
  assert.match(bench.warnings[0]?.message ?? '', /asks for a key of kind ec-p384, and the request has ec-p256/)
  const asked = bench.server.calls.filter(({ operation }) => operation === 'devices/csrattrs')
  // It is a question that needs no name, and gets no password.
  assert.deepEqual(
    asked.map(({ authorization }) => authorization),
    [undefined],
  )
})

for (const [what, attributes, codes] of [
  ['knows no attributes', { status: 404 }, []],
  ['is silent about them', { status: 204 }, []],
  ['has an empty list of them', { status: 200, body: 'MAA=' }, []],
  ['talks nonsense about them', { status: 200, body: 'hello' }, ['ISSUER_ANSWER_INVALID']],
] as const)
  test(`a server that ${what} signs all the same`, async () => {
    await using bench = await setUp([signs], { bootstrap: password }, attributes)
    assert.match(await bench.issuer.issue(request, within()), /BEGIN CERTIFICATE/)
    assert.deepEqual(
      bench.warnings.map(({ code }) => code),
      codes,
    )
  })

test('a server of another authority is not talked to: neither request nor password reach it', async () => {
  const stranger = await makeRoot(folder.path, 'Somebody else')
  await using server = await startEstServer(folder.path, stranger, signs)
  const told = Promise.withResolvers<Failure>()
  const stop = new AbortController()
  const issuer = createEstIssuer({
    server: () => Promise.resolve({ url: server.url, caPem: root.certificatePem }),
    present: () => Promise.resolve(undefined),
    bootstrap: () => Promise.resolve(password),
    ...{ clock: createFakeClock(), random: () => 1, warn: told.resolve },
  })
  const issued = issuer.issue(request, stop.signal)
  assert.equal((await told.promise).code, 'ISSUER_UNREACHABLE')
  stop.abort()
  await assert.rejects(issued)
  assert.deepEqual(server.calls, [])
})
