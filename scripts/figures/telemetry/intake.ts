import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { durabilities } from '../../../agent/telemetry/outbox/port.ts'
import type { Durability } from '../../../agent/telemetry/outbox/port.ts'
import { entrances } from '../figures.ts'
import type { Entrance } from '../figures.ts'
import type { Values } from '../measure.ts'
import { writtenBytes } from '../process.ts'
import { openDoor, pourLines } from './door.ts'
import { emptyOutbox, sampleOf, settle, startTapped, whileAway } from './tapped.ts'
import type { Bench, Tapped } from './tapped.ts'

/** What is `relaxed` is written within 1 s. */
const RELAXED_MS = 1_200

/** Samples handed to the socket at a time, where they come as lines. */
const LINES = 200

/** What the socket accepts in each class while the hub is away, and what is written for it. */
export async function measureIntake(bench: Bench): Promise<Values> {
  await emptyOutbox(bench)
  const values: Record<string, number> = { diskSyncUs: await diskSyncUs(bench) }
  await whileAway(bench.cloud, async () => {
    await using agent = await startTapped(bench, 1, 'away')
    for (const durability of durabilities) {
      for (const entrance of entrances) {
        const before = writtenBytes(agent.pid)
        const { samples, seconds } = await enter(entrance, agent, durability, bench)
        if (durability === 'relaxed') await settle(bench, RELAXED_MS)
        values[`accepted.${entrance}.${durability}`] = samples / seconds
        values[`bytes.${entrance}.${durability}`] = (writtenBytes(agent.pid) - before) / samples
      }
    }
  })
  await emptyOutbox(bench)
  return values
}

interface Entered {
  readonly samples: number
  readonly seconds: number
}

async function enter(
  entrance: Entrance,
  { socketPath }: Tapped,
  durability: Durability,
  { method }: Bench,
): Promise<Entered> {
  const { sampleBytes, arraySamples, intakeSeconds } = method
  const query = `durability=${durability}`
  const fromMs = performance.now()
  const isOver = () => performance.now() - fromMs >= intakeSeconds * 1000
  const one = sampleOf(1, sampleBytes)
  const samples = await (async () => {
    switch (entrance) {
      case 'one':
        return await postUntil(socketPath, query, one, isOver)
      case 'sixteen': {
        const lanes = Array.from({ length: 16 }, () => postUntil(socketPath, query, one, isOver))
        return (await Promise.all(lanes)).reduce((sum, each) => sum + each, 0)
      }
      case 'array': {
        const many = `[${Array.from({ length: arraySamples }, () => one).join()}]`
        return arraySamples * (await postUntil(socketPath, query, many, isOver))
      }
      case 'lines': {
        const chunk = `${one}\n`.repeat(LINES)
        return await pourLines(socketPath, query, () => (isOver() ? undefined : chunk))
      }
    }
  })()
  return { samples, seconds: (performance.now() - fromMs) / 1000 }
}

/** @returns requests that were accepted */
async function postUntil(socketPath: string, query: string, body: string, isOver: () => boolean): Promise<number> {
  using door = await openDoor(socketPath)
  let posted = 0
  while (!isOver()) {
    const { status, body: said } = await door.post(query, body)
    if (status !== 200) throw new Error(`the agent answered ${status}: ${said}`)
    posted += 1
  }
  return posted
}

const SYNCS = 100

/** What the disk takes to keep 4 KiB more of a file: the median of some. */
async function diskSyncUs({ device }: Bench): Promise<number> {
  await using file = await open(join(device.folder, 'sync'), 'w')
  const page = Buffer.alloc(4096, 'x')
  const tookUs: number[] = []
  for (let count = 0; count < SYNCS; count += 1) {
    await file.write(page)
    const fromMs = performance.now()
    await file.datasync()
    tookUs.push((performance.now() - fromMs) * 1000)
  }
  return tookUs.toSorted((a, b) => a - b)[SYNCS / 2] ?? Number.NaN
}
