/** Somebody on the way who wants a device off its certificate: over a day nobody of them obtains SAS. */
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import type { AddressInfo, Socket } from 'node:net'
import { join } from 'node:path'
import { after, afterEach, before, test } from 'node:test'
import { createServer } from 'node:tls'
import type { FaultValues } from '../cloud/faults.ts'
import { makeKey, makeRequest, makeRoot, makeTemporaryFolder } from '../kit/openssl.ts'
import type { Authority } from '../kit/openssl.ts'
import { alert, CLOUD_ADDRESS, layRoad } from '../kit/road.ts'
import type { Ambush, Attack, Road } from '../kit/road.ts'
import { calm, cutOff, eventsOf } from './agent-kit.ts'
import * as kit from './fallback-kit.ts'
import type { Actor, Stage } from './fallback-kit.ts'

const { DAY, HOUR, mark, pass, sessionsOf, untilSession } = kit

let stage: Stage
let road: Road

before(async () => {
  road = await layRoad()
  stage = await kit.startStage({ address: CLOUD_ADDRESS, port: road.port })
})
after(async () => {
  await stage[Symbol.asyncDispose]()
  await road[Symbol.asyncDispose]()
})
afterEach(() => {
  road.attacks.clear()
  road.ambush = undefined
  calm(stage.cloud)
  kit.restore({ stage })
})

const TOKEN = 'SharedAccessSignature'

test('an attacker who blocks or resets every X.509 connection does not obtain SAS', async () => {
  await using stack = new AsyncDisposableStack()
  // Forged alerts: bad_certificate, certificate_expired, certificate_unknown, unknown_ca.
  const attacks: readonly Attack[] = ['reset', 'close-later', 'reset-later', 42, 45, 46, 48]
  const victims: Actor[] = []
  for (const attack of attacks)
    victims.push(stack.use(await kit.bootActor(stage, `victim-of-${attack}-x`, { chance: 0.99 })))
  const since = mark({ stage })
  for (const [index, { id }] of victims.entries()) {
    road.attacks.set(id, attacks[index] ?? assert.fail())
    cutOff(stage.cloud, id)
  }
  await pass({ stage }, DAY)
  for (const victim of victims) {
    assert.ok(road.attacked(victim.id) >= 24, `${victim.id}: ${road.attacked(victim.id)} attacked connections`)
    assert.deepEqual(sessionsOf(victim, since), [], victim.id)
    await assertNoDowngrade(victim)
  }
  road.attacks.clear()
  await pass({ stage }, HOUR, () => victims.every(({ id }) => stage.cloud.hub.isConnected(id)))
  for (const victim of victims) await kit.connected(victim, 'x509')
})

test('an attacker who lets every X.509 connection wait without an answer does not obtain SAS', async () => {
  await using victim = await kit.bootActor(stage, 'silenced-01')
  const since = mark(victim)
  road.attacks.set(victim.id, 'stall')
  cutOff(stage.cloud, victim.id)
  await pass(victim, DAY, () => false, road.isStalling)
  assert.ok(road.attacked(victim.id) >= 24, `${road.attacked(victim.id)} connections`)
  assert.deepEqual(sessionsOf(victim, since), [])
  await assertNoDowngrade(victim)
})

test('a DNS that lies leads to servers that get neither a token nor a byte of MQTT', async () => {
  await using folder = await makeTemporaryFolder()
  const stranger = await makeRoot(folder.path, 'Some Other Root')
  await using foreign = await listenAs(stranger, 'hub-1.localhost')
  await using otherName = await listenAs(stage.cloud.authority.serverRoot, 'elsewhere.localhost')
  await using victim = await kit.bootActor(stage, 'misled-01', { chance: 0.99 })
  const since = mark(victim)
  const ambushes: readonly Ambush[] = [
    ...[foreign, otherName],
    'reset',
    ...[{ says: alert(46) }, { says: alert(48) }, { says: Buffer.from('HTTP/1.1 403 Forbidden\r\n\r\n') }],
  ]
  for (const ambush of ambushes) {
    road.ambush = ambush
    cutOff(stage.cloud, victim.id)
    await pass(victim, 4 * HOUR)
    assert.deepEqual(sessionsOf(victim, since), [])
    await assertNoDowngrade(victim)
  }
  assert.ok(foreign.visits() >= 100 && otherName.visits() >= 100, `${foreign.visits()} ${otherName.visits()}`)
  assert.deepEqual([foreign.heard().length, otherName.heard().length], [0, 0])
  road.ambush = undefined
  await untilSession(victim, 'x509', since)
})

test('a cloud that is busy, throttles, stumbles or closes does not drive a device to SAS', async () => {
  await using victim = await kit.bootActor(stage, 'throttled-01', { chance: 0.99 })
  const { faults } = stage.cloud
  const rows: readonly (readonly [hub: () => void, dps: FaultValues['dpsAnswer']])[] = [
    [() => faults.set('connectRefusal', 3), 'off'],
    [() => faults.set('throttleAfterMessages', 1), 'off'],
    ...(['off', '429', '409', '500', '503', '400', 'malformed', 'close'] as const).map(
      (answer) => [() => faults.set('closeAfterHandshake', 'hub'), answer] as const,
    ),
  ]
  for (const [disturb, answer] of rows) {
    const since = mark(victim)
    disturb()
    faults.set('dpsAnswer', answer)
    cutOff(stage.cloud, victim.id)
    await pass(victim, 4 * HOUR)
    // A sample an hour ends a session each, where each ends one; every other trouble is met far more often.
    const met = refusalsOrSessions(victim, since)
    assert.ok(met >= 4, `${answer}: ${met} times`)
    await assertNoDowngrade(victim)
    calm(stage.cloud)
    await pass(victim, HOUR, () => stage.cloud.hub.isConnected(victim.id))
    await kit.connected(victim, 'x509')
  }
})

test('the same device falls back when it is the cloud that refuses, and only then shows a token', async () => {
  await using victim = await kit.bootActor(stage, 'refused-01')
  road.attacks.set(victim.id, 46)
  cutOff(stage.cloud, victim.id)
  await pass(victim, 6 * HOUR)
  await assertNoDowngrade(victim)
  road.attacks.clear()
  const since = mark(victim)
  kit.revoke(victim)
  await untilSession(victim, 'sas', since)
  assert.equal(stage.cloud.record.received().includes(TOKEN), true)
})

/** How often the cloud has seen the device at all. */
function refusalsOrSessions({ id }: Actor, since: number): number {
  return eventsOf(stage.cloud, 'connected', id, since).length + eventsOf(stage.cloud, 'refused', id, since).length
}

async function assertNoDowngrade({ id, agent }: Actor): Promise<void> {
  assert.ok(
    eventsOf(stage.cloud, 'connected', id).every(({ auth }) => auth !== 'sas'),
    id,
  )
  assert.equal(stage.cloud.record.received().includes(TOKEN), false, 'not one SAS token reached the cloud')
  const { auth } = await agent().status()
  assert.deepEqual([auth.mode, auth.state, auth.history], ['x509', 'active', []], id)
}

interface Impostor extends AsyncDisposable {
  readonly port: number
  visits(): number
  /** Every byte that came through TLS. */
  heard(): Buffer
}

/** A TLS server on loopback with a certificate of this authority for this name. */
async function listenAs(authority: Authority, name: string): Promise<Impostor> {
  await using folder = await makeTemporaryFolder()
  const keyPath = await makeKey(join(folder.path, 'server.key'))
  const extensions = `subjectAltName = DNS:${name}\nextendedKeyUsage = serverAuth`
  const cert = await authority.sign(await makeRequest(keyPath, `/CN=${name}`), { extensions })
  const heard: Buffer[] = []
  let visits = 0
  const server = createServer({ cert, key: await readFile(keyPath), requestCert: true, rejectUnauthorized: false })
  server.on('secureConnection', (socket) => socket.on('data', (bytes) => heard.push(bytes)))
  server.on('connection', (socket: Socket) => {
    visits += 1
    socket.on('error', () => socket.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    visits: () => visits,
    heard: () => Buffer.concat(heard),
    [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(() => resolve())),
  }
}
