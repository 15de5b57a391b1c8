/** The program in the place of the Python client: the same variables, the same messages; and how it refuses to start. */
import assert from 'node:assert/strict'
import { chmod, mkdir, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { Cloud } from '../cloud/cloud.ts'
import { makeDevice } from '../kit/device.ts'
import type { Journal } from '../kit/journal.ts'
import { makeTemporaryFolder } from '../kit/openssl.ts'
import { runProgram, sourceProgram } from '../kit/program.ts'
import { atHub, eventsOf, seen, startFleetCloud } from './agent-kit.ts'

let cloud: Cloud

before(async () => {
  cloud = await startFleetCloud()
})
after(() => cloud.close())

const pairOf = (registrationId: string) => cloud.authority.makeDevice(registrationId)

test('with the variables of the Python client alone it sends what that client sent', async () => {
  const pair = await pairOf('drop-01')
  await using device = await makeDevice(cloud, { registrationId: 'drop-01', pair })
  device.start()
  const { message } = await seen(cloud, 'telemetry', 'drop-01')
  const body = JSON.parse(message.body.toString('utf8')) as Record<string, unknown>
  assert.equal(body['deviceId'], 'drop-01')
  assert.equal(body['authType'], 'x509')
  // Python: datetime.now(timezone.utc).isoformat()
  assert.match(String(body['timestamp']), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00$/)
  assert.ok(Math.abs(Date.parse(String(body['timestamp'])) - message.enqueuedAt) < 20_000)
  assert.equal(message.system['content-type'], 'application/json')
  assert.equal(message.system['content-encoding'], 'utf-8')
  assert.match(message.system['message-id'] ?? '', /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
  assert.equal(
    Date.parse(message.system['iothub-creation-time-utc'] ?? ''),
    Date.parse(String(body['timestamp'])),
    'the creation time is that of the sample',
  )
  assert.ok(Number(body['memoryTotalBytes']) > 0 && Number(body['uptimeSeconds']) > 0)
  const [connected] = eventsOf(cloud, 'connected', 'drop-01').filter(atHub(cloud))
  assert.equal(connected?.auth, 'x509')
  // The pair is used where it is: no key is made, nothing is asked of an issuer.
  assert.equal(await device.has('credentials/pending'), false)
  assert.equal(await device.has('credentials/gen-0001'), false)
  assert.equal(await device.has('requests'), false)
})

test('TELEMETRY_INTERVAL is the time between two messages', async () => {
  const pair = await pairOf('drop-02')
  await using device = await makeDevice(cloud, { registrationId: 'drop-02', pair })
  device.start()
  const first = await seen(cloud, 'telemetry', 'drop-02')
  const third = await cloud.record.waitFor(() => eventsOf(cloud, 'telemetry', 'drop-02').length >= 3, {
    withinMs: 20_000,
  })
  assert.ok(third.at - first.at >= 1_500 && third.at - first.at < 4_000, `${third.at - first.at} ms for two intervals`)
})

test('every problem of the configuration is told at once, and the exit code is 78', async () => {
  await using device = await makeDevice(cloud, { registrationId: 'drop-03' })
  const variables = {
    ...device.variables,
    DPS_HOST: 'https://dps.example',
    DPS_ID_SCOPE: 'not a scope',
    TELEMETRY_INTERVAL: 'often',
    IOT_AGENT_LOG_LEVEL: 'chatty',
    CERT_PATH: '/nowhere/x.pem',
  }
  for (const command of [['run'], ['csr'], ['config', 'check']]) {
    const { status, stderr, stdout } = await runProgram(sourceProgram, command, variables)
    assert.equal(status, 78, command.join(' '))
    assert.equal(stdout, '')
    for (const name of ['DPS_HOST', 'DPS_ID_SCOPE', 'TELEMETRY_INTERVAL', 'IOT_AGENT_LOG_LEVEL', 'KEY_PATH'])
      assert.ok(stderr.includes(name) || stderr.includes('auth.x509.keyFile'), `${name} is not in:\n${stderr}`)
  }
  assert.equal(await device.has('credentials/pending'), false)
  assert.equal(await device.has('credentials/gen-0001'), false)
})

for (const [what, content] of [
  ['is empty', ''],
  ['holds no certificate', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'],
] as const)
  test(`an authority file that ${what} is a problem of the configuration`, async () => {
    await using folder = await makeTemporaryFolder()
    const path = join(folder.path, 'ca.pem')
    await writeFile(path, content)
    await using device = await makeDevice(cloud, {
      registrationId: 'drop-04',
      environment: { IOT_AGENT_CA_FILE: path },
    })
    const agent = device.start()
    assert.equal(await agent.ended, 78)
    assert.ok((await refusedLine(agent.journal, 'CONFIG_INVALID')).includes(path))
  })

test('a running agent tells how it is to a shell that has nothing of its configuration', async () => {
  await using device = await makeDevice(cloud, { registrationId: 'drop-15' })
  const agent = device.start()
  await agent.journal.heard('waiting for a certificate')
  const { IOT_AGENT_RUNTIME_DIR = '', PATH = '' } = device.variables
  const asked = await runProgram(sourceProgram, ['status', '--json'], { PATH, IOT_AGENT_RUNTIME_DIR })
  assert.equal(asked.status, 1)
  assert.equal((JSON.parse(asked.stdout) as { device: { registrationId: string } }).device.registrationId, 'drop-15')
  const none = await runProgram(sourceProgram, ['status', '--json'], { PATH, IOT_AGENT_RUNTIME_DIR: '/nowhere' })
  assert.equal(none.status, 5)
})

test('an authority file that is not there is told, and systemd may try again: its file system may be late', async () => {
  await using device = await makeDevice(cloud, {
    registrationId: 'drop-14',
    environment: { IOT_AGENT_CA_FILE: '/nowhere/ca.pem' },
  })
  const agent = device.start()
  assert.equal(await agent.ended, 1)
  assert.ok((await refusedLine(agent.journal, 'CA_FILE_UNREADABLE')).includes('/nowhere/ca.pem'))
})

test('a command line that is not known is answered with usage and exit code 2', async () => {
  await using device = await makeDevice(cloud, { registrationId: 'drop-05' })
  for (const args of [['rnu'], ['run', 'now'], ['run', '--fast'], ['install-certificate']]) {
    const { status, stderr } = await device.run(...args)
    assert.equal(status, 2, args.join(' '))
    assert.notEqual(stderr, '')
  }
  assert.equal((await device.run('--help')).status, 0)
  assert.equal((await device.run('version')).status, 0)
})

test('a key that others can read is refused with the command that mends it, after which the agent starts', async () => {
  const pair = await pairOf('drop-06')
  await using device = await makeDevice(cloud, { registrationId: 'drop-06', pair })
  await chmod(pair.keyFile, 0o644)
  const refused = device.start()
  assert.equal(await refused.ended, 1)
  const line = await refusedLine(refused.journal, 'KEY_EXPOSED')
  assert.ok(line.includes(`chmod 600 ${pair.keyFile}`), line)
  assert.deepEqual(eventsOf(cloud, 'connected', 'drop-06'), [])
  await assert.rejects(stat(join(device.folder, 'run', 'control.sock')), { code: 'ENOENT' })

  await chmod(pair.keyFile, 0o600)
  device.start()
  await seen(cloud, 'telemetry', 'drop-06')
})

test('the same holds for the keys and folders of the vault', async () => {
  await using device = await makeDevice(cloud, { registrationId: 'drop-07' })
  assert.equal((await device.run('csr')).status, 0)
  for (const name of ['credentials', 'credentials/pending', 'credentials/pending/key.pem']) {
    const path = join(device.stateDir, name)
    const { mode } = await stat(path)
    await chmod(path, 0o755)
    const refused = device.start()
    assert.equal(await refused.ended, 1, name)
    const line = await refusedLine(refused.journal, 'KEY_EXPOSED')
    const remedy = /chmod ([0-7]+) (.*)$/.exec(line) ?? []
    assert.equal(remedy[2], path, line)
    await chmod(path, Number.parseInt(remedy[1] ?? '', 8))
    // What the command leaves is no more open than what the agent had made, and it starts with it.
    assert.equal((await stat(path)).mode & 0o077, mode & 0o077)
  }
  const agent = device.start()
  await agent.journal.heard('waiting for a certificate')
})

test('a second agent on the same runtime folder is turned away, and the first goes on', async () => {
  const pair = await pairOf('drop-08')
  await using device = await makeDevice(cloud, { registrationId: 'drop-08', pair })
  device.start()
  await seen(cloud, 'telemetry', 'drop-08')
  const second = device.start()
  assert.equal(await second.ended, 1)
  await refusedLine(second.journal, 'AGENT_ALREADY_RUNNING')
  const since = cloud.record.seq()
  await seen(cloud, 'telemetry', 'drop-08', { since })
  assert.equal(eventsOf(cloud, 'connected', 'drop-08').filter(atHub(cloud)).length, 1)
  assert.equal((await device.run('status', '--json')).stdout.includes('"connected"'), true)
})

test('key and certificate that are no pair end the start', async () => {
  const pair = await pairOf('drop-09')
  const { keyFile } = await pairOf('drop-09')
  await using device = await makeDevice(cloud, { registrationId: 'drop-09', pair: { ...pair, keyFile } })
  const agent = device.start()
  assert.equal(await agent.ended, 1)
  await refusedLine(agent.journal, 'TLS_LOCAL_CREDENTIAL')
  assert.deepEqual(eventsOf(cloud, 'connected', 'drop-09'), [])
})

test('a state folder that cannot be used ends the start, and names the folder', async () => {
  await using device = await makeDevice(cloud, { registrationId: 'drop-10' })
  const file = join(device.folder, 'file')
  await writeFile(file, '')
  const agent = device.start({ IOT_AGENT_STATE_DIR: join(file, 'state') })
  assert.equal(await agent.ended, 1)
  assert.ok((await refusedLine(agent.journal, 'STATE_UNWRITABLE')).includes(join(file, 'state')))
})

test('a runtime folder that cannot be used ends the start', async () => {
  await using device = await makeDevice(cloud, { registrationId: 'drop-11' })
  await mkdir(join(device.folder, 'run', 'control.sock'))
  const agent = device.start()
  assert.equal(await agent.ended, 1)
  await refusedLine(agent.journal, 'CONTROL_UNAVAILABLE')
})

/** The message of the log line with this code. */
async function refusedLine(journal: Journal, code: string): Promise<string> {
  return (await journal.heard(code)).msg
}
