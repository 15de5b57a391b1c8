/** A configuration that is changed under a running agent: what counts at once, and what never breaks. */
import assert from 'node:assert/strict'
import { rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, afterEach, before, test } from 'node:test'
import { askReload } from '../../agent/control/reload.ts'
import type { ReloadAnswer } from '../../agent/control/reload.ts'
import { systemClock } from '../../agent/system/clock.ts'
import type { Cloud } from '../cloud/cloud.ts'
import { createFakeClock } from '../kit/clock.ts'
import type { FakeClock } from '../kit/clock.ts'
import { eventually, makeDevice } from '../kit/device.ts'
import type { BootedAgent, Device } from '../kit/device.ts'
import { atHub, block, calm, eventsOf, reconnect, seen, settled, startFleetCloud, unblock } from './agent-kit.ts'

let cloud: Cloud

before(async () => {
  cloud = await startFleetCloud()
})
after(() => cloud.close())
afterEach(() => calm(cloud))

const usual = '[telemetry]\nintervalSeconds = 60\n[log]\nlevel = "info"\n'

/** A device whose file alone says what a reload can change. */
async function withFile(registrationId: string, toml = usual): Promise<Device> {
  const pair = await cloud.authority.makeDevice(registrationId)
  return makeDevice(cloud, {
    ...{ registrationId, pair, toml },
    environment: { TELEMETRY_INTERVAL: '', IOT_AGENT_LOG_LEVEL: '' },
  })
}

/** As an editor does it, so that no reload sees half of it. */
async function write({ folder }: Device, toml: string): Promise<void> {
  const file = join(folder, 'etc', 'config.toml')
  await writeFile(`${file}.new`, toml)
  await rename(`${file}.new`, file)
}

function ask({ config }: Device): ReturnType<typeof askReload> {
  return askReload({ path: config.paths.controlSocket, clock: systemClock })
}

async function reloaded(device: Device): Promise<ReloadAnswer> {
  const answer = await ask(device)
  assert.ok(!('ok' in answer), JSON.stringify(answer))
  return answer
}

/** The device has had one session with its hub, and still has it. */
function hasOneSession(id: string): void {
  assert.equal(eventsOf(cloud, 'connected', id).filter(atHub(cloud)).length, 1)
  assert.deepEqual(eventsOf(cloud, 'disconnected', id).filter(atHub(cloud)), [])
}

async function boot(device: Device): Promise<[BootedAgent, FakeClock]> {
  const clock = createFakeClock(Date.now())
  const agent = device.boot({ clock })
  await settled(cloud, agent, device.registrationId)
  return [agent, clock]
}

function command(name: string, body: string): string {
  return `[[telemetry.command]]\nname = "${name}"\nprogram = ["/bin/echo", '${body}']\nintervalSeconds = 3600\n`
}

/** Bodies that the cloud has from this device. */
function bodies(id: string): readonly string[] {
  return eventsOf(cloud, 'telemetry', id).map(({ message }) => message.body.toString())
}

function got(id: string, body: string) {
  return eventually(async () => (bodies(id).some((one) => one.includes(body)) ? true : undefined))
}

test('interval, log level and programs are taken up while the session stays the same one', async () => {
  await using device = await withFile('reload-01', usual + command('old', '{"from":"old"}'))
  const [agent, clock] = await boot(device)
  await got('reload-01', '"old"')
  const changed = usual.replace('60', '5').replace('info', 'debug')
  await write(device, changed + command('new', '{"from":"new"}') + command('old', '{"from":"old"}'))
  const taken = ['telemetry.intervalSeconds', 'telemetry.command', 'log.level']
  assert.deepEqual(await reloaded(device), { taken, overruled: [], pending: [] })

  await got('reload-01', '"new"')
  const { telemetry } = await agent.status()
  assert.equal(telemetry.intervalSeconds, 5)
  assert.deepEqual(
    telemetry.sources?.map(({ name, runs }) => [name, runs]),
    [
      ['new', 1],
      ['old', 1],
    ],
    'the program whose entry has not changed goes on as it was',
  )
  await clock.advance(5_000)
  await agent.until(({ telemetry: { acknowledged } }) => acknowledged > telemetry.acknowledged)
  assert.ok(agent.journal.lines().some(({ level, msg }) => level === 'debug' && msg === 'telemetry acknowledged'))

  await write(device, changed + command('new', '{"from":"changed"}'))
  assert.deepEqual((await reloaded(device)).taken, ['telemetry.command'])
  await got('reload-01', '"changed"')
  assert.deepEqual(
    (await agent.status()).telemetry.sources?.map(({ name }) => name),
    ['new'],
  )
  hasOneSession('reload-01')
})

test('the measurements of the device itself end and begin again', async () => {
  await using device = await withFile('reload-02')
  const [agent, clock] = await boot(device)
  await write(device, `${usual}[telemetry.drain]\njitterSeconds = 0\n`.replace('[log]', 'device = false\n[log]'))
  assert.deepEqual((await reloaded(device)).taken, ['telemetry.device', 'telemetry.drain.jitterSeconds'])
  await clock.advance(600_000)
  assert.equal((await agent.status()).telemetry.acknowledged, 1)
  await write(device, usual)
  assert.deepEqual((await reloaded(device)).taken, ['telemetry.device', 'telemetry.drain.jitterSeconds'])
  await agent.until(({ telemetry }) => telemetry.acknowledged === 2)
  await clock.advance(60_000)
  await agent.until(({ telemetry }) => telemetry.acknowledged === 3)
  hasOneSession('reload-02')
})

test('with an invalid file nothing changes, and every problem is told', async () => {
  await using device = await withFile('reload-03')
  const [agent] = await boot(device)
  await write(device, '[telemetry]\nintervalSeconds = 5\nbatchSamples = 0\n[log]\nlevel = "loud"\n')
  const answer = await ask(device)
  assert.ok('ok' in answer)
  assert.equal(answer.code, 'CONFIG_INVALID')
  assert.match(answer.message, /the configuration has 2 problems:[^]*telemetry\.batchSamples[^]*log\.level/)
  await agent.journal.heard(({ level, code }) => level === 'error' && code === 'CONFIG_INVALID')
  const { telemetry, configuration } = await agent.status()
  assert.deepEqual([telemetry.intervalSeconds, configuration], [60, { pending: [] }])
  hasOneSession('reload-03')

  await write(device, usual.replace('60', '5'))
  assert.deepEqual((await reloaded(device)).taken, ['telemetry.intervalSeconds'], 'a mended file is taken up')
})

test('what needs a restart is named until the file says again what it did', async () => {
  await using device = await withFile('reload-04')
  const [agent] = await boot(device)
  await write(device, `${usual.replace('60', '5')}[telemetry.socket]\nenabled = false\n[issuer]\nfolder = "/srv/ca"\n`)
  const pending = ['issuer.folder', 'telemetry.socket.enabled']
  assert.deepEqual(await reloaded(device), { taken: ['telemetry.intervalSeconds'], overruled: [], pending })
  const words = `needs a restart: ${pending.join(', ')}; systemctl restart iot-device-agent`
  await agent.journal.heard(({ level, msg }) => level === 'warn' && msg === words)
  assert.deepEqual((await agent.status()).configuration, { pending })
  assert.ok((await device.run('status')).stdout.includes(`Config      ${words}\n`))

  assert.deepEqual((await reloaded(device)).taken, [], 'what was taken up is no news any more')
  assert.deepEqual((await agent.status()).configuration, { pending })
  await write(device, usual.replace('60', '5'))
  assert.deepEqual(await reloaded(device), { taken: [], overruled: [], pending: [] })
  assert.deepEqual((await agent.status()).configuration, { pending: [] })
  const warned = agent.journal.lines().filter(({ msg }) => msg === words)
  assert.equal(warned.length, 1)
})

test('what the twin has set goes before the file, and the file counts once the twin lets go', async () => {
  await using device = await withFile('reload-05')
  const [agent] = await boot(device)
  cloud.hub.patchTwin('reload-05', { desired: { telemetry: { intervalSeconds: 7 } } })
  await agent.until(({ telemetry }) => telemetry.intervalSeconds === 7)
  await write(device, usual.replace('60', '5').replace('info', 'debug'))
  const overruled = ['telemetry.intervalSeconds']
  const taken = ['telemetry.intervalSeconds', 'log.level']
  assert.deepEqual(await reloaded(device), { taken, overruled, pending: [] })
  assert.equal((await agent.status()).telemetry.intervalSeconds, 7)
  cloud.hub.patchTwin('reload-05', { desired: { telemetry: { intervalSeconds: null } } })
  await agent.until(({ telemetry }) => telemetry.intervalSeconds === 5)
})

test('a wish that was refused holds nothing back, and its answer tells what applies now', async () => {
  await using device = await withFile('reload-06')
  const [agent] = await boot(device)
  cloud.hub.patchTwin('reload-06', { desired: { telemetry: { intervalSeconds: 0 } } })
  const answers = (value: number) =>
    seen(cloud, 'reported', 'reload-06', {
      fits() {
        const { telemetry } = (cloud.hub.twin('reload-06')?.reported ?? {}) as {
          telemetry?: { intervalSeconds: { value: number; ac: number } }
        }
        return telemetry?.intervalSeconds.ac === 400 && telemetry.intervalSeconds.value === value
      },
    })
  await answers(60)
  await write(device, usual.replace('60', '5'))
  assert.deepEqual((await reloaded(device)).overruled, [])
  await answers(5)
  assert.equal((await agent.status()).telemetry.intervalSeconds, 5)
})

test('a reload without a connection counts at once, and holds in the next session', async () => {
  await using device = await withFile('reload-07')
  const [agent, clock] = await boot(device)
  const call = async (name: string) =>
    (await cloud.hub.invokeMethod('reload-07', { name, payload: {}, responseTimeoutSeconds: 30 })).status
  assert.equal(await call('getStatus'), 200)
  block(cloud, 'reload-07')
  await agent.until(({ connection }) => connection.state === 'disconnected')
  await write(device, `${usual.replace('60', '5')}[methods]\nallowed = "ping"\n`)
  assert.deepEqual((await reloaded(device)).taken, ['telemetry.intervalSeconds', 'methods.allowed'])
  assert.equal((await agent.status()).telemetry.intervalSeconds, 5)
  unblock(cloud, 'reload-07')
  await reconnect(agent, clock)
  assert.equal((await agent.status()).telemetry.intervalSeconds, 5)
  const status = await eventually(() => call('getStatus').catch(() => undefined))
  assert.deepEqual([status, await call('ping')], [403, 200])
})

test('many reloads at once are one after the other, and the last word of the file counts', async () => {
  await using device = await withFile('reload-08')
  const [agent] = await boot(device)
  const answers: Promise<ReloadAnswer>[] = []
  for (let seconds = 1; seconds <= 8; seconds += 1) {
    await write(device, usual.replace('60', String(seconds)))
    answers.push(reloaded(device))
  }
  assert.equal((await Promise.all(answers)).length, 8)
  assert.equal((await agent.status()).telemetry.intervalSeconds, 8)
  for (const answer of await Promise.all([reloaded(device), reloaded(device)])) assert.deepEqual(answer.taken, [])
  hasOneSession('reload-08')
})

test('SIGHUP does to the process what the command does, and ends nothing', async () => {
  await using device = await withFile('reload-09')
  await using agent = device.start()
  await seen(cloud, 'telemetry', 'reload-09')
  await write(device, usual.replace('60', '1'))
  process.kill(agent.pid, 'SIGHUP')
  const { taken } = await agent.journal.heard('the configuration was read anew')
  assert.deepEqual(taken, ['telemetry.intervalSeconds'])
  await eventually(async () => (eventsOf(cloud, 'telemetry', 'reload-09').length >= 3 ? true : undefined))

  await write(device, 'nonsense')
  for (let time = 0; time < 20; time += 1) process.kill(agent.pid, 'SIGHUP')
  await agent.journal.heard(({ level, code }) => level === 'error' && code === 'CONFIG_INVALID')
  const invalid = await device.run('reload')
  assert.deepEqual([invalid.status, invalid.stdout], [78, ''])
  assert.match(invalid.stderr, /CONFIG_INVALID/)

  await write(device, `${usual}[clock]\nsyncWaitSeconds = 7\n`)
  const { status, stdout } = await device.run('reload')
  assert.equal(status, 0)
  assert.match(stdout, /^taken up: telemetry\.intervalSeconds\nneeds a restart: clock\.syncWaitSeconds; /)
  hasOneSession('reload-09')
  assert.equal((await agent.stop()).status, 0)
  assert.equal((await device.run('reload')).status, 5)
})

test('SIGHUP right after the start ends nothing', async () => {
  await using device = await withFile('reload-10')
  await using agent = device.start()
  await agent.journal.heard('starting')
  process.kill(agent.pid, 'SIGHUP')
  await seen(cloud, 'telemetry', 'reload-10')
  assert.equal((await agent.stop()).status, 0)
})
