/** A certificate that has expired, in fact or by a wrong clock: nobody is stranded, and the next one takes over. */
import assert from 'node:assert/strict'
import { mkdir, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { Cloud } from '../cloud/cloud.ts'
import { createFakeClock } from '../kit/clock.ts'
import type { FakeClock } from '../kit/clock.ts'
import { eventually, makeDevice } from '../kit/device.ts'
import type { BootedAgent, Device } from '../kit/device.ts'
import { makeRoot, openssl } from '../kit/openssl.ts'
import type { Profile } from '../kit/openssl.ts'
import { atHub, eventsOf, seen, startFleetCloud } from './agent-kit.ts'

let cloud: Cloud

before(async () => {
  cloud = await startFleetCloud()
})
after(() => cloud.close())

const DAY_MS = 86_400_000
const daysFrom = (days: number) => new Date(Date.now() + days * DAY_MS)

/** Has the open request signed and taken; on a clock that stands still, its look at the file takes two moves. */
async function install(
  device: Device,
  clock: FakeClock,
  agent: BootedAgent,
  profile: Profile,
  sign = (csr: string) => cloud.authority.signDevice(csr, profile),
): Promise<void> {
  const name = `requests/${device.registrationId}.csr`
  const csr = await eventually(async () => ((await device.has(name)) ? device.read(name) : undefined))
  const path = join(device.stateDir, 'issued', `${device.registrationId}.pem`)
  await writeFile(`${path}.part`, await sign(csr))
  await rename(`${path}.part`, path)
  await eventually(async () => {
    const settling = clock.pending().find((leftMs) => leftMs <= 500)
    if (settling !== undefined) await clock.advance(settling)
    return agent.journal.lines().find(({ msg }) => msg === 'the chain was checked and accepted')
  })
}

/** Puts a certificate into the vault that no agent would take today. */
async function keepExpired(device: Device): Promise<void> {
  const profile = { notBefore: daysFrom(-3), notAfter: daysFrom(-1) }
  const { keyPem, chainPem } = await cloud.authority.makeDevice(device.registrationId, { profile })
  const vault = join(device.stateDir, 'credentials')
  await mkdir(join(vault, 'gen-0001'), { recursive: true, mode: 0o700 })
  await writeFile(join(vault, 'gen-0001', 'key.pem'), keyPem, { mode: 0o600 })
  await writeFile(join(vault, 'gen-0001', 'chain.pem'), chainPem, { mode: 0o600 })
  await writeFile(join(vault, 'active'), 'gen-0001\n', { mode: 0o600 })
}

async function thumbprintIn(device: Device, generation: string): Promise<string> {
  const chain = join(device.stateDir, 'credentials', generation, 'chain.pem')
  const printed = await openssl(['x509', '-in', chain, '-noout', '-fingerprint', '-sha256'])
  return printed.trim().split('=')[1]?.replaceAll(':', '') ?? ''
}

test('by an expired certificate a device still tries to connect, asks for a new one, and takes it through DPS', async () => {
  await using device = await makeDevice(cloud, { registrationId: 'old-01' })
  await keepExpired(device)
  const since = cloud.record.seq()
  const agent = device.boot()
  // The clock of a device may be wrong, so that only the cloud can say that a certificate has expired.
  const refused = await seen(cloud, 'refused', 'old-01', { since })
  assert.match(refused.reason, /expired/)
  await agent.journal.heard('DPS_UNAUTHORIZED')
  await agent.journal.heard('waiting for a certificate')
  const status = await agent.status()
  assert.equal(status.auth.state, 'awaitingCertificate')
  assert.equal(status.connection.state === 'disconnected' && status.connection.doing, 'waiting')
  const codes = status.warnings.map(({ code }) => code)
  assert.ok(codes.includes('CERTIFICATE_EXPIRED') && codes.includes('AWAITING_CERTIFICATE'), codes.join())

  const csr = (await device.run('csr')).stdout
  await writeFile(join(device.stateDir, 'issued', 'old-01.pem'), await cloud.authority.signDevice(csr))
  await seen(cloud, 'telemetry', 'old-01', { since })
  const fresh = await thumbprintIn(device, 'gen-0002')
  assert.equal(cloud.hub.identity('old-01')?.authentication.x509Thumbprint.primaryThumbprint, fresh)
  const { auth } = await agent.until(({ auth }) => auth.state === 'active')
  assert.equal(auth.certificate?.thumbprintSha256, fresh)
  assert.notEqual(await device.read('credentials/gen-0001/key.pem'), await device.read('credentials/gen-0002/key.pem'))
})

test('a device whose clock is ahead stays connected while it asks, and moves to the new certificate without a gap', async () => {
  await using device = await makeDevice(cloud, { registrationId: 'old-02' })
  const today = createFakeClock(Date.now())
  const earlier = device.boot({ clock: today })
  await install(device, today, earlier, { notAfter: daysFrom(90) })
  await seen(cloud, 'telemetry', 'old-02')
  await earlier.stop()
  const first = await thumbprintIn(device, 'gen-0001')

  const since = cloud.record.seq()
  const ahead = createFakeClock(Date.now() + 100 * DAY_MS)
  const agent = device.boot({ clock: ahead })
  await agent.until(({ connection, auth }) => connection.state === 'connected' && auth.state === 'awaitingCertificate')
  await agent.until(({ telemetry }) => telemetry.acknowledged >= 1)
  assert.equal(eventsOf(cloud, 'connected', 'old-02', since)[0]?.thumbprint, first)

  await install(device, ahead, agent, { notAfter: daysFrom(190) })
  const second = await thumbprintIn(device, 'gen-0002')
  await seen(cloud, 'connected', 'old-02', {
    since,
    fits: (event) => atHub(cloud)(event) && event.thumbprint === second,
  })
  const hosts = eventsOf(cloud, 'connected', 'old-02', since).map(({ host, thumbprint }) => [
    host,
    thumbprint === second,
  ])
  assert.deepEqual(hosts, [
    [cloud.hub.host, false],
    [cloud.dps.host, true],
    [cloud.hub.host, true],
  ])
  // The old session lived until DPS had assigned the new certificate, and ended before the new one came.
  const [ended] = eventsOf(cloud, 'disconnected', 'old-02', since).filter(atHub(cloud))
  const [registered] = eventsOf(cloud, 'registered', 'old-02', since)
  const next = eventsOf(cloud, 'connected', 'old-02', since).filter(atHub(cloud))[1]
  assert.ok(ended !== undefined && registered !== undefined && next !== undefined)
  assert.ok(ended.seq > registered.seq - 2 && ended.seq < next.seq, `${registered.seq} ${ended.seq} ${next.seq}`)
  await agent.until(({ connection, auth }) => connection.state === 'connected' && auth.state === 'active')
})

test('a request that was cut short by a power cut after the chain was taken is finished at the next start', async () => {
  await using device = await makeDevice(cloud, { registrationId: 'old-03' })
  const clock = createFakeClock(Date.now())
  const first = device.boot({ clock })
  await install(device, clock, first, {})
  await first.stop()
  // As if the power had gone between the pointer and the move of the folder.
  const vault = join(device.stateDir, 'credentials')
  await rename(join(vault, 'gen-0001'), join(vault, 'pending'))
  device.boot()
  await seen(cloud, 'telemetry', 'old-03')
  assert.equal(await device.has('credentials/gen-0001/key.pem'), true)
})

test('a new certificate that DPS does not know leads back to the old one, which stays the active one', async () => {
  await using device = await makeDevice(cloud, { registrationId: 'old-04' })
  const today = createFakeClock(Date.now())
  const earlier = device.boot({ clock: today })
  await install(device, today, earlier, { notAfter: daysFrom(90) })
  await seen(cloud, 'telemetry', 'old-04')
  await earlier.stop()
  const first = await thumbprintIn(device, 'gen-0001')

  const since = cloud.record.seq()
  const ahead = createFakeClock(Date.now() + 100 * DAY_MS)
  const agent = device.boot({ clock: ahead, random: () => 0.5 })
  const journal = agent.journal.follow()
  const stranger = await makeRoot(device.folder, 'Somebody Else')
  const life = { notBefore: daysFrom(-1), notAfter: daysFrom(400) }
  await install(device, ahead, agent, {}, (csr) => stranger.sign(csr, life))
  const line = await journal.next(({ event }) => event === 'failed')
  assert.equal(line['code'], 'DPS_UNAUTHORIZED')
  const back = await seen(cloud, 'connected', 'old-04', {
    since,
    fits: (event) => atHub(cloud)(event) && event.seq > (eventsOf(cloud, 'refused', 'old-04', since).at(-1)?.seq ?? 0),
  })
  assert.equal(back.thumbprint, first)
  assert.equal(eventsOf(cloud, 'refused', 'old-04', since).length, 1)
  await agent.until(({ connection }) => connection.state === 'connected')
  await eventually(async () => ((await device.read('credentials/active')) === 'gen-0001\n' ? true : undefined))
})
