import type { Values } from '../measure.ts'
import { threadCpuMs } from '../process.ts'
import { pourLines } from './door.ts'
import { arrivals, emptyOutbox, sampleOf, startTapped } from './tapped.ts'
import type { Bench } from './tapped.ts'

/** Samples handed to the socket at a time. */
const LINES = 200

/** From the socket to the hub, as fast as it goes: one sample in a message, and batched. */
export async function measureThrough(bench: Bench): Promise<Values> {
  const { throughSingle, throughBatched, batchSamples } = bench.method
  const single = await pass(bench, 1, throughSingle)
  const batched = await pass(bench, batchSamples, throughBatched)
  return {
    ...{ throughSingle: single.perSecond, throughSingleCpuUs: single.cpuUs },
    ...{ throughBatched: batched.perSecond, throughBatchedCpuUs: batched.cpuUs },
  }
}

/** From the first sample handed in until the hub has acknowledged the last one. */
async function pass(
  bench: Bench,
  batchSamples: number,
  count: number,
): Promise<{ readonly perSecond: number; readonly cpuUs: number }> {
  await emptyOutbox(bench)
  await using agent = await startTapped(bench, batchSamples, 'there')
  using coming = arrivals(bench, count)
  const fromMs = performance.now()
  const cpuFromMs = threadCpuMs(agent.pid)
  const handedIn = pourLines(agent.socketPath, 'durability=synced', linesOf(count, bench.method.sampleBytes))
  await Promise.race([agent.early, handedIn])
  const { lastMs } = await Promise.race([agent.early, coming.all])
  return {
    perSecond: (count * 1000) / (lastMs - fromMs),
    cpuUs: ((threadCpuMs(agent.pid) - cpuFromMs) * 1000) / count,
  }
}

/** Numbered samples as lines, some at a time. */
export function linesOf(count: number, bytes: number): () => string | undefined {
  let number = 0
  return () => {
    if (number >= count) return undefined
    const from = number
    number = Math.min(count, number + LINES)
    return Array.from({ length: number - from }, (_, at) => `${sampleOf(from + at, bytes)}\n`).join('')
  }
}
