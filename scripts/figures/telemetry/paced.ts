import { setTimeout as sleep } from 'node:timers/promises'
import { rates } from '../figures.ts'
import type { Values } from '../measure.ts'
import { threadCpuMs, writtenBytes } from '../process.ts'
import { openDoor } from './door.ts'
import { arrivals, emptyOutbox, sampleOf, settle, startTapped } from './tapped.ts'
import type { Bench, Tapped } from './tapped.ts'

/** Programs that hand in at the same time, so that one slow answer holds back none of the others. */
const LANES = 16

/** After the last sample: its acknowledgement is written within 2 s. */
const WRITTEN_MS = 2_200

/** Processor time and bytes written at a steady rate, from the socket to the hub, each sample in a request of its own. */
export async function measurePaced(bench: Bench): Promise<Values> {
  await emptyOutbox(bench)
  await using agent = await startTapped(bench, 1, 'there')
  const values: Record<string, number> = {}
  for (const rate of rates) {
    const count = Math.ceil(rate * bench.method.pacedSeconds)
    using coming = arrivals(bench, count)
    const fromMs = performance.now()
    const [cpuFromMs, bytesFrom] = [threadCpuMs(agent.pid), writtenBytes(agent.pid)]
    await handIn(agent, rate, count, bench.method.sampleBytes)
    await Promise.race([agent.early, coming.all])
    await sleep(Math.max(0, fromMs + (count * 1000) / rate - performance.now()))
    values[`cpu.${rate}`] = ((threadCpuMs(agent.pid) - cpuFromMs) * 60_000) / (performance.now() - fromMs)
    await settle(bench, WRITTEN_MS)
    values[`bytes.${rate}`] = (writtenBytes(agent.pid) - bytesFrom) / count
  }
  return values
}

async function handIn({ socketPath }: Tapped, rate: number, count: number, bytes: number): Promise<void> {
  const fromMs = performance.now()
  const lane = async (first: number) => {
    using door = await openDoor(socketPath)
    for (let number = first; number < count; number += LANES) {
      await sleep(Math.max(0, fromMs + (number * 1000) / rate - performance.now()))
      const { status, body } = await door.post('durability=synced', sampleOf(number, bytes))
      if (status !== 200) throw new Error(`the agent answered ${status}: ${body}`)
    }
  }
  await Promise.all(Array.from({ length: Math.min(LANES, count) }, (_, first) => lane(first)))
}
