/** A device of which the telemetry is measured. */
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Cloud } from '../../../test/cloud/cloud.ts'
import type { Telemetry } from '../../../test/cloud/model.ts'
import { programOf } from '../clients.ts'
import type { Device, Surroundings } from '../clients.ts'
import type { TelemetryMethod } from '../figures.ts'
import { start } from '../process.ts'
import type { Running } from '../process.ts'
import { openDoor } from './door.ts'

/** What the telemetry is measured with. */
export interface Bench {
  readonly cloud: Cloud
  readonly around: Surroundings
  readonly method: TelemetryMethod
  readonly device: Device
}

/** The agent, and the door to it. */
export interface Tapped extends Running {
  readonly socketPath: string
}

const READY_WITHIN_MS = 30_000
const LOOK_AGAIN_MS = 10

/** What a start leaves to be done is not counted. */
const STARTED_MS = 1_000

/**
 * Starts the agent and waits for its door; when the hub is there, for its session too. Nothing bounds it: neither the
 * share of a user nor the rate of a backlog.
 */
export async function startTapped(bench: Bench, batchSamples: number, hub: Hub): Promise<Tapped> {
  const { around, device } = bench
  const program = programOf('agent', 'cachedCaFile', device, around)
  if (program === undefined) throw new Error('the agent has no such way')
  const configDir = join(device.folder, 'etc')
  await mkdir(configDir, { recursive: true })
  await writeFile(join(configDir, 'config.toml'), configuration(batchSamples))
  const { TELEMETRY_INTERVAL: _, ...environment } = { TELEMETRY_INTERVAL: '', ...program.environment }
  const running = start({ ...program, environment: { ...environment, IOT_AGENT_CONFIG_DIR: configDir } })
  const tapped = { ...running, socketPath: join(device.folder, 'run/telemetry.sock') }
  try {
    await Promise.race([running.early, untilReady(tapped.socketPath, hub)])
    await settle(bench, STARTED_MS)
  } catch (error) {
    await running.kill()
    throw error
  }
  return tapped
}

/** Whether it must be connected before it is ready. */
export type Hub = 'there' | 'away'

function configuration(batchSamples: number): string {
  return `[telemetry]
device = false
batchSamples = ${batchSamples}
outbox.maxMegabytes = 2048
drain.messagesPerSecond = 0
drain.jitterSeconds = 0
socket.samplesPerSecond = 0

[log]
level = "warn"
`
}

async function untilReady(socketPath: string, hub: Hub): Promise<void> {
  const endMs = performance.now() + READY_WITHIN_MS
  while (!(await isReady(socketPath, hub))) {
    if (performance.now() > endMs) throw new Error(`the agent was not ready within ${READY_WITHIN_MS} ms`)
    await sleep(LOOK_AGAIN_MS)
  }
}

async function isReady(socketPath: string, hub: Hub): Promise<boolean> {
  try {
    using door = await openDoor(socketPath)
    const { body } = await door.health()
    return hub === 'away' || (JSON.parse(body) as { readonly connected: boolean }).connected
  } catch {
    // Nobody listens yet.
    return false
  }
}

/** Waits so long, or shorter where values do not matter. */
export async function settle({ method }: Bench, delayMs: number): Promise<void> {
  await sleep(Math.min(delayMs, method.settlingSeconds * 1000))
}

/** Throws away what waits. */
export async function emptyOutbox({ device }: Bench): Promise<void> {
  const state = join(device.folder, 'state')
  const files = (await readdir(state)).filter((name) => name.startsWith('outbox'))
  for (const name of files) await rm(join(state, name), { recursive: true })
}

/** For as long as `work` takes, the cloud ends every session and takes no other. */
export async function whileAway<Result>(cloud: Cloud, work: () => Promise<Result>): Promise<Result> {
  cloud.faults.set('connectRefusal', SERVER_UNAVAILABLE)
  for (const identity of cloud.hub.identities()) {
    cloud.hub.putIdentity({ ...identity, status: 'disabled' })
    cloud.hub.putIdentity(identity)
  }
  try {
    return await work()
  } finally {
    cloud.faults.set('connectRefusal', 0)
  }
}

/** CONNACK. Source: MQTT 3.1.1, section 3.2.2.3. */
const SERVER_UNAVAILABLE = 3

/** JSON of exactly so many bytes, numbered. */
export function sampleOf(number: number, bytes: number): string {
  const open = `{"n":${number},"temperature":22.5,"humidity":45,"note":"`
  return `${open}${'x'.repeat(Math.max(0, bytes - open.length - 2))}"}`
}

/** Samples that came in one message of a device; those that nobody handed in are none. */
export function samplesIn({ deviceId, body, properties }: Telemetry, device: Pick<Device, 'deviceId'>): number {
  if (deviceId !== device.deviceId) return 0
  const batch = properties['iotAgentBatch']
  return batch ? Number(batch) : Number(body.toString('latin1', 0, 5) === '{"n":')
}

/** Resolves when so many samples have come, with when the first and when the last did. */
export function arrivals({ cloud, device }: Bench, count: number): Arrivals {
  const all = Promise.withResolvers<Passage>()
  let came = 0
  let firstMs = Number.NaN
  const stop = cloud.record.divert((message) => {
    const samples = samplesIn(message, device)
    if (samples === 0) return
    if (came === 0) firstMs = performance.now()
    came += samples
    if (came >= count) all.resolve({ firstMs, lastMs: performance.now() })
  })
  return { all: all.promise, came: () => came, [Symbol.dispose]: stop }
}

export interface Passage {
  readonly firstMs: number
  readonly lastMs: number
}

export interface Arrivals extends Disposable {
  readonly all: Promise<Passage>
  readonly came: () => number
}
