/** What a connection leaves behind when it is cut: nothing. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { createLog } from '../../agent/system/log.ts'
import type { Cloud } from '../cloud/cloud.ts'
import { createFakeClock } from '../kit/clock.ts'
import type { FakeClock } from '../kit/clock.ts'
import { eventually, makeDevice } from '../kit/device.ts'
import type { BootedAgent } from '../kit/device.ts'
import { cutOff, reconnect, startFleetCloud } from './agent-kit.ts'

const CUTS = 200

/** What is made once, as the code that V8 compiles on the way, is made by then. */
const WARM_UP_CUTS = 200

/** One session that stayed, with its TLS and its client, is more than 50 kB; here is room for 10 kB a cut. */
const MAX_GROWTH_BYTES = 2 * 1024 * 1024

const INTERVAL_MS = 1_000

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/** Bytes in use once nothing is under way, without what the stand-in remembers. */
async function bytesInUse(cloud: Cloud): Promise<number> {
  cloud.record.forget()
  for (let round = 0; round < 3; round += 1) {
    await new Promise((resolve) => setImmediate(resolve))
    collect()
  }
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

/** How many of each: sockets, listeners and timers. A file that is just being read ends by itself. */
function resources(): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {}
  const names = process.getActiveResourcesInfo().filter((name) => name === 'Timeout' || name.endsWith('Wrap'))
  for (const name of names.toSorted()) counts[name] = (counts[name] ?? 0) + 1
  return counts
}

/** Cuts the session in the moment in which a message is on its way, and lets the agent come back. */
async function cutOften(cloud: Cloud, agent: BootedAgent, clock: FakeClock, cuts: number): Promise<void> {
  cloud.faults.set('pubackDelayMs', 20)
  for (let cut = 0; cut < cuts; cut += 1) {
    await clock.advance(INTERVAL_MS)
    cutOff(cloud, 'cut-often')
    await agent.until(({ connection }) => connection.state === 'disconnected')
    await reconnect(agent, clock)
  }
  cloud.faults.set('pubackDelayMs', 0)
  await eventually(async () => {
    if ((await agent.status()).telemetry.buffered === 0) return true
    // What has gathered goes out at a bounded rate. An acknowledgement takes far less than its deadline meanwhile.
    await clock.advance(50)
    return undefined
  })
}

test(`${CUTS} cuts in a row under load leave no memory, no timer and no socket behind`, async (t) => {
  await using cloud = await startFleetCloud()
  cloud.record.divert(() => undefined)
  const pair = await cloud.authority.makeDevice('cut-often')
  const environment = { TELEMETRY_INTERVAL: String(INTERVAL_MS / 1000) }
  await using device = await makeDevice(cloud, { registrationId: 'cut-often', pair, environment })
  const clock = createFakeClock(Date.now())
  // A journal in memory would be all that grows.
  const log = createLog({ level: 'error', clock, write: () => undefined })
  const before = resources()

  const agent = device.boot({ clock, log, random: () => 0 })
  await agent.until(({ telemetry }) => telemetry.acknowledged > 0 && telemetry.buffered === 0)
  await cutOften(cloud, agent, clock, WARM_UP_CUTS)
  const warmBytes = await bytesInUse(cloud)
  const warm = resources()
  await cutOften(cloud, agent, clock, CUTS)
  const grownBytes = (await bytesInUse(cloud)) - warmBytes
  t.diagnostic(`${Math.round(grownBytes / 1024)} kB more after ${CUTS} cuts`)
  assert.ok(grownBytes <= MAX_GROWTH_BYTES, `${grownBytes} bytes more`)
  await settledTo(warm)

  assert.equal(await agent.stop(), undefined)
  await settledTo(before)
})

/** Sockets that are closing and messages that are under way are given their time. */
async function settledTo(most: Readonly<Record<string, number>>): Promise<void> {
  const isSettled = async () =>
    Object.entries(resources()).every(([name, count]) => count <= (most[name] ?? 0)) ? true : undefined
  await eventually(isSettled, { seen: () => `${JSON.stringify(resources())}, more than ${JSON.stringify(most)}` })
}
