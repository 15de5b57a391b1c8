/** State that is torn, and a disk without room: what can be had again is made again, and nothing is lost. */
import assert from 'node:assert/strict'
import { cp, mkdir, readdir, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { Cloud } from '../cloud/cloud.ts'
import { makeDevice } from '../kit/device.ts'
import type { Device } from '../kit/device.ts'
import type { Profile } from '../kit/openssl.ts'
import { filesBelow, sourceProgram } from '../kit/program.ts'
import type { AgentProcess, Program } from '../kit/program.ts'
import { atHub, eventsOf, seen, startFleetCloud } from './agent-kit.ts'

let cloud: Cloud

before(async () => {
  cloud = await startFleetCloud()
})
after(() => cloud.close())

/** Puts a credential into the vault, as the generation of this name and the active one. */
async function keepCredential(device: Device, name: string, profile: Profile = {}): Promise<void> {
  const { keyPem, chainPem } = await cloud.authority.makeDevice(device.registrationId, { profile })
  const vault = join(device.stateDir, 'credentials')
  await mkdir(join(vault, name), { recursive: true, mode: 0o700 })
  await writeFile(join(vault, name, 'key.pem'), keyPem, { mode: 0o600 })
  await writeFile(join(vault, name, 'chain.pem'), chainPem, { mode: 0o600 })
  await writeFile(join(vault, 'active'), `${name}\n`, { mode: 0o600 })
}

/** A device that has been connected once. */
async function known(registrationId: string): Promise<Device> {
  const device = await makeDevice(cloud, { registrationId })
  await keepCredential(device, 'gen-0001')
  const agent = device.boot()
  await seen(cloud, 'telemetry', registrationId)
  await agent.stop()
  return device
}

const torn: Readonly<Record<string, (path: string) => Promise<void>>> = {
  'is empty': (path) => truncate(path, 0),
  'was cut off': (path) => truncate(path, 40),
  'is not JSON': (path) => writeFile(path, Buffer.from([0, 255, 1, 254])),
  'is of a later version': (path) => writeFile(path, '{"version":2,"hub":{}}'),
  'names a hub that is no host': (path) =>
    writeFile(path, JSON.stringify({ version: 1, assignedHub: 'hub/../x', deviceId: 'x', at: '' })),
}

for (const [how, damage] of Object.entries(torn)) {
  test(`an assignment that ${how} is set aside, and DPS is asked again`, async () => {
    const id = `torn-${Object.keys(torn).indexOf(how)}`
    await using device = await known(id)
    await damage(join(device.stateDir, 'assignment.json'))
    const since = cloud.record.seq()
    const agent = device.boot()
    await seen(cloud, 'telemetry', id, { since })
    assert.equal(eventsOf(cloud, 'registered', id, since).length, 1)
    const told = await agent.journal.heard('STATE_TORN')
    assert.match(told.msg, /assignment\.json/)
    assert.ok((await readdir(device.stateDir)).some((name) => name.startsWith('assignment.json.unreadable-')))
    assert.equal((JSON.parse(await device.read('assignment.json')) as { deviceId: string }).deviceId, id)
  })
}

test('an assignment of another scope or device is not used', async () => {
  await using device = await known('torn-foreign')
  const path = join(device.stateDir, 'assignment.json')
  const ours = JSON.parse(await device.read('assignment.json')) as Record<string, unknown>
  await writeFile(path, JSON.stringify({ ...ours, idScope: '0neFFFFFFFF', assignedHub: 'other.example' }))
  const since = cloud.record.seq()
  device.boot()
  await seen(cloud, 'telemetry', 'torn-foreign', { since })
  assert.equal(eventsOf(cloud, 'registered', 'torn-foreign', since).length, 1)
})

test('a torn pointer is set aside, and the newest whole generation is used', async () => {
  await using device = await known('torn-pointer')
  await writeFile(join(device.stateDir, 'credentials', 'active'), 'gen-')
  const since = cloud.record.seq()
  const agent = device.boot()
  await seen(cloud, 'telemetry', 'torn-pointer', { since })
  await agent.journal.heard('STATE_TORN')
  assert.equal(await device.read('credentials/active'), 'gen-0001\n')
  assert.equal((await agent.status()).auth.state, 'active')
})

test('a newer generation without its chain is set aside, and the older one is used', async () => {
  await using device = await known('torn-generation')
  const vault = join(device.stateDir, 'credentials')
  await cp(join(vault, 'gen-0001'), join(vault, 'gen-0002'), { recursive: true, preserveTimestamps: true })
  await rm(join(vault, 'gen-0002', 'chain.pem'))
  await writeFile(join(vault, 'active'), 'gen-0002\n')
  const since = cloud.record.seq()
  const agent = device.boot()
  await seen(cloud, 'connected', 'torn-generation', { since, fits: atHub(cloud) })
  await agent.journal.heard('STATE_TORN')
  assert.equal(await device.read('credentials/active'), 'gen-0001\n')
  // Its key is not thrown away: it may be the only one for a certificate that somebody has just made.
  assert.ok((await readdir(vault)).some((name) => name.startsWith('gen-0002.')))
})

for (const name of ['meta.json', 'request.csr']) {
  test(`a waiting request whose ${name} is torn is made anew from its key`, async () => {
    const id = `torn-pending-${name.startsWith('m') ? 'meta' : 'csr'}`
    await using device = await makeDevice(cloud, { registrationId: id })
    assert.equal((await device.run('csr')).status, 0)
    const key = await device.read('credentials/pending/key.pem')
    await writeFile(join(device.stateDir, 'credentials', 'pending', name), '{')
    const agent = device.boot()
    await agent.journal.heard('waiting for a certificate')
    assert.equal(await device.read('credentials/pending/key.pem'), key)
    await writeFile(
      join(device.stateDir, 'issued', `${id}.pem`),
      await cloud.authority.signDevice((await device.run('csr')).stdout),
    )
    await seen(cloud, 'telemetry', id)
  })
}

const fullDisk: Program = [
  sourceProgram[0],
  '--import',
  fileURLToPath(new URL('../kit/full-disk.ts', import.meta.url)),
  ...sourceProgram.slice(1),
]

/** Starts the agent on a disk that is full until `makeRoom`. */
async function startFull(device: Device): Promise<{ agent: AgentProcess; makeRoom: () => Promise<void> }> {
  const mark = join(device.folder, 'full')
  await writeFile(mark, '')
  const agent = device.start({ FULL_DISK: device.stateDir, FULL_DISK_WHILE: mark })
  return { agent, makeRoom: () => rm(mark) }
}

test('a disk without room is named, leaves no half of a key, and is tried again', async () => {
  await using device = await makeDevice(cloud, { registrationId: 'full-01', program: fullDisk })
  const { agent, makeRoom } = await startFull(device)
  const line = await agent.journal.heard('DISK_FULL')
  assert.match(String(line['advice']), /df -h/)
  // Audit trail and outbox are there from the start, or are being tried at this moment; of the key there must be nothing.
  const others = /\/(audit\.ndjson|outbox\.db)/
  const files = [...(await filesBelow(device.stateDir)).keys()].filter((path) => !others.test(path))
  assert.deepEqual(files, [])
  const status = await device.run('status')
  assert.equal(status.status, 1)
  assert.match(status.stdout, /DISK_FULL/)
  await makeRoom()
  await agent.journal.heard('waiting for a certificate')
  assert.equal((await agent.stop()).status, 0)
})

test('a disk without room keeps no device with a certificate away from its hub', async () => {
  await using device = await makeDevice(cloud, { registrationId: 'full-02', program: fullDisk })
  await keepCredential(device, 'gen-0001')
  const { agent } = await startFull(device)
  await seen(cloud, 'telemetry', 'full-02')
  await agent.journal.heard('DISK_FULL')
  assert.equal(await device.has('assignment.json'), false)
  assert.equal((await agent.stop()).status, 0)
})

test('a disk without room ends no device that has to ask for its next certificate', async () => {
  await using device = await makeDevice(cloud, { registrationId: 'full-03', program: fullDisk })
  const DAY_MS = 86_400_000
  const profile = { notBefore: new Date(Date.now() - 3 * DAY_MS), notAfter: new Date(Date.now() - DAY_MS) }
  await keepCredential(device, 'gen-0001', profile)
  const { agent, makeRoom } = await startFull(device)
  await agent.journal.heard('DISK_FULL')
  await agent.journal.heard('DPS_UNAUTHORIZED')
  await makeRoom()
  await agent.journal.heard('waiting for a certificate')
  assert.equal((await agent.stop()).status, 0)
})
