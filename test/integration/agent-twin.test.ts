/** What the twin wishes, and what the device answers. */
import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import type { Cloud } from '../cloud/cloud.ts'
import { createFakeClock } from '../kit/clock.ts'
import type { FakeClock } from '../kit/clock.ts'
import { eventually, makeDevice } from '../kit/device.ts'
import type { BootedAgent, Device } from '../kit/device.ts'
import { openssl } from '../kit/openssl.ts'
import { calm, cutOff, eventsOf, reconnect, seen, settled, startFleetCloud } from './agent-kit.ts'

let cloud: Cloud

before(async () => {
  cloud = await startFleetCloud()
})
after(() => cloud.close())
afterEach(() => calm(cloud))

/** A device that sends every 60 s and logs from `warn` on, if nobody wishes otherwise. */
async function ready(registrationId: string): Promise<[Device, FakeClock]> {
  const pair = await cloud.authority.makeDevice(registrationId)
  const environment = { TELEMETRY_INTERVAL: '60', IOT_AGENT_LOG_LEVEL: 'warn' }
  return [await makeDevice(cloud, { registrationId, pair, environment }), createFakeClock(Date.now())]
}

/** The answer to one wish, in the form of IoT Plug and Play. */
interface Answer {
  readonly value?: unknown
  readonly ac: number
  readonly av: number
  readonly ad: string
}

interface Reported {
  readonly telemetry?: Readonly<Record<string, Answer>>
  readonly log?: Readonly<Record<string, Answer>>
  readonly auth?: {
    readonly mode: string
    readonly state: string
    readonly certificate: Readonly<Record<string, string>>
  }
  readonly agent?: Readonly<Record<string, string>>
  readonly warnings?: readonly { readonly code: string }[]
}

const reportedOf = (id: string) => cloud.hub.twin(id)?.reported as Reported

const plain = (fingerprint: string | undefined) => fingerprint?.replaceAll(':', '')

/** Wishes something and waits until the device has answered this version. */
async function wish(id: string, desired: Record<string, unknown>): Promise<Reported> {
  const since = cloud.record.seq()
  const { desiredVersion } = cloud.hub.patchTwin(id, { desired })
  await answered(id, desiredVersion, since)
  return reportedOf(id)
}

/** Waits until every answer in the twin is to this version, and there is one if any is left to give. */
async function answered(id: string, version: number, since = 0): Promise<void> {
  const answers = () => {
    const { telemetry = {}, log = {} } = reportedOf(id)
    // Beside the answers there is the mark of a component, which is a text.
    return [...Object.values(telemetry), ...Object.values(log)].flatMap((each) =>
      typeof each === 'object' ? [each.av] : [],
    )
  }
  const { telemetry = {}, log = {} } = (cloud.hub.twin(id)?.desired ?? {}) as { telemetry?: object; log?: object }
  const least = Math.min(1, Object.keys({ ...telemetry, ...log }).length)
  const fits = () => answers().length >= least && answers().every((av) => av === version)
  await seen(cloud, 'reported', id, { since, fits })
}

async function intervalOf(agent: BootedAgent): Promise<number> {
  return (await agent.status()).telemetry.intervalSeconds
}

test('interval and log level are applied as wished, and answered with value, code, version and words', async () => {
  const [device, clock] = await ready('twin-01')
  await using _device = device
  const agent = device.boot({ clock })
  await settled(cloud, agent, 'twin-01')
  const { desiredVersion } = cloud.hub.twin('twin-01') ?? assert.fail()
  const reported = await wish('twin-01', { telemetry: { intervalSeconds: 5 }, log: { level: 'debug' } })
  assert.deepEqual(reported.telemetry?.['intervalSeconds'], {
    value: 5,
    ac: 200,
    av: desiredVersion + 1,
    ad: 'applied',
  })
  assert.deepEqual(reported.log?.['level'], { value: 'debug', ac: 200, av: desiredVersion + 1, ad: 'applied' })
  assert.equal(await intervalOf(agent), 5)

  // It is not only said: the next samples come after 5 s each, and are told of at level debug.
  for (let sample = 2; sample <= 3; sample += 1) {
    await clock.advance(5_000)
    await agent.until(({ telemetry }) => telemetry.acknowledged === sample)
  }
  assert.ok(agent.journal.lines().some(({ level, msg }) => level === 'debug' && msg === 'telemetry acknowledged'))
})

test('a bad value is answered with 400 and the reason, and the other wish is applied all the same', async () => {
  const [device, clock] = await ready('twin-02')
  await using _device = device
  const agent = device.boot({ clock })
  await settled(cloud, agent, 'twin-02')
  for (const bad of [0, -1, 86_401, 1.5, '5', true, [5], { seconds: 5 }]) {
    const level = bad === 0 ? 'error' : 'info'
    const { telemetry, log } = await wish('twin-02', { telemetry: { intervalSeconds: bad }, log: { level } })
    const answer = telemetry?.['intervalSeconds']
    assert.deepEqual([answer?.ac, answer?.value], [400, 60], JSON.stringify(bad))
    assert.match(answer?.ad ?? '', /1 to 86400/)
    assert.deepEqual([log?.['level']?.ac, log?.['level']?.value], [200, level])
    assert.equal(await intervalOf(agent), 60)
  }
  const other = await wish('twin-02', { telemetry: { intervalSeconds: 7 }, log: { level: 'chatty' } })
  assert.deepEqual([other.log?.['level']?.ac, other.log?.['level']?.value], [400, 'info'])
  assert.equal(await intervalOf(agent), 7)
  assert.ok((await agent.status()).warnings.some(({ code }) => code === 'DESIRED_REFUSED'))
})

test('a key that does not exist is answered with 404, and keys of other programs are left alone', async () => {
  const [device, clock] = await ready('twin-03')
  await using _device = device
  const agent = device.boot({ clock })
  await settled(cloud, agent, 'twin-03')
  const { telemetry, log } = await wish('twin-03', { telemetry: { intervall: 5 }, firmware: { version: '2.0' } })
  assert.equal(telemetry?.['intervall']?.ac, 404)
  assert.equal(log, undefined)
  assert.equal(await intervalOf(agent), 60)
})

test('a wish that is taken back gives the setting to the configuration again', async () => {
  const [device, clock] = await ready('twin-04')
  await using _device = device
  const agent = device.boot({ clock })
  await settled(cloud, agent, 'twin-04')
  await wish('twin-04', { telemetry: { intervalSeconds: 5 }, log: { level: 'debug' } })
  assert.equal(await intervalOf(agent), 5)
  const reported = await wish('twin-04', { telemetry: { intervalSeconds: null }, log: null })
  assert.equal(await intervalOf(agent), 60)
  assert.deepEqual([reported.telemetry, reported.log], [undefined, undefined])
  await agent.stop()
})

test('a change that was made while the device was away is applied when it comes back', async () => {
  const [device, clock] = await ready('twin-05')
  await using _device = device
  const agent = device.boot({ clock, random: () => 0 })
  await settled(cloud, agent, 'twin-05')
  cloud.faults.set('closeAfterHandshake', 'hub')
  cutOff(cloud, 'twin-05')
  await agent.until(({ connection }) => connection.state === 'disconnected')
  const { desiredVersion } = cloud.hub.patchTwin('twin-05', { desired: { telemetry: { intervalSeconds: 9 } } })
  assert.equal(await intervalOf(agent), 60)
  calm(cloud)
  await reconnect(agent, clock)
  await answered('twin-05', desiredVersion)
  assert.equal(await intervalOf(agent), 9)
})

test('a change of which the push was lost is applied after the next one', async () => {
  const [device, clock] = await ready('twin-06')
  await using _device = device
  const agent = device.boot({ clock, random: () => 0 })
  await settled(cloud, agent, 'twin-06')
  cloud.faults.set('desiredPush', 'lost')
  cloud.hub.patchTwin('twin-06', { desired: { telemetry: { intervalSeconds: 11 } } })
  cloud.faults.set('desiredPush', 'sent')
  const since = cloud.record.seq()
  const { desiredVersion } = cloud.hub.patchTwin('twin-06', { desired: { log: { level: 'info' } } })
  // The version tells that one is missing: the twin is read again.
  await clock.advance(await eventually(() => Promise.resolve(clock.pending().find((leftMs) => leftMs <= 1_000))))
  await answered('twin-06', desiredVersion, since)
  assert.equal(await intervalOf(agent), 11)
})

test('a twin that is throttled is read again later, and telemetry flows meanwhile', async () => {
  cloud.faults.set('twinAnswer', '429')
  const [device, clock] = await ready('twin-07')
  await using _device = device
  const agent = device.boot({ clock })
  await seen(cloud, 'telemetry', 'twin-07')
  const line = await agent.journal.heard('TWIN_REFUSED')
  assert.equal(line['level'], 'warn')
  assert.equal((await agent.status()).connection.state, 'connected')
  const { desiredVersion } = cloud.hub.patchTwin('twin-07', { desired: { telemetry: { intervalSeconds: 8 } } })
  calm(cloud)
  await clock.advance(10_000)
  await answered('twin-07', desiredVersion)
  assert.equal(await intervalOf(agent), 8)
})

for (const fault of ['malformed', '404empty', '500', 'silence'] as const) {
  test(`a twin that is answered with ${fault} costs neither the session nor a sample`, async () => {
    const id = `twin-${fault}`
    cloud.faults.set('twinAnswer', fault)
    const [device, clock] = await ready(id)
    await using _device = device
    const agent = device.boot({ clock, random: () => 0 })
    await agent.until(({ telemetry }) => telemetry.acknowledged === 1)
    if (fault === 'silence') await clock.advance(30_000)
    await agent.journal.heard((line) => line['event'] === 'the twin could not be read')
    calm(cloud)
    await clock.advance(5_000)
    await seen(cloud, 'reported', id)
    assert.equal(eventsOf(cloud, 'connected', id).length, 2)
    assert.equal((await agent.status()).connection.state, 'connected')
  })
}

test('the reported certificate is the one that openssl sees', async () => {
  const [device, clock] = await ready('twin-08')
  await using _device = device
  const agent = device.boot({ clock })
  await settled(cloud, agent, 'twin-08')
  const { auth, agent: about } = reportedOf('twin-08')
  assert.deepEqual([auth?.mode, auth?.state], ['x509', 'active'])
  const ask = async (...what: string[]) =>
    (await openssl(['x509', '-in', device.variables['CERT_PATH'] ?? '', '-noout', ...what])).trim().split(/=(.*)/s)[1]
  assert.equal(auth?.certificate['thumbprintSha256'], plain(await ask('-fingerprint', '-sha256')))
  assert.equal(auth?.certificate['thumbprintSha1'], plain(await ask('-fingerprint', '-sha1')))
  assert.equal(auth?.certificate['serial']?.toUpperCase(), await ask('-serial'))
  assert.equal(Date.parse(auth?.certificate['notAfter'] ?? ''), Date.parse((await ask('-enddate')) ?? ''))
  assert.equal(Date.parse(auth?.certificate['notBefore'] ?? ''), Date.parse((await ask('-startdate')) ?? ''))
  assert.equal(about?.['runtime'], `node ${process.versions.node}`)
  // No word of the key's place or bytes: the twin is read by many.
  assert.equal(JSON.stringify(reportedOf('twin-08')).includes(device.variables['KEY_PATH'] ?? ''), false)
})

test('a restarted device reports only what is new, and takes its old answers back', async () => {
  const [device, clock] = await ready('twin-09')
  await using _device = device
  const first = device.boot({ clock })
  await settled(cloud, first, 'twin-09')
  await wish('twin-09', { telemetry: { intervalSeconds: 5 } })
  await first.stop()
  cloud.hub.patchTwin('twin-09', { desired: { telemetry: null } })
  await clock.advance(1_000)
  const since = cloud.record.seq()
  const second = device.boot({ clock })
  const { patch } = await seen(cloud, 'reported', 'twin-09', { since })
  await second.until(({ telemetry }) => telemetry.acknowledged > 0)
  assert.equal(patch['telemetry'], null)
  assert.equal('auth' in patch, false, JSON.stringify(patch))
  assert.equal(await intervalOf(second), 60)
})
