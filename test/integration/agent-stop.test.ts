/** SIGTERM in every state, what `status` exits with, and what systemd is told. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { chmod, mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { after, afterEach, before, test } from 'node:test'
import { promisify } from 'node:util'
import type { Cloud } from '../cloud/cloud.ts'
import { eventually, makeDevice } from '../kit/device.ts'
import type { Device } from '../kit/device.ts'
import type { AgentProcess } from '../kit/program.ts'
import { atHub, block, calm, cutOff, eventsOf, seen, startFleetCloud } from './agent-kit.ts'

let cloud: Cloud

before(async () => {
  cloud = await startFleetCloud()
})
after(() => cloud.close())
afterEach(() => calm(cloud))

const DAY_MS = 86_400_000

async function withPair(registrationId: string, environment = {}): Promise<Device> {
  return makeDevice(cloud, { registrationId, pair: await cloud.authority.makeDevice(registrationId), environment })
}

/** SIGTERM, and the three things that hold whatever the agent was doing. */
async function stopsWell(device: Device, agent: AgentProcess): Promise<void> {
  const socket = join(device.folder, 'run', 'control.sock')
  assert.ok((await stat(socket)).isSocket())
  const { status, tookMs } = await agent.stop()
  assert.equal(status, 0, agent.journal.text())
  assert.ok(tookMs < 2_000, `${tookMs} ms`)
  await assert.rejects(stat(socket), { code: 'ENOENT' })
  assert.equal(agent.journal.lines().at(-1)?.msg, 'stopped')
  assert.equal((await device.run('status')).status, 5)
}

test('SIGTERM while the certificate is awaited', async () => {
  await using device = await makeDevice(cloud, { registrationId: 'stop-01' })
  const agent = device.start()
  await agent.journal.heard('waiting for a certificate')
  await stopsWell(device, agent)
})

test('SIGTERM while DPS does not answer CONNECT', async () => {
  cloud.faults.set('connectSilence', 'dps')
  await using device = await withPair('stop-02')
  const agent = device.start()
  await eventually(async () => (cloud.connections() > 0 ? true : undefined))
  await stopsWell(device, agent)
})

test('SIGTERM while DPS does not answer the registration: it hears DISCONNECT', async () => {
  cloud.faults.set('dpsAnswer', 'silence')
  await using device = await withPair('stop-03')
  const agent = device.start()
  await seen(cloud, 'connected', 'stop-03')
  await stopsWell(device, agent)
  const { reason } = await seen(cloud, 'disconnected', 'stop-03')
  assert.equal(reason, 'the client said DISCONNECT')
})

test('SIGTERM while connected: the hub hears DISCONNECT', async () => {
  await using device = await withPair('stop-04')
  const agent = device.start()
  await seen(cloud, 'telemetry', 'stop-04')
  await stopsWell(device, agent)
  const { reason } = await seen(cloud, 'disconnected', 'stop-04', { fits: atHub(cloud) })
  assert.equal(reason, 'the client said DISCONNECT')
})

test('SIGTERM while a message waits for its acknowledgement', async () => {
  await using device = await withPair('stop-05')
  cloud.faults.set('pubackDelayMs', 60_000)
  const agent = device.start()
  await agent.journal.heard('connected')
  await eventually(async () =>
    (await device.run('status', '--json')).stdout.includes('"buffered": 1') ? true : undefined,
  )
  await stopsWell(device, agent)
  const { reason } = await seen(cloud, 'disconnected', 'stop-05', { fits: atHub(cloud) })
  assert.equal(reason, 'the client said DISCONNECT')
})

test('SIGTERM while the hub does not answer CONNECT', async () => {
  cloud.faults.set('connectSilence', 'hub')
  await using device = await withPair('stop-06')
  const agent = device.start()
  await agent.journal.heard('connecting')
  await eventually(async () => (cloud.connections() > 0 ? true : undefined))
  await stopsWell(device, agent)
})

test('SIGTERM between two attempts', async () => {
  await using device = await withPair('stop-07', { DPS_HOST: 'nobody.invalid' })
  const agent = device.start()
  await agent.journal.heard('NETWORK_DNS')
  await stopsWell(device, agent)
})

test('SIGTERM while a key is being made that takes long', async () => {
  const toml = 'auth.x509.keyType = "rsa-4096"\n'
  await using device = await makeDevice(cloud, { registrationId: 'stop-15', toml })
  const agent = device.start()
  await agent.journal.heard('starting')
  await eventually(async () => ((await device.has('../run/control.sock')) ? true : undefined))
  await stopsWell(device, agent)
  // The next start finds no half of a key.
  const again = device.start()
  await eventually(async () => ((await device.has('../run/control.sock')) ? true : undefined))
  await stopsWell(device, again)
})

test('SIGTERM while systemd does not take READY', async () => {
  await using device = await withPair('stop-16')
  const systemd = await fakeSystemd(device)
  const agent = device.start(systemd.variables)
  await systemd.heard((line) => line.includes('--ready'))
  await stopsWell(device, agent)
  assert.deepEqual(eventsOf(cloud, 'connected', 'stop-16'), [])
})

test('SIGINT ends it as well as SIGTERM does', async () => {
  await using device = await withPair('stop-08')
  const agent = device.start()
  await seen(cloud, 'telemetry', 'stop-08')
  process.kill(agent.pid, 'SIGINT')
  assert.equal(await agent.ended, 0)
  const { reason } = await seen(cloud, 'disconnected', 'stop-08', { fits: atHub(cloud) })
  assert.equal(reason, 'the client said DISCONNECT')
})

test('a killed agent leaves a socket behind that does not hinder the next one', async () => {
  await using device = await withPair('stop-09')
  const first = device.start()
  await seen(cloud, 'telemetry', 'stop-09')
  first.kill()
  await first.ended
  assert.equal((await device.run('status')).status, 5)
  const since = cloud.record.seq()
  device.start()
  await seen(cloud, 'telemetry', 'stop-09', { since })
  assert.equal((await device.run('status')).status, 0)
})

test('status exits 0 when all is well, 3 when it is not as wanted, 1 without the hub, and 5 without an agent', async () => {
  await using device = await withPair('stop-10')
  const status = async () => {
    const { status, stdout } = await device.run('status', '--json')
    const said = JSON.parse(stdout) as { ok: boolean; exitCode: number; safe: string }
    assert.deepEqual([said.exitCode, said.ok], [status, status === 0])
    return status
  }
  const becomes = (wanted: number) => eventually(async () => ((await status()) === wanted ? true : undefined))
  assert.equal(await status(), 5)
  const agent = device.start()
  await seen(cloud, 'telemetry', 'stop-10')
  await becomes(0)
  cloud.hub.patchTwin('stop-10', { desired: { log: { level: 'chatty' } } })
  await becomes(3)
  cloud.hub.patchTwin('stop-10', { desired: { log: null } })
  await becomes(0)
  block(cloud, 'stop-10')
  await becomes(1)
  const { stdout } = await device.run('status')
  assert.match(stdout, /^Safe\s+no/)
  await agent.stop()
  assert.equal(await status(), 5)
})

test('status exits 4 when the certificate ends soon, and 1 while there is none', async () => {
  const profile = { notBefore: new Date(Date.now() - 88 * DAY_MS), notAfter: new Date(Date.now() + 2 * DAY_MS) }
  const pair = await cloud.authority.makeDevice('stop-11', { profile })
  await using device = await makeDevice(cloud, { registrationId: 'stop-11', pair })
  device.start()
  await seen(cloud, 'telemetry', 'stop-11')
  assert.equal((await device.run('status')).status, 4)

  await using bare = await makeDevice(cloud, { registrationId: 'stop-12' })
  await bare.start().journal.heard('waiting for a certificate')
  const { status, stdout } = await bare.run('status')
  assert.equal(status, 1)
  assert.match(stdout, /waiting for the certificate/)
})

/** A program `systemd-notify` that writes down what it is told; READY waits until somebody opens the gate. */
async function fakeSystemd(device: Device) {
  const bin = join(device.folder, 'bin')
  const told = join(device.folder, 'told')
  const gate = join(device.folder, 'gate')
  await mkdir(bin)
  await writeFile(told, '')
  await promisify(execFile)('mkfifo', [gate])
  const script = `#!/bin/sh
echo "$*" >>${told}
case "$*" in *--ready*) read -r _ <${gate} ;; esac
`
  await writeFile(join(bin, 'systemd-notify'), script)
  await chmod(join(bin, 'systemd-notify'), 0o755)
  return {
    variables: { PATH: [bin, device.variables['PATH']].join(delimiter), NOTIFY_SOCKET: join(device.folder, 'notify') },
    open: () => writeFile(gate, '\n'),
    lines: async () => (await readFile(told, 'utf8')).split('\n').slice(0, -1),
    heard: (fits: (line: string) => boolean) =>
      eventually(async () => (await readFile(told, 'utf8')).split('\n').slice(0, -1).find(fits)),
  }
}

test('systemd is told READY before any network, then the state, the watchdog, and the end', async () => {
  await using device = await withPair('stop-13')
  const systemd = await fakeSystemd(device)
  const agent = device.start({ ...systemd.variables, WATCHDOG_USEC: '200000' })
  const ready = await systemd.heard((line) => line.includes('--ready'))
  assert.match(ready, new RegExp(`--pid=${agent.pid}\\b`))
  // It answers already, and nothing has gone to the cloud, nor will it until systemd has heard.
  assert.equal((await device.run('status')).status, 1)
  assert.deepEqual(eventsOf(cloud, 'connected', 'stop-13'), [])
  await systemd.open()
  await seen(cloud, 'telemetry', 'stop-13')
  await systemd.heard((line) => line.includes('--status=connected to hub-1.localhost'))
  await eventually(async () => {
    const fed = (await systemd.lines()).filter((line) => line === 'WATCHDOG=1')
    return fed.length >= 3 ? true : undefined
  })
  cutOff(cloud, 'stop-13')
  await systemd.heard((line) => line.includes('--status=not connected (HUB_CLOSED)'))
  await stopsWell(device, agent)
  const lines = await systemd.lines()
  assert.equal(lines.filter((line) => line === 'STOPPING=1').length, 1)
  assert.ok(lines.indexOf('STOPPING=1') > lines.findIndex((line) => line.includes('--status=not connected')))
})

test('an agent that systemd cannot hear works all the same, and without systemd it calls nobody', async () => {
  await using device = await withPair('stop-14')
  const systemd = await fakeSystemd(device)
  const silent = device.start({ PATH: systemd.variables.PATH })
  await seen(cloud, 'telemetry', 'stop-14')
  await stopsWell(device, silent)
  assert.deepEqual(await systemd.lines(), [])

  const since = cloud.record.seq()
  const deaf = device.start({ PATH: '/nowhere', NOTIFY_SOCKET: '/nowhere/notify', WATCHDOG_USEC: '200000' })
  await seen(cloud, 'telemetry', 'stop-14', { since })
  await deaf.journal.heard('systemd was not told')
  await stopsWell(device, deaf)
})
