import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { jsonOf } from '../../../test/cloud/body.ts'
import { createTally } from '../../../test/cloud/tally.ts'
import type { Tally } from '../../../test/cloud/tally.ts'
import { pythonTrust } from '../clients.ts'
import type { Device } from '../clients.ts'
import type { Values } from '../measure.ts'
import { memoryOf, start, threadCpuMs } from '../process.ts'
import type { Program, Running } from '../process.ts'
import { openDoor } from './door.ts'
import { emptyOutbox, sampleOf, startTapped, whileAway } from './tapped.ts'
import type { Bench } from './tapped.ts'

/** A client that is given numbered samples, killed, and started again. */
interface Victim extends AsyncDisposable {
  pid(): number
  /** Resolves when the client has taken the sample over; never, when it is killed first. */
  hand(number: number): Promise<void>
  /** SIGKILL, then a new process. */
  killAndStart(): Promise<void>
}

/** What there is before the outage, and behind it. */
const CALM_SECONDS = 2

/** After the hub is back; a client that has not sent by then what it still has does not count as having it. */
const ALL_WITHIN_MS = 60_000

const LOOK_AGAIN_MS = 20

/**
 * The same outage for the agent and for the Python client, at the same time: samples come at a steady rate, the hub goes
 * away, and in the middle of that each process is killed with SIGKILL and started again at once.
 */
export async function measureOutage(bench: Bench, pythonDevice: Device): Promise<{ agent: Values; python: Values }> {
  const { outageSeconds, outagePerSecond } = bench.method
  await emptyOutbox(bench)
  await using agent = await startAgentVictim(bench)
  await using python = await startPythonVictim(bench, pythonDevice)
  const count = Math.round((outageSeconds + 2 * CALM_SECONDS) * outagePerSecond)
  const tallies = new Map([bench.device, pythonDevice].map(({ deviceId }) => [deviceId, createTally(count)]))
  const lastMs = new Map<string, number>()
  const stop = bench.cloud.record.divert((message) => {
    const { deviceId } = message
    const { n } = (jsonOf(message) ?? {}) as { readonly n?: number }
    if (n === undefined) return
    tallies.get(deviceId)?.add(n)
    lastMs.set(deviceId, performance.now())
  })
  const both = [
    { victim: agent, deviceId: bench.device.deviceId },
    { victim: python, deviceId: pythonDevice.deviceId },
  ].map(({ victim, deviceId }) => ({ victim, deviceId, tally: tallies.get(deviceId) ?? createTally(count) }))
  const streams = both.map(({ victim }) => handOver(victim, count, outagePerSecond))
  await sleep(CALM_SECONDS * 1000)
  const costs = await whileAway(bench.cloud, async () => {
    const before = both.map(({ victim }) => costOf(victim))
    await sleep(outageSeconds * 500)
    const after = both.map(({ victim }) => costOf(victim))
    await Promise.all(both.map(({ victim }) => victim.killAndStart()))
    await sleep(outageSeconds * 500)
    return both.map((_, at) => costValues(before[at], after[at]))
  })
  const backMs = performance.now()
  await Promise.all(streams)
  const calmMs = (bench.method.pythonRetrySeconds + 2 * CALM_SECONDS) * 1000
  await untilAllCame(
    both.map(({ tally }) => tally),
    count,
    calmMs,
  )
  stop()
  const [agentValues = {}, pythonValues = {}] = both.map(({ deviceId, tally }, at) => ({
    ...costs[at],
    ...{ outageSent: count, outageReceived: tally.distinct, outageLost: count - tally.distinct },
    outageTwice: tally.arrivals - tally.distinct,
    outageBackMs: (lastMs.get(deviceId) ?? backMs) - backMs,
  }))
  return { agent: agentValues, python: pythonValues }
}

interface Cost {
  readonly rssMb: number
  readonly cpuMs: number
}

function costOf(victim: Victim): Cost {
  return { rssMb: memoryOf(victim.pid()).rssMb, cpuMs: threadCpuMs(victim.pid()) }
}

function costValues(before: Cost | undefined, after: Cost | undefined): Values {
  if (before === undefined || after === undefined) return {}
  return {
    ...{ outageBeforeRssMb: before.rssMb, outageRssMb: after.rssMb },
    outageCpuMs: after.cpuMs - before.cpuMs,
  }
}

/** At a steady rate; what was late because nobody took it follows at once. */
async function handOver(victim: Victim, count: number, perSecond: number): Promise<void> {
  const fromMs = performance.now()
  for (let number = 0; number < count; number += 1) {
    await sleep(Math.max(0, fromMs + (number * 1000) / perSecond - performance.now()))
    await victim.hand(number)
  }
}

/** All of the agent's; of the Python client's what comes until nothing has come for longer than it waits to connect. */
async function untilAllCame([ours, theirs]: readonly Tally[], count: number, calmMs: number): Promise<void> {
  const endMs = performance.now() + ALL_WITHIN_MS
  let [arrivals, sinceMs] = [-1, performance.now()]
  const isOver = () => theirs?.distinct === count || performance.now() - sinceMs > calmMs
  while (performance.now() < endMs && (ours?.distinct !== count || !isOver())) {
    if (theirs?.arrivals !== arrivals) [arrivals, sinceMs] = [theirs?.arrivals ?? 0, performance.now()]
    await sleep(LOOK_AGAIN_MS)
  }
}

/** Behind it stands a program that hands each sample in until it is accepted. */
async function startAgentVictim(bench: Bench): Promise<Victim> {
  let agent = await startTapped(bench, 1, 'there')
  const { socketPath } = agent
  let door = await openDoor(socketPath)
  const accepted = async (number: number) => {
    try {
      const { status } = await door.post('durability=synced', sampleOf(number, bench.method.sampleBytes))
      return status === 200
    } catch {
      // It was killed.
      door = await openDoor(socketPath).catch(() => door)
      return false
    }
  }
  return {
    pid: () => agent.pid,
    async hand(number) {
      while (!(await accepted(number))) await sleep(LOOK_AGAIN_MS)
    },
    async killAndStart() {
      await agent.kill()
      agent = await startTapped(bench, 1, 'away')
    },
    async [Symbol.asyncDispose]() {
      door[Symbol.dispose]()
      await agent.kill()
    },
  }
}

async function startPythonVictim({ cloud, around, method }: Bench, device: Device): Promise<Victim> {
  cloud.hub.assign(device.deviceId, { type: 'certificateAuthority' }, undefined)
  const program: Program = {
    command: [around.python, join(around.root, 'scripts/figures/peers/python_outage.py')],
    environment: {
      ...{ HUB_HOST: around.hubHost, DEVICE_ID: device.deviceId },
      ...{ CERT_PATH: device.chainFile, KEY_PATH: device.keyFile, PATH: process.env['PATH'] ?? '' },
      ...{ RETRY_SECONDS: String(method.pythonRetrySeconds), SAMPLE_BYTES: String(method.sampleBytes) },
      ...pythonTrust(around),
    },
    listens: true,
  }
  const startNow = async () => {
    const running = start(program)
    await Promise.race([running.early, said(running, 'ready')])
    return running
  }
  let python = await startNow()
  return {
    pid: () => python.pid,
    async hand(number) {
      for (;;) {
        const asked = python
        asked.tell(`${number}\n`)
        while (asked === python) {
          if (asked.said().endsWith(`\n${number}\n`)) return
          await sleep(1)
        }
      }
    },
    async killAndStart() {
      await python.kill()
      python = await startNow()
    },
    [Symbol.asyncDispose]: () => python.kill(),
  }
}

async function said(running: Running, word: string): Promise<void> {
  while (!running.said().includes(word)) await sleep(LOOK_AGAIN_MS)
}
