import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { OutgoingMessage, TwinDocument } from '../../agent/hub/session.ts'
import { createFakeClock } from '../kit/clock.ts'
import { failureOf, startBench } from './session-device.ts'
import type { Bench, Device } from './session-device.ts'

let bench: Bench
let device: Device

before(async () => {
  bench = await startBench()
  device = await bench.device('edge-1')
  await device.register()
})
after(() => bench[Symbol.asyncDispose]())
afterEach(async () => {
  bench.calm()
  await bench.deserted()
})

const message = (more: Partial<OutgoingMessage> = {}): OutgoingMessage => ({
  body: '{"temperature":21.5}',
  messageId: 'm-1',
  contentType: 'application/json',
  contentEncoding: 'utf-8',
  ...more,
})

/** The next events of a kind from now on. */
const next = (kind: 'telemetry' | 'disconnected' | 'reported') =>
  bench.cloud.record.waitFor((event) => event.kind === kind, { since: bench.cloud.record.seq() })

/** A listener for desired documents, and the promise of the first that fits. */
function watchDesired() {
  const seen: TwinDocument[] = []
  const waiting: { fits: (document: TwinDocument) => boolean; resolve: (document: TwinDocument) => void }[] = []
  return {
    seen,
    onDesired: (document: TwinDocument) => {
      seen.push(document)
      for (const waiter of waiting) if (waiter.fits(document)) waiter.resolve(document)
    },
    first(fits: (document: TwinDocument) => boolean) {
      const known = seen.find(fits)
      if (known !== undefined) return Promise.resolve(known)
      return new Promise<TwinDocument>((resolve) => waiting.push({ fits, resolve }))
    },
  }
}

test('a registered device connects with its certificate and names the leaf it presented', async () => {
  await using session = await device.open()
  const identity = bench.cloud.hub.identity('edge-1')
  const thumbprintSha256 = identity?.authentication.x509Thumbprint.primaryThumbprint
  assert.deepEqual(session.presented, { lane: 'x509', thumbprintSha256 })
  assert.equal(session.peer.tlsVersion, 'TLSv1.2')
  assert.equal(session.peer.address, '127.0.0.1')
})

test('a message is acknowledged and arrives with its properties, its types and the stamp of X.509', async () => {
  await using session = await device.open()
  const arrival = next('telemetry')
  const creationTimeMs = Date.UTC(2026, 0, 2, 3, 4, 5)
  await session.send(message({ properties: { 'site ü': 'a&b=c' }, creationTimeMs }))
  const event = await arrival
  assert.ok(event.kind === 'telemetry')
  const { body, properties, system } = event.message
  assert.equal(body.toString(), '{"temperature":21.5}')
  assert.equal(properties['site ü'], 'a&b=c')
  assert.equal(system['message-id'], 'm-1')
  assert.equal(system['content-type'], 'application/json')
  assert.equal(system['content-encoding'], 'utf-8')
  assert.equal(system['iothub-creation-time-utc'], '2026-01-02T03:04:05.000Z')
  assert.match(system['iothub-connection-auth-method'] ?? '', /"type":"x509"/)
})

test('a message above 256 KB is refused before it is sent', async () => {
  await using session = await device.open()
  const failure = await failureOf(session.send(message({ body: 'x'.repeat(256 * 1024) })))
  assert.equal(failure.code, 'MESSAGE_REFUSED')
  await session.send(message({ messageId: 'after' }))
})

test('a message is measured in bytes, not in characters', async () => {
  await using session = await device.open()
  assert.equal((await failureOf(session.send(message({ body: '€'.repeat(100_000) })))).code, 'MESSAGE_REFUSED')
})

test('the twin is read, reported to, and read again', async () => {
  await using session = await device.open()
  const before = await session.readTwin()
  const reported = next('reported')
  await session.report({ agent: { version: '1', gone: null }, list: [1, 2] })
  await reported
  await session.report({ list: [9] })
  const twin = await session.readTwin()
  assert.deepEqual(twin.reported.agent, { version: '1' })
  assert.deepEqual(twin.reported.list, [9])
  assert.equal(twin.reported.$version, before.reported.$version + 2)
})

test('a desired change is pushed as the whole document: arrays replace, null deletes', async () => {
  const desired = watchDesired()
  await using session = await device.open({ onDesired: desired.onDesired })
  bench.cloud.hub.patchTwin('edge-1', { desired: { list: [1, 2, 3], telemetry: { intervalSeconds: 60, other: 1 } } })
  const start = (await session.readTwin()).desired.$version
  bench.cloud.hub.patchTwin('edge-1', { desired: { list: [9], telemetry: { other: null } } })
  const document = await desired.first(({ $version }) => $version === start + 1)
  assert.deepEqual(document.list, [9])
  assert.deepEqual(document.telemetry, { intervalSeconds: 60 })
})

test('a lost push is noticed at the next one and the twin is read again', async () => {
  const desired = watchDesired()
  await using session = await device.open({ onDesired: desired.onDesired, random: () => 0 })
  const start = (await session.readTwin()).desired.$version
  bench.cloud.faults.set('desiredPush', 'lost')
  bench.cloud.hub.patchTwin('edge-1', { desired: { lost: 'found again' } })
  bench.cloud.faults.reset()
  bench.cloud.hub.patchTwin('edge-1', { desired: { late: 1 } })
  const document = await desired.first(({ $version }) => $version === start + 2)
  assert.equal(document.lost, 'found again')
  assert.equal(document.late, 1)
  assert.equal(desired.seen.length, 1)
})

test('a malformed push harms nothing: the twin is read again', async () => {
  const desired = watchDesired()
  await using session = await device.open({ onDesired: desired.onDesired, random: () => 0 })
  const start = (await session.readTwin()).desired.$version
  bench.cloud.faults.set('desiredPush', 'malformed')
  bench.cloud.hub.patchTwin('edge-1', { desired: { whole: true } })
  const document = await desired.first(({ $version }) => $version === start + 1)
  assert.equal(document.whole, true)
})

for (const [answer, code] of Object.entries({
  400: 'TWIN_REFUSED',
  429: 'TWIN_REFUSED',
  500: 'TWIN_REFUSED',
  '404empty': 'TWIN_REFUSED',
  malformed: 'TWIN_MALFORMED',
}) as ['400' | '429' | '500' | '404empty' | 'malformed', string][]) {
  test(`a twin that is answered with ${answer} is ${code}, and telemetry goes on`, async () => {
    await using session = await device.open()
    bench.cloud.faults.set('twinAnswer', answer)
    assert.equal((await failureOf(session.readTwin())).code, code)
    if (code === 'TWIN_REFUSED') assert.equal((await failureOf(session.report({ a: 1 }))).code, code)
    await session.send(message())
  })
}

test('a report that the hub refuses says why', async () => {
  await using session = await device.open()
  await session.readTwin()
  const failure = await failureOf(session.report({ 'a.b': 1 }))
  assert.equal(failure.code, 'TWIN_REFUSED')
  assert.equal(failure.context.status, 400)
})

test('a twin request that waits when the connection ends fails with the reason of the end', async () => {
  await using session = await device.open()
  bench.cloud.faults.set('twinAnswer', 'silence')
  const failed = failureOf(session.report({ a: 1 }))
  await next('reported')
  await using other = await device.open()
  assert.equal((await failed).code, (await session.ended).code)
  assert.ok(other.peer)
})

test('a second client with the same device ID ends the session with HUB_CLOSED', async () => {
  await using first = await device.open()
  await using second = await device.open()
  assert.equal((await first.ended).code, 'HUB_CLOSED')
  await second.send(message())
})

test('a message that is not acknowledged when the session closes fails with it, and the SDK never sends it again', async () => {
  const session = await device.open()
  bench.cloud.faults.set('pubackDelayMs', 60_000)
  const failed = failureOf(session.send(message({ messageId: 'only-once' })))
  await bench.received('only-once')
  const seq = bench.cloud.record.seq()
  await session[Symbol.asyncDispose]()
  assert.equal((await failed).code, 'SESSION_CLOSED')
  await bench.deserted()
  const later = bench.cloud.record.events(seq)
  assert.ok(later.every((event) => event.kind === 'disconnected' || event.kind === 'telemetry'))
  assert.equal(bench.cloud.received().toString('latin1').split('only-once').length - 1, 1)
})

test('a session closes with DISCONNECT within half a second, also while a message is unacknowledged', async () => {
  const session = await device.open()
  bench.cloud.faults.set('pubackDelayMs', 60_000)
  const failed = failureOf(session.send(message({ messageId: 'unacknowledged' })))
  await bench.received('unacknowledged')
  const gone = next('disconnected')
  const startedMs = performance.now()
  await session[Symbol.asyncDispose]()
  assert.ok(performance.now() - startedMs < 500)
  const event = await gone
  assert.ok(event.kind === 'disconnected')
  assert.equal(event.reason, 'the client said DISCONNECT')
  assert.equal((await session.ended).code, 'SESSION_CLOSED')
  assert.equal((await failed).code, 'SESSION_CLOSED')
})

test('what is asked of a session that is over fails at once with the reason', async () => {
  const session = await device.open()
  await session[Symbol.asyncDispose]()
  assert.equal((await failureOf(session.send(message()))).code, 'SESSION_CLOSED')
  assert.equal((await failureOf(session.report({ a: 1 }))).code, 'SESSION_CLOSED')
  assert.equal((await failureOf(session.readTwin())).code, 'SESSION_CLOSED')
})

test('a hub that forgot the session of the device still gets it all subscribed again', async () => {
  {
    await using first = await device.open()
    await first.readTwin()
  }
  bench.cloud.faults.set('dropSessions', 'true')
  const desired = watchDesired()
  await using session = await device.open({ onDesired: desired.onDesired })
  const start = (await session.readTwin()).desired.$version
  bench.cloud.hub.patchTwin('edge-1', { desired: { again: 1 } })
  await desired.first(({ $version }) => $version === start + 1)
})

test('an unknown, a disabled and a deleted device are HUB_REFUSED_CREDENTIAL', async () => {
  const stranger = await bench.device('edge-unknown')
  assert.equal((await failureOf(stranger.open())).code, 'HUB_REFUSED_CREDENTIAL')
  const blocked = await bench.device('edge-blocked')
  await blocked.register()
  const identity = bench.cloud.hub.identity('edge-blocked')
  assert.ok(identity)
  bench.cloud.hub.putIdentity({ ...identity, status: 'disabled' })
  assert.equal((await failureOf(blocked.open())).code, 'HUB_REFUSED_CREDENTIAL')
  bench.cloud.hub.removeIdentity('edge-blocked')
  assert.equal((await failureOf(blocked.open())).code, 'HUB_REFUSED_CREDENTIAL')
})

test('a certificate that the hub does not know yet is refused until DPS has seen it', async () => {
  const renewed = await bench.device('edge-1')
  assert.equal((await failureOf(renewed.open())).code, 'HUB_REFUSED_CREDENTIAL')
  await renewed.register()
  await using session = await renewed.open()
  await session.send(message())
  assert.equal((await failureOf(device.open())).code, 'HUB_REFUSED_CREDENTIAL')
  await session[Symbol.asyncDispose]()
  await device.register()
})

test('a certificate that has expired is HUB_REFUSED_CREDENTIAL', async () => {
  const profile = { notBefore: new Date(Date.now() - 7_200_000), notAfter: new Date(Date.now() - 3_600_000) }
  const expired = await bench.device('edge-1', await bench.cloud.authority.makeDevice('edge-1', { profile }))
  assert.equal((await failureOf(expired.open())).code, 'HUB_REFUSED_CREDENTIAL')
})

for (const [returnCode, code] of [
  [1, 'HUB_PROTOCOL'],
  [3, 'HUB_BUSY'],
  [4, 'HUB_REFUSED_CREDENTIAL'],
] as const) {
  test(`return code ${returnCode} of CONNACK is ${code}`, async () => {
    bench.cloud.faults.set('connectRefusal', returnCode)
    assert.equal((await failureOf(device.open())).code, code)
  })
}

test('a hub that never answers CONNECT is HUB_NO_ANSWER, one that closes is HUB_CLOSED_EARLY', async () => {
  bench.cloud.faults.set('connectSilence', 'hub')
  assert.equal((await failureOf(device.open({ connectTimeoutMs: 300 }))).code, 'HUB_NO_ANSWER')
  bench.cloud.faults.reset()
  bench.cloud.faults.set('closeAfterHandshake', 'hub')
  assert.equal((await failureOf(device.open())).code, 'HUB_CLOSED_EARLY')
})

test('a server below a root that is not in the CA file is TLS_SERVER_UNTRUSTED', async () => {
  const failure = await failureOf(device.open({ ca: bench.cloud.authority.root.certificatePem }))
  assert.equal(failure.code, 'TLS_SERVER_UNTRUSTED')
})

test('an abort while connecting ends with the reason of the signal and leaves no socket', async () => {
  bench.cloud.faults.set('connectSilence', 'hub')
  const over = new AbortController()
  const work = failureOf(device.open({}, over.signal))
  while (bench.cloud.connections() === 0) await new Promise((resolve) => setImmediate(resolve))
  const reason = new Error('stopping')
  over.abort(reason)
  assert.equal(await work, reason)
  await bench.deserted()
})

test('a message that stays unacknowledged for a minute ends the session, since only a new one can send it again', async () => {
  const clock = createFakeClock()
  await using session = await device.open({ clock })
  bench.cloud.faults.set('pubackDelayMs', 600_000)
  const failed = failureOf(session.send(message({ messageId: 'never-acknowledged' })))
  await bench.received('never-acknowledged')
  await clock.advance(60_000)
  assert.equal((await failed).code, 'HUB_NO_ANSWER')
  assert.equal((await session.ended).code, 'HUB_NO_ANSWER')
})

test('a twin that never answers is HUB_NO_ANSWER after half a minute, and telemetry goes on', async () => {
  const clock = createFakeClock()
  await using session = await device.open({ clock })
  await session.readTwin()
  bench.cloud.faults.set('twinAnswer', 'silence')
  const failed = failureOf(session.readTwin())
  await clock.waiting(30_000)
  await clock.advance(30_000)
  assert.equal((await failed).code, 'HUB_NO_ANSWER')
  await session.send(message())
})

test('two hundred sessions, a third of them cut by the hub, leave no connection and a flat heap', async () => {
  for (let round = 0; round < 40; round += 1) await openSendClose(round)
  const before = heapUsed()
  const connected = bench.cloud.record.count('connected')
  for (let round = 0; round < 200; round += 1) await openSendClose(round)
  await bench.deserted()
  assert.equal(bench.cloud.record.count('connected') - connected, 200)
  const grownMegabytes = (heapUsed() - before) / 1_048_576
  assert.ok(grownMegabytes < 4, `the heap grew by ${grownMegabytes.toFixed(1)} MB`)
})

async function openSendClose(round: number): Promise<void> {
  const session = await device.open()
  await session.send(message({ messageId: String(round) }))
  if (round % 3 === 0) cut()
  await session[Symbol.asyncDispose]()
}

/** Ends the session of the device from the side of the hub. */
function cut(): void {
  const identity = bench.cloud.hub.identity('edge-1')
  assert.ok(identity)
  bench.cloud.hub.putIdentity({ ...identity, status: 'disabled' })
  bench.cloud.hub.putIdentity(identity)
}

/** Bytes of JavaScript heap after a full collection. */
function heapUsed(): number {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  collect()
  return process.memoryUsage().heapUsed
}
