import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Values } from '../measure.ts'
import { memoryOf, peakMb, threadCpuMs, writtenBytes } from '../process.ts'
import { pourLines } from './door.ts'
import { arrivals, emptyOutbox, settle, startTapped, whileAway } from './tapped.ts'
import type { Bench } from './tapped.ts'
import { linesOf } from './through.ts'

/** All is written and synced then, and what the filling needed is given back as far as it will be. */
const SETTLING_MS = 6_000

/** Days offline: memory with samples waiting beside memory without, then a new process that sends them all. */
export async function measureWaiting(bench: Bench): Promise<Values> {
  await emptyOutbox(bench)
  const away = await whileAway(bench.cloud, async () => ({ ...(await fill(bench)), ...(await startAnew(bench)) }))
  const drained = await drain(bench)
  await emptyOutbox(bench)
  return { ...away, ...drained }
}

async function fill(bench: Bench): Promise<Values> {
  const { waiting, batchSamples, sampleBytes } = bench.method
  await using agent = await startTapped(bench, batchSamples, 'away')
  await settle(bench, SETTLING_MS)
  const none = memoryOf(agent.pid)
  const fromMs = performance.now()
  const stored = pourLines(agent.socketPath, 'durability=written', linesOf(waiting, sampleBytes))
  const count = await Promise.race([agent.early, stored])
  if (count !== waiting) throw new Error(`${count} of ${waiting} samples were stored`)
  const fillSeconds = (performance.now() - fromMs) / 1000
  await settle(bench, SETTLING_MS)
  const all = memoryOf(agent.pid)
  const { size } = await stat(join(bench.device.folder, 'state/outbox.db'))
  return {
    ...{ noneWaitingRssMb: none.rssMb, noneWaitingAnonymousMb: none.anonymousMb },
    ...{ allWaitingRssMb: all.rssMb, allWaitingAnonymousMb: all.anonymousMb },
    ...{ allWaitingFileMb: size / 1024 / 1024, fillSeconds },
  }
}

/** What is held because samples wait, without what their coming in has left behind. */
async function startAnew(bench: Bench): Promise<Values> {
  await using agent = await startTapped(bench, bench.method.batchSamples, 'away')
  await settle(bench, SETTLING_MS)
  const { rssMb, anonymousMb } = memoryOf(agent.pid)
  return { anewWaitingRssMb: rssMb, anewWaitingAnonymousMb: anonymousMb }
}

async function drain(bench: Bench): Promise<Values> {
  const { waiting, batchSamples } = bench.method
  using coming = arrivals(bench, waiting)
  await using agent = await startTapped(bench, batchSamples, 'there')
  const { firstMs, lastMs } = await Promise.race([agent.early, coming.all])
  // The last acknowledgements are written within 2 s.
  await settle(bench, 2_500)
  return {
    ...{ drainStartMs: firstMs - agent.startedMs, drainSeconds: (lastMs - firstMs) / 1000 },
    ...{ drainPeakMb: peakMb(agent.pid), drainCpuUs: (threadCpuMs(agent.pid) * 1000) / waiting },
    drainWrittenBytes: writtenBytes(agent.pid) / waiting,
  }
}
