/**
 * The story of a long night: a local program sends 10,000 samples while the hub is away; the agent is killed in the middle,
 * its disk is filled and freed; then the hub comes back. What is claimed is counted at both ends.
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { mkdir, open, rm, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { startCloud } from '../../test/cloud/cloud.ts'
import type { Cloud } from '../../test/cloud/cloud.ts'
import type { LocalHub } from '../../test/cloud/hub/hub.ts'
import type { RecordedEvent } from '../../test/cloud/record.ts'
import { makeTemporaryFolder } from '../../test/kit/openssl.ts'
import { makeDevice } from './device.ts'
import type { Device } from './device.ts'
import { judgeArrivals } from './judge-arrivals.ts'
import type { Arrival, Arrivals } from './judge-arrivals.ts'
import { sampleOf, STREAMS } from './sender.ts'
import type { SenderLine } from './sender.ts'
import { makePlace, REGISTRATION_ID, seen, tellOf } from './words.ts'
import type { Telling, Told } from './words.ts'

const SAMPLES = 10_000

/** Samples that are stored when the agent is killed, and when the disk is filled. */
const KILLED_AT = 3_000
const FILLED_AT = 6_000

interface Result extends Told, Arrivals {
  /** Samples that the program has been told are stored. */
  readonly accepted: number
  readonly kills: number
  /** Whether the disk was filled for real; it takes the right to mount one. */
  readonly diskFilled: boolean
  /** Requests that were refused while it was full. */
  readonly refusedWhileFull: number
  readonly acknowledgedByHub: number
  readonly waitingInOutbox: number
}

interface Scene extends Telling {
  readonly cloud: Cloud
  readonly device: Device
  readonly socketPath: string
  /** The disk that may be filled, with the state folder on it. */
  readonly disk: string | undefined
}

export async function tellOffline(telling: Telling): Promise<Told> {
  await using folder = await makeTemporaryFolder()
  const disk = process.env['STORY_DISK']
  await using cloud = await startCloud({ authority: 'quick' })
  const fleet = cloud.enrollSasFleet()
  const place = await makePlace(folder.path, 'device')
  const secrets = join(place, 'secrets')
  await mkdir(secrets, { mode: 0o700 })
  const keyFile = await fleet.writeKey(join(secrets, 'sas.key'), REGISTRATION_ID)
  const device = await makeDevice({
    ...{ cloud, folder: place, registrationId: REGISTRATION_ID, toml: configuration(keyFile) },
    environment: { TELEMETRY_INTERVAL: '5', ...(disk !== undefined && { IOT_AGENT_STATE_DIR: join(disk, 'state') }) },
  })
  const socketPath = join(place, 'run', 'telemetry.sock')
  return await tellOf(device, telling, () => live({ ...telling, cloud, device, socketPath, disk }))
}

/** Nobody who watches wants to wait for a drain at the pace that spares a hub of thousands of devices. */
function configuration(keyFile: string): string {
  return `[auth.sas]
keyFile = "${keyFile}"
[telemetry.socket]
samplesPerSecond = 0
[telemetry.drain]
messagesPerSecond = 1000
jitterSeconds = 1
`
}

async function live(scene: Scene): Promise<Result> {
  const { cloud, device, say, check } = scene
  device.start()
  await seen(cloud, 'telemetry')
  say('connected', `${hubOf(cloud).host} has the first measurement of ${REGISTRATION_ID}`)
  hubAway(cloud)
  await device.heard((line) => line['event'] === 'not connected')
  say('hub away', 'the connection was cut, and every new one is closed')

  const program = startProgram(scene.socketPath)
  say(
    'program',
    `hands in ${SAMPLES} samples of ${STREAMS.length} streams over telemetry.sock, each until it is stored`,
  )
  await program.until(({ stored }) => stored >= KILLED_AT)
  await device.losePower()
  const storedAtKill = program.seen().stored
  device.start()
  await program.until(({ stored }) => stored > storedAtKill)
  const { failed } = program.seen()
  check(
    'killed',
    failed > 0,
    `SIGKILL after ${storedAtKill} stored samples; ${failed} calls of the program found nobody`,
  )
  const refused = await fillDisk(scene, program)
  await program.until(({ done }) => done)
  say('all stored', `${program.seen().stored} samples; the hub is still away`)

  cloud.faults.reset()
  say('hub back', 'connections are taken again')
  await seen(cloud, 'telemetry', () => countArrivals(cloud) >= SAMPLES)
  return await judge(scene, { accepted: program.seen().stored, refused })
}

async function judge(
  { cloud, device, check, say, held, seconds, disk }: Scene,
  { accepted, refused }: { readonly accepted: number; readonly refused: number },
): Promise<Result> {
  const sent = Array.from({ length: SAMPLES }, (_, at) => sampleOf(at + 1))
  const arrivals = judgeArrivals(
    sent.map(({ id, body }) => ({ id, stream: body.stream, n: body.n })),
    allArrivals(cloud),
  )
  const { missing, foreign, outOfOrder, duplicates, received } = arrivals
  check('nothing lost', accepted === SAMPLES && missing === 0, `${accepted} accepted, ${received} received`)
  check('nothing else', foreign === 0, 'sent and received are the same set')
  check(
    'in order',
    outOfOrder === 0,
    `in each of ${STREAMS.length} streams; ${duplicates} came twice, under the same ID`,
  )
  const status = JSON.parse((await device.run('status', '--json')).stdout) as {
    readonly telemetry: { readonly acknowledged: number; readonly buffered: number }
  }
  await device.stop()
  say('done', `in ${seconds()} s`)
  return {
    ok: held(),
    accepted,
    ...arrivals,
    kills: 1,
    diskFilled: disk !== undefined,
    refusedWhileFull: refused,
    acknowledgedByHub: status.telemetry.acknowledged,
    waitingInOutbox: status.telemetry.buffered,
  }
}

/** The hub that DPS has assigned. */
function hubOf(cloud: Cloud): LocalHub {
  return cloud.hubs.find((hub) => hub.identity(REGISTRATION_ID) !== undefined) ?? cloud.hub
}

/** Every new connection is closed after the handshake, and the one that there is is cut. */
function hubAway(cloud: Cloud): void {
  cloud.faults.set('closeAfterHandshake', 'hub')
  const hub = hubOf(cloud)
  const identity = hub.identity(REGISTRATION_ID)
  if (identity === undefined) throw new Error('the hub does not know the device')
  hub.putIdentity({ ...identity, status: 'disabled' })
  hub.putIdentity({ ...identity, status: 'enabled' })
}

/** Fills the disk below the agent, waits until the program was refused, and frees it. The number of refusals. */
async function fillDisk({ disk, say, check }: Scene, program: Program): Promise<number> {
  if (disk === undefined) {
    say('disk', 'not filled: this machine does not let this user mount a disk of its own')
    return 0
  }
  await program.until(({ stored }) => stored >= FILLED_AT)
  const path = join(disk, 'somebody-elses-log')
  const before = program.seen().refused
  await fill(path)
  await program.until(({ refused }) => refused > before)
  const { bavail, bsize } = await statfs(disk)
  await rm(path)
  const refused = program.seen()
  check(
    'disk full',
    refused.lastRefusal === 'DISK_FULL',
    `${bavail * bsize} bytes left; the program was told ${refused.lastRefusal}, and comes again`,
  )
  await program.until(({ stored }) => stored > refused.stored)
  return program.seen().refused - before
}

async function fill(path: string): Promise<void> {
  await using file = await open(path, 'w')
  for (const size of [1 << 20, 1 << 12]) {
    const block = Buffer.alloc(size)
    for (let full = false; !full;) {
      full = await file.write(block).then(
        ({ bytesWritten }) => bytesWritten < size,
        (error: unknown) => {
          if (error instanceof Error && 'code' in error && error.code === 'ENOSPC') return true
          throw error
        },
      )
    }
  }
}

/** What the program has said so far. */
interface Seen {
  readonly stored: number
  readonly refused: number
  readonly lastRefusal: string | undefined
  readonly failed: number
  readonly done: boolean
}

interface Program {
  seen(): Seen
  /** Resolves at the first line after which it fits; fails when the program ends before. */
  until(fits: (seen: Seen) => boolean): Promise<void>
}

function startProgram(socketPath: string): Program {
  const sender = join(import.meta.dirname, 'sender.ts')
  const child = spawn(process.execPath, [sender, socketPath, String(SAMPLES)], { stdio: ['ignore', 'pipe', 'inherit'] })
  let now: Seen = { stored: 0, refused: 0, lastRefusal: undefined, failed: 0, done: false }
  const waiting = new Set<() => void>()
  createInterface({ input: child.stdout }).on('line', (line) => {
    now = next(now, JSON.parse(line) as SenderLine)
    for (const look of waiting) look()
  })
  return { seen: () => now, until: (fits) => untilFits(child, () => fits(now), waiting) }
}

function untilFits(child: ChildProcess, fits: () => boolean, waiting: Set<() => void>): Promise<void> {
  return new Promise((resolve, reject) => {
    const over = () => {
      if (fits()) leave(resolve)
      else leave(() => reject(new Error('the program of the story ended too early')))
    }
    const look = () => (fits() ? leave(resolve) : undefined)
    const leave = (end: () => void) => {
      waiting.delete(look)
      child.off('close', over)
      end()
    }
    waiting.add(look)
    child.on('close', over)
    look()
  })
}

function next(before: Seen, line: SenderLine): Seen {
  if ('stored' in line) return { ...before, stored: before.stored + line.stored }
  if ('refused' in line) return { ...before, refused: before.refused + 1, lastRefusal: line.refused }
  if ('failed' in line) return { ...before, failed: before.failed + 1 }
  return { ...before, done: true }
}

function isOfProgram(event: RecordedEvent): boolean {
  return event.kind === 'telemetry' && (event.message.system['message-id'] ?? '').startsWith('story-')
}

function countArrivals(cloud: Cloud): number {
  return new Set(allArrivals(cloud).map(({ id }) => id)).size
}

function allArrivals(cloud: Cloud): readonly Arrival[] {
  return cloud.record.events().flatMap((event) => {
    if (event.kind !== 'telemetry' || !isOfProgram(event)) return []
    const { stream, n } = JSON.parse(event.message.body.toString()) as { readonly stream: string; readonly n: number }
    return [{ id: event.message.system['message-id'] ?? '', stream, n }]
  })
}
