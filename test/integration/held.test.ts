/** A device out of the box: the service runs, waits, and says what for. */
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { Cloud } from '../cloud/cloud.ts'
import { eventually, makeDevice } from '../kit/device.ts'
import { runProgram, sourceProgram, startProgram } from '../kit/program.ts'
import type { Ran, Variables } from '../kit/program.ts'
import { startFleetCloud } from './agent-kit.ts'

let cloud: Cloud

before(async () => {
  cloud = await startFleetCloud()
})
after(() => cloud.close())

/** A device as systemd starts it, whose variables do not name it. */
async function makeUnnamed(id: string, more: Variables = { NOTIFY_SOCKET: '/nowhere' }) {
  const device = await makeDevice(cloud, { registrationId: id })
  const { DEVICE_ID: _id, DPS_ID_SCOPE: _scope, ...others } = device.variables
  const variables = { ...others, ...more }
  return {
    device,
    file: join(device.folder, 'etc/config.toml'),
    start: () => startProgram(sourceProgram, variables),
    run: (...words: readonly string[]) => runProgram(sourceProgram, words, variables),
  }
}

const named = (id: string) => `[device]\nregistrationId = "${id}"\n[dps]\nidScope = "${cloud.idScope}"\n`

/** What a command says once somebody listens on the control socket. */
function answered(run: () => Promise<Ran>): Promise<Ran> {
  return eventually(async () => {
    const ran = await run()
    return ran.status === 5 ? undefined : ran
  })
}

test('a device that nobody has named waits, says so, and goes on when its configuration comes', async () => {
  const { device, file, start, run } = await makeUnnamed('press-01')
  await using _device = device
  await using agent = start()
  const { status, stderr } = await answered(() => run('status'))
  assert.equal(status, 1)
  assert.match(stderr, /^CONFIG_AWAITED: waiting for a configuration: device\.registrationId: .*dps\.idScope: /)
  assert.equal(await device.has('credentials'), false)

  await writeFile(file, named('press-01'))
  const reload = await run('reload')
  assert.deepEqual([reload.status, reload.stdout], [0, 'what the agent waited for is there: it begins\n'])
  const csr = await eventually(async () => ((await device.has('requests/press-01.csr')) ? true : undefined))
  assert.equal(csr, true)
  const { status: exit } = await agent.stop()
  assert.equal(exit, 0)
})

test('a mistake that comes while it waits is told, and the next edit is taken', async () => {
  const { device, file, start, run } = await makeUnnamed('press-02')
  await using _device = device
  await using agent = start()
  await answered(() => run('status'))
  await writeFile(file, `${named('press-02')}[hub]\nkeepAliveSeconds = 5\n`)
  process.kill(agent.pid, 'SIGHUP')
  const told = await eventually(async () => {
    const { stderr } = await run('status')
    return /^CONFIG_INVALID: /m.test(stderr) ? stderr : undefined
  })
  assert.match(told, /hub\.keepAliveSeconds/)
  const reload = await run('reload')
  assert.equal(reload.status, 78)
  assert.match(reload.stderr, /hub\.keepAliveSeconds/)
  await writeFile(file, named('press-02'))
  process.kill(agent.pid, 'SIGHUP')
  await eventually(async () => ((await device.has('requests/press-02.csr')) ? true : undefined))
  await agent.stop()
})

test('whoever starts it by hand is told at once', async () => {
  const { device, run } = await makeUnnamed('press-04', {})
  await using _device = device
  const { status, stderr } = await run('run')
  assert.equal(status, 78)
  assert.match(stderr, /device\.registrationId/)
})
