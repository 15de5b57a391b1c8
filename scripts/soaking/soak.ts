/**
 * The soak: `node scripts/soaking/soak.ts [--minutes 60] [--seed 1] [--record]`.
 *
 * The built agent runs as a process of its own, with a sample a second of its own metrics and one a second from a local
 * program; the only way to its cloud, which is in this process, flaps by a plan that the seed decides. At the end JSON on
 * stdout, and with --record in docs/soak.json, from which docs/performance.md is made. Exit 0 only if memory stayed within 10 % and nothing was lost, 2 when the command line is not understood.
 */
import { readdirSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { askStatus } from '../../agent/control/status.ts'
import type { Status } from '../../agent/control/status.ts'
import { Failure } from '../../agent/failure.ts'
import { systemClock } from '../../agent/system/clock.ts'
import { startCloud } from '../../test/cloud/cloud.ts'
import type { Cloud } from '../../test/cloud/cloud.ts'
import { layCable } from '../../test/kit/cable.ts'
import { createChance } from '../../test/kit/chance.ts'
import { makeDevice } from '../../test/kit/device.ts'
import { builtProgram } from '../../test/kit/program.ts'
import { CLOUD_ADDRESS } from '../../test/kit/road.ts'
import { memoryOf } from '../figures/process.ts'
import type { Soak } from '../figures/soak-page.ts'
import { watchArrivals } from './arrivals.ts'
import type { Arrivals } from './arrivals.ts'
import { flapUntil, pause } from './flapping.ts'
import { handIn } from './hand-in.ts'
import { courseOf, growthOf, lostOf, problemsOf } from './judge.ts'
import type { Look } from './judge.ts'

const LOOK_EVERY_MS = 10_000

/** At the end: the longest pause of the agent, and what has gathered. */
const DRAIN_MS = 10 * 60_000

const LAST_CHANCE_MS = 30_000

const REGISTRATION_ID = 'soak-01'

const RECORD = join(import.meta.dirname, '../../docs/soak.json')

const options = readCommandLine()
if (options === undefined) process.exitCode = 2
else process.exitCode = await soak(options)

interface Options {
  readonly minutes: number
  readonly seed: number
  readonly record: boolean
}

function readCommandLine(): Options | undefined {
  try {
    const { values } = parseArgs({
      options: {
        minutes: { type: 'string', default: '60' },
        seed: { type: 'string', default: '1' },
        record: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    })
    const [minutes, seed] = [Number(values.minutes), Number(values.seed)]
    if (!values.help && minutes > 0 && Number.isInteger(seed)) return { minutes, seed, record: values.record }
  } catch (error) {
    if (!(error instanceof TypeError)) throw error
    console.error(`soak: ${error.message}`)
  }
  console.error('usage: soak [--minutes 60] [--seed 1] [--record]')
  return undefined
}

async function soak({ minutes, seed, record }: Options): Promise<number> {
  await using cable = await layCable()
  await using cloud = await startCloud({
    hubHosts: ['hub-1.localhost'],
    address: CLOUD_ADDRESS,
    port: cable.port,
  })
  cloud.enrollFleet()
  cloud.faults.set('pollsPerTenSeconds', 0)
  const pair = await cloud.authority.makeDevice(REGISTRATION_ID)
  await using device = await makeDevice(cloud, {
    ...{ registrationId: REGISTRATION_ID, pair, program: builtProgram },
    toml: 'hub.keepAliveSeconds = 30\n',
    environment: { IOT_AGENT_LOG_LEVEL: 'error' },
  })
  const arrivals = watchArrivals(cloud)
  const connects = countConnects(cloud)
  const agent = device.start()
  const early = agent.ended.then((status) => {
    throw new Error(`the agent ended with ${status}:\n${agent.journal.text()}`)
  })
  early.catch(() => undefined)
  const askAgent = () => askStatus({ path: device.config.paths.controlSocket, clock: systemClock }).catch(unlessFailure)

  const startMs = performance.now()
  const over = AbortSignal.timeout(minutes * 60_000)
  const program = handIn(join(device.folder, 'run', 'telemetry.sock'), over)
  const looks: Look[] = []
  const looking = lookUntil(over, async () => {
    looks.push({ ...lookAt(agent.pid), depth: (await askAgent())?.telemetry.buffered })
    cloud.record.forget()
    tell(looks, connects(), arrivals)
  })
  const flapping = flapUntil(over, cable, createChance(seed), connects)
  const [, flaps] = await Promise.race([Promise.all([looking, flapping, program.over]), early])

  const missing = () => arrivals.missing(program.so.count, (number) => program.so.accepted.has(number)).length
  const last = await Promise.race([drained(askAgent, missing), early])
  await agent.stop()
  const { accepted, refused } = program.so
  const { acknowledged } = last.telemetry
  const dropped = Object.values(last.telemetry.dropped).reduce((sum, each) => sum + each, 0)
  const lost = lostOf({ acknowledged, came: arrivals.metrics + arrivals.came, missing: missing(), dropped })
  const growths = {
    rss: growthOf(looks, 'rssMb', startMs),
    anonymous: growthOf(looks, 'anonymousMb', startMs),
  }
  const problems = problemsOf(growths, lost)
  const { messages, metrics, duplicates, outOfOrder } = arrivals
  const result = {
    ok: problems.length === 0,
    problems,
    ...{ minutes, seed, flaps, reconnections: connects() - 1 },
    memory: growths,
    mostDescriptors: Math.max(...looks.map(({ descriptors }) => descriptors)),
    deepest: Math.max(...looks.map(({ depth }) => depth ?? 0)),
    ...{ messages, metrics, acknowledged, accepted: accepted.size, refused, dropped, lost, duplicates, outOfOrder },
  }
  console.log(JSON.stringify(result, undefined, 2))
  if (record) {
    const taken: Soak = { takenOn: new Date().toISOString().slice(0, 10), ...result, course: courseOf(looks, startMs) }
    await writeFile(RECORD, `${JSON.stringify(taken, undefined, 2)}\n`)
  }
  return result.ok ? 0 : 1
}

/** Connections of the device to its hub. */
function countConnects(cloud: Cloud): () => number {
  let count = 0
  cloud.record.listen((event) => {
    if (event.kind === 'connected' && event.host === cloud.hub.host) count += 1
  })
  return () => count
}

function lookAt(pid: number): Omit<Look, 'depth'> {
  const { rssMb, anonymousMb } = memoryOf(pid)
  const descriptors = readdirSync(`/proc/${pid}/fd`).length
  return { atMs: performance.now(), rssMb, anonymousMb, descriptors }
}

async function lookUntil(over: AbortSignal, look: () => Promise<void>): Promise<void> {
  while (!over.aborted) {
    await look()
    await pause(LOOK_EVERY_MS, over)
  }
}

/** Waits until nothing is left to send; what is missing then has a last chance to come. */
async function drained(ask: () => Promise<Status | undefined>, missing: () => number): Promise<Status> {
  const fromMs = performance.now()
  let emptyMs: number | undefined
  for (;;) {
    const status = await ask()
    const nowMs = performance.now()
    if (status?.connection.state === 'connected' && status.telemetry.buffered <= 1) {
      emptyMs ??= nowMs
      if (missing() === 0 || nowMs - emptyMs > LAST_CHANCE_MS) return status
    }
    if (nowMs - fromMs > DRAIN_MS) throw new Error(`not empty: ${JSON.stringify(status?.telemetry)}`)
    await sleep(500)
  }
}

function tell(looks: readonly Look[], connects: number, { messages, duplicates }: Arrivals): void {
  const look = looks.at(-1)
  if (look === undefined) return
  const { rssMb, anonymousMb, descriptors, depth = '?' } = look
  const minutes = ((look.atMs - (looks[0]?.atMs ?? 0)) / 60_000).toFixed(1)
  const memory = `RSS ${rssMb.toFixed(1)} MB, anonymous ${anonymousMb.toFixed(1)} MB, ${descriptors} descriptors`
  console.error(
    `${minutes.padStart(5)} min  ${memory}, depth ${depth}, ${connects} connects, ${messages} messages, ${duplicates} again`,
  )
}

/** An agent that does not answer at this moment is asked again. */
function unlessFailure(error: unknown): undefined {
  if (!(error instanceof Failure)) throw error
}
