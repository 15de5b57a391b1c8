/** The private key stays where it was made. */
import assert from 'node:assert/strict'
import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { Cloud } from '../cloud/cloud.ts'
import { eventually, makeDevice } from '../kit/device.ts'
import type { Device } from '../kit/device.ts'
import { holdsKey, keyForms } from '../kit/leak.ts'
import { filesBelow } from '../kit/program.ts'
import type { AgentProcess } from '../kit/program.ts'
import { eventsOf, seen, startFleetCloud } from './agent-kit.ts'

let cloud: Cloud

before(async () => {
  cloud = await startFleetCloud()
})
after(() => cloud.close())

/** Every place outside the vault where the key could have gone, by name. */
async function placesOutside(device: Device, agent: AgentProcess, keyFile: string): Promise<Map<string, Buffer>> {
  const outputs = await Promise.all(
    [['status'], ['status', '--json'], ['config', 'list', '--json']].map((args) => device.run(...args)),
  )
  const files = [...(await filesBelow(device.folder))].filter(([path]) => path !== keyFile)
  return new Map([
    ['the cloud', cloud.received()],
    ['the log', Buffer.from(agent.journal.text())],
    ['the process', await agent.processMemory()],
    ['the commands', Buffer.from(outputs.map(({ stdout, stderr }) => stdout + stderr).join('\n'))],
    ['the twin', Buffer.from(JSON.stringify(cloud.hub.twin(device.registrationId)))],
    ...files,
  ])
}

async function assertKept(device: Device, agent: AgentProcess, keyFile: string): Promise<void> {
  const forms = keyForms(await readFile(keyFile, 'utf8'))
  // The search finds it where it is, or finding it nowhere else would say nothing.
  assert.ok(holdsKey(forms, await readFile(keyFile)))
  const places = await placesOutside(device, agent, keyFile)
  assert.ok((places.get('the cloud')?.length ?? 0) > 1000 && (places.get('the log')?.length ?? 0) > 500)
  const leaks = [...places].filter(([, bytes]) => holdsKey(forms, bytes)).map(([name]) => name)
  assert.deepEqual(leaks, [])
}

for (const keyType of ['ec-p256', 'rsa-2048'] as const) {
  test(`a key (${keyType}) made on the device is nowhere but in the vault, through the whole story`, async () => {
    const id = `secret-${keyType}`
    const toml = `auth.x509.keyType = "${keyType}"\n`
    await using device = await makeDevice(cloud, { registrationId: id, toml })
    const agent = device.start()
    await agent.journal.heard('waiting for a certificate')
    await eventually(async () => ((await device.has('issued')) ? true : undefined))
    const csr = (await device.run('csr')).stdout
    const pending = join(device.stateDir, 'credentials', 'pending', 'key.pem')
    await assertStaysPrivate(pending)
    // A chain with a key in it is refused, and neither key is told to anybody.
    const { keyPem } = await cloud.authority.makeDevice(id)
    const bad = join(device.folder, 'bad.pem')
    await writeFile(bad, (await cloud.authority.signDevice(csr)) + keyPem)
    const refused = await device.run('install-certificate', bad)
    assert.match(refused.stderr, /CHAIN_HOLDS_PRIVATE_KEY/)
    assert.equal(holdsKey(keyForms(keyPem), Buffer.from(refused.stdout + refused.stderr)), false)

    await writeFile(join(device.stateDir, 'issued', `${id}.pem`), await cloud.authority.signDevice(csr))
    await seen(cloud, 'telemetry', id)
    await seen(cloud, 'reported', id)
    const keyFile = join(device.stateDir, 'credentials', 'gen-0001', 'key.pem')
    await assertStaysPrivate(keyFile)
    await assertKept(device, agent, keyFile)
  })
}

test('a key that was laid down by somebody is copied nowhere', async () => {
  const pair = await cloud.authority.makeDevice('secret-pair')
  await using device = await makeDevice(cloud, { registrationId: 'secret-pair', pair })
  const agent = device.start()
  await seen(cloud, 'telemetry', 'secret-pair')
  await assertKept(device, agent, pair.keyFile)
  assert.equal(eventsOf(cloud, 'connected', 'secret-pair').length, 2)
})

test('a key in place of a certificate ends the start without a byte of it being told', async () => {
  const pair = await cloud.authority.makeDevice('secret-swap')
  await using device = await makeDevice(cloud, {
    registrationId: 'secret-swap',
    pair: { ...pair, chainFile: pair.keyFile },
  })
  const agent = device.start()
  assert.equal(await agent.ended, 1)
  assert.equal(holdsKey(keyForms(pair.keyPem), Buffer.from(agent.journal.text())), false)
})

async function assertStaysPrivate(path: string): Promise<void> {
  assert.equal((await stat(path)).mode & 0o777, 0o600)
}
