/** From an empty folder to the first acknowledged message, and back again after a restart. */
import assert from 'node:assert/strict'
import { copyFile, readdir, rename, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { Cloud } from '../cloud/cloud.ts'
import { createFakeClock } from '../kit/clock.ts'
import type { FakeClock } from '../kit/clock.ts'
import { eventually, makeDevice } from '../kit/device.ts'
import type { Device } from '../kit/device.ts'
import { makeKey, makeRequest, makeTemporaryFolder, openssl } from '../kit/openssl.ts'
import type { Profile } from '../kit/openssl.ts'
import { atHub, eventsOf, seen, startFleetCloud } from './agent-kit.ts'

let cloud: Cloud

before(async () => {
  cloud = await startFleetCloud()
})
after(() => cloud.close())

const modeOf = async (path: string) => (await stat(path)).mode & 0o777

/** The request as an operator fetches it. */
function requestOf(device: Device): Promise<string> {
  const name = `requests/${device.registrationId}.csr`
  return eventually(async () => ((await device.has(name)) ? device.read(name) : undefined))
}

/** Lays a chain down as a fleet script does: another name first, then the one that counts. */
async function lay(device: Device, chainPem: string): Promise<void> {
  const path = join(device.stateDir, 'issued', `${device.registrationId}.pem`)
  await writeFile(`${path}.part`, chainPem)
  await rename(`${path}.part`, path)
}

test('a device with nothing makes its own key and request, and says that it waits', async () => {
  await using device = await makeDevice(cloud, { registrationId: 'press-01' })
  const agent = device.boot()
  const csr = await requestOf(device)
  const pending = join(device.stateDir, 'credentials', 'pending')
  assert.equal(await modeOf(join(device.stateDir, 'credentials')), 0o700)
  assert.equal(await modeOf(pending), 0o700)
  assert.equal(await modeOf(join(pending, 'key.pem')), 0o600)

  await using folder = await makeTemporaryFolder()
  const file = join(folder.path, 'request.csr')
  await writeFile(file, csr)
  const subject = await openssl(['req', '-in', file, '-verify', '-noout', '-subject'])
  assert.match(subject, /^subject=\s*CN\s*=\s*press-01$/m)
  // The key of the request is the one in the vault.
  assert.equal(
    await openssl(['req', '-in', file, '-noout', '-pubkey']),
    await openssl(['pkey', '-in', join(pending, 'key.pem'), '-pubout']),
  )

  const status = await agent.status()
  assert.equal(status.auth.state, 'awaitingCertificate')
  assert.equal(status.connection.state === 'disconnected' && status.connection.doing, 'awaitingCertificate')
  assert.ok(status.warnings.some((warning) => warning.code === 'AWAITING_CERTIFICATE'))
  // Nobody was asked for anything: without a certificate there is nothing to say to the cloud.
  assert.deepEqual(eventsOf(cloud, 'connected', 'press-01'), [])
})

test('the signed chain leads through DPS to the hub, and the first message is acknowledged', async () => {
  await using device = await makeDevice(cloud, { registrationId: 'press-02' })
  const agent = device.boot()
  await lay(device, await cloud.authority.signDevice(await requestOf(device)))

  const { message } = await seen(cloud, 'telemetry', 'press-02')
  const status = await agent.until(({ telemetry }) => telemetry.acknowledged > 0)
  const stamp = JSON.parse(message.system['iothub-connection-auth-method'] ?? '') as unknown
  assert.deepEqual(stamp, { scope: 'device', type: 'x509', issuer: 'iothub' })

  const leaf = join(device.stateDir, 'credentials', 'gen-0001', 'chain.pem')
  const printed = await openssl(['x509', '-in', leaf, '-noout', '-fingerprint', '-sha256'])
  const thumbprint = printed.trim().split('=')[1]?.replaceAll(':', '')
  const identity = cloud.hub.identity('press-02')
  assert.equal(identity?.authentication.type, 'selfSigned')
  assert.equal(identity.authentication.x509Thumbprint.primaryThumbprint, thumbprint)
  assert.equal(status.auth.certificate?.thumbprintSha256, thumbprint)
  assert.deepEqual(
    { state: status.connection.state, assignedHub: status.device.assignedHub, auth: status.auth.state },
    { state: 'connected', assignedHub: cloud.hubAddress(), auth: 'active' },
  )
  assert.equal(await modeOf(join(device.stateDir, 'credentials', 'gen-0001', 'key.pem')), 0o600)
  // What was handed over lies about no longer.
  assert.deepEqual(await readdir(join(device.stateDir, 'issued')), [])
  assert.deepEqual(await readdir(join(device.stateDir, 'requests')), [])
})

test('a restart goes straight to the assigned hub, with the same key', async () => {
  await using device = await makeDevice(cloud, { registrationId: 'press-03' })
  const first = device.boot()
  await lay(device, await cloud.authority.signDevice(await requestOf(device)))
  await seen(cloud, 'telemetry', 'press-03')
  const earlier = await first.status()
  assert.equal(await first.stop(), undefined)
  const key = await device.read('credentials/gen-0001/key.pem')

  const since = cloud.record.seq()
  const second = device.boot()
  await seen(cloud, 'telemetry', 'press-03', { since })
  assert.deepEqual(eventsOf(cloud, 'registered', 'press-03', since), [])
  assert.deepEqual(
    eventsOf(cloud, 'connected', 'press-03', since).map(({ host }) => host),
    [cloud.hub.host],
  )
  const { auth } = await second.status()
  assert.equal(auth.certificate?.thumbprintSha256, earlier.auth.certificate?.thumbprintSha256)
  assert.equal(auth.key?.path, join(device.stateDir, 'credentials', 'gen-0001', 'key.pem'))
  assert.equal(await device.read('credentials/gen-0001/key.pem'), key)
})

test('a restart while the certificate is awaited changes no byte of the request, nor its key', async () => {
  await using device = await makeDevice(cloud, { registrationId: 'press-04' })
  const first = device.boot()
  const csr = await requestOf(device)
  const key = await device.read('credentials/pending/key.pem')
  const [atFirst] = (await first.status()).warnings
  await first.stop()

  const second = device.boot()
  await second.journal.heard('waiting for a certificate')
  assert.equal(await requestOf(device), csr)
  assert.equal(await device.read('credentials/pending/key.pem'), key)
  assert.equal((await device.run('csr')).stdout, csr)
  // The time of the request, which is in the text, is not that of the restart.
  const [again] = (await second.status()).warnings
  assert.deepEqual([atFirst?.code, atFirst?.text], ['AWAITING_CERTIFICATE', again?.text])
  // A chain for the request of the first run is good for the second.
  await lay(device, await cloud.authority.signDevice(csr))
  await seen(cloud, 'telemetry', 'press-04')
})

test('a chain that waits since before the start is taken at once', async () => {
  await using device = await makeDevice(cloud, { registrationId: 'press-05' })
  const csr = (await device.run('csr')).stdout
  await using folder = await makeTemporaryFolder()
  const chain = join(folder.path, 'chain.pem')
  await writeFile(chain, await cloud.authority.signDevice(csr))
  const installed = await device.run('install-certificate', chain)
  assert.equal(installed.status, 0, installed.stderr)
  device.boot()
  await seen(cloud, 'telemetry', 'press-05')
  assert.equal(eventsOf(cloud, 'registered', 'press-05').length, 1)
})

const DAY_MS = 86_400_000
const noClientAuth = `basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth`

/** Chains that an operator may lay down by mistake: code → how it is made. */
const wrongChains: Readonly<Record<string, (csr: string) => Promise<string>>> = {
  CHAIN_KEY_MISMATCH: async () => cloud.authority.signDevice(await requestOfAnotherKey('press-06')),
  CHAIN_NAME_MISMATCH: (csr) => signed(csr, { subject: '/CN=press-66' }),
  CHAIN_NO_CLIENT_AUTH: (csr) => signed(csr, { extensions: noClientAuth }),
  CHAIN_LEAF_IS_CA: (csr) =>
    signed(csr, {
      extensions:
        'basicConstraints = critical, CA:TRUE\nkeyUsage = critical, digitalSignature\nextendedKeyUsage = clientAuth',
    }),
  CHAIN_TOO_WEAK: (csr) => signed(csr, { digest: 'sha1' }),
  CHAIN_BROKEN: async (csr) =>
    (await cloud.authority.intermediate.sign(csr)) + cloud.authority.serverRoot.certificatePem,
  CHAIN_UNREADABLE: () => Promise.resolve('-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n'),
  CHAIN_HOLDS_PRIVATE_KEY: async (csr) => {
    const { keyPem } = await cloud.authority.makeDevice('press-06')
    return (await cloud.authority.signDevice(csr)) + keyPem
  },
}

function signed(csr: string, profile: Profile): Promise<string> {
  return cloud.authority.signDevice(csr, profile)
}

async function requestOfAnotherKey(name: string): Promise<string> {
  await using folder = await makeTemporaryFolder()
  return await makeRequest(await makeKey(join(folder.path, 'other.key')), `/CN=${name}`)
}

test('each wrong chain is refused by name and set aside, and the right one is still awaited', async () => {
  await using device = await makeDevice(cloud, { registrationId: 'press-06' })
  const agent = device.boot()
  const csr = await requestOf(device)
  for (const [code, make] of Object.entries(wrongChains)) {
    const since = agent.journal.lines().length
    await lay(device, await make(csr))
    const line = await agent.journal.heard('a chain was not accepted', { since })
    assert.ok(codesOf(line['problems']).includes(code), `${code} is not among ${JSON.stringify(line['problems'])}`)
    const aside = await eventually(async () => {
      const names = await readdir(join(device.stateDir, 'issued'))
      return names.find((name) => name.startsWith(`press-06.pem.refused-${codesOf(line['problems'])[0]}`))
    })
    assert.ok(aside)
    assert.equal((await agent.status()).auth.state, 'awaitingCertificate')
  }
  assert.deepEqual(eventsOf(cloud, 'connected', 'press-06'), [])
  assert.equal(await device.read('credentials/pending/request.csr'), csr)

  await lay(device, await cloud.authority.signDevice(csr))
  await seen(cloud, 'connected', 'press-06', { fits: atHub(cloud) })
})

function codesOf(problems: unknown): readonly string[] {
  return (problems as readonly { readonly code: string }[]).map(({ code }) => code)
}

test('a chain that has expired by the clock of the device is named but kept: the clock may be wrong', async () => {
  await using device = await makeDevice(cloud, { registrationId: 'press-16' })
  const clock = createFakeClock(Date.now() + 100 * DAY_MS)
  const agent = device.boot({ clock })
  const csr = await requestOf(device)
  await lay(device, await cloud.authority.signDevice(csr))
  await clock.waiting()
  const line = agent.journal.heard('a chain was not accepted')
  await advanceUntil(clock, line)
  assert.deepEqual(codesOf((await line)['problems']), ['CHAIN_EXPIRED'])
  clock.stepWall(-100 * DAY_MS)
  await advanceUntil(clock, agent.journal.heard('the chain was checked and accepted'))
})

/** Moves the clock in small steps until the promise has settled. */
async function advanceUntil(clock: FakeClock, settled: Promise<unknown>): Promise<void> {
  let over = false
  const note = () => {
    over = true
  }
  settled.then(note, note)
  while (!over) await clock.advance(1000)
  await settled
}

test('a chain that is written slowly is taken when it is whole', async () => {
  await using device = await makeDevice(cloud, { registrationId: 'press-07' })
  const agent = device.boot()
  const chain = await cloud.authority.signDevice(await requestOf(device))
  const path = join(device.stateDir, 'issued', 'press-07.pem')
  await eventually(async () => ((await device.has('issued')) ? true : undefined))
  await writeFile(path, chain.slice(0, 200))
  await copyFile(path, `${path}.beside`)
  await writeFile(path, chain)
  await seen(cloud, 'telemetry', 'press-07')
  assert.deepEqual(
    agent.journal.lines().filter((line) => line.msg === 'a chain was not accepted'),
    [],
  )
})
