import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Values } from '../measure.ts'
import { start } from '../process.ts'
import type { Bench } from './tapped.ts'

/** What the growth of an outbox costs, in a process that does nothing else. @returns the values of each of its rounds */
export async function measureDepth({ around, method, device }: Bench): Promise<readonly Values[]> {
  const folder = join(device.folder, 'depth')
  await mkdir(folder, { mode: 0o700 })
  const { depths, depthRounds, depthBlock, sampleBytes } = method
  await using running = start({
    command: [around.outboxDepth],
    environment: {
      ...{ PATH: process.env['PATH'] ?? '', FOLDER: folder, DEPTHS: depths.join(), ROUNDS: String(depthRounds) },
      ...{ BLOCK: String(depthBlock), SAMPLE_BYTES: String(sampleBytes) },
    },
  })
  await running.finished
  await rm(folder, { recursive: true })
  return JSON.parse(running.said()) as readonly Values[]
}
