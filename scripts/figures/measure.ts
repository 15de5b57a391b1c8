/** The measurements: each runs one or more programs against the stand-in and gives values by the names of figures.ts. */
import { execFile } from 'node:child_process'
import { realpath } from 'node:fs/promises'
import { promisify } from 'node:util'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Cloud } from '../../test/cloud/cloud.ts'
import type { Figure } from './figures.ts'
import { cpuMs, memoryOf, start, threadCpuMs, writtenBytes } from './process.ts'
import type { Program, Running } from './process.ts'

export type Values = Partial<Record<Figure, number>>

/** From the start of the process until the hub has acknowledged its first message. */
export interface Start {
  readonly tookMs: number
  readonly cpuMs: number
}

const FIRST_MESSAGE_WITHIN_MS = 60_000

/** What a client does once, after its first message, is not counted as rest. */
const SETTLING_MS = 5_000

/** Longer than anything that a bare runtime does after its start. */
const RUNTIME_SETTLES_MS = 1_500

export async function measureStart(cloud: Cloud, deviceId: string, program: Program): Promise<Start> {
  await using running = start(program)
  return await firstMessage(cloud, deviceId, running)
}

/**
 * Drops a program file from the page cache, as it is after a boot. The way in which the kernel has read a file before
 * (in small pages or large) decides how much one touch maps: RSS differs by a third with that alone.
 */
export async function forgetCached(path: string): Promise<void> {
  await promisify(execFile)('dd', [`if=${await realpath(path)}`, 'iflag=nocache', 'count=0', 'status=none'])
}

/**
 * Connected, with one message a minute: memory at the end of `quietSeconds`, and the processor time and the bytes written
 * in them.
 */
export async function measureRest(
  cloud: Cloud,
  deviceId: string,
  program: Program,
  quietSeconds: number,
): Promise<Values> {
  await using running = start(program)
  await firstMessage(cloud, deviceId, running)
  await Promise.race([running.early, sleep(SETTLING_MS)])
  const [cpuBefore, bytesBefore] = [threadCpuMs(running.pid), writtenBytes(running.pid)]
  await Promise.race([running.early, sleep(quietSeconds * 1000)])
  const restWrittenKb = (writtenBytes(running.pid) - bytesBefore) / 1024
  return { restCpuMs: threadCpuMs(running.pid) - cpuBefore, restWrittenKb, ...memoryOf(running.pid) }
}

/** The runtime alone, doing nothing. */
export async function measureRuntime(node: string): Promise<Values> {
  await using running = start({ command: [node, '-e', 'setInterval(() => 0, 1e6)'], environment: {} })
  await Promise.race([running.early, sleep(RUNTIME_SETTLES_MS)])
  return memoryOf(running.pid)
}

interface Count {
  readonly messages: number
  readonly seconds: number
  readonly cpuSeconds: number
}

type Manner = 'oneAtATime' | 'twentyOnTheirWay' | 'hundredOnTheirWay'

export async function measureSending(program: Program): Promise<Values> {
  await using running = start(program)
  await running.finished
  const counts = JSON.parse(running.said()) as Record<Manner, Count>
  const entries = Object.entries(counts).flatMap(([manner, { messages, seconds, cpuSeconds }]) => [
    [manner, messages / seconds],
    [`${manner}CpuUs`, (cpuSeconds / messages) * 1e6],
  ])
  return Object.fromEntries(entries) as Values
}

/** The stand-in records a message when it has acknowledged it, so the end is the same for all clients. */
async function firstMessage(cloud: Cloud, deviceId: string, running: Running): Promise<Start> {
  const first = Promise.withResolvers<Start>()
  const stopListening = cloud.record.listen((event) => {
    if (event.kind !== 'telemetry' || event.message.deviceId !== deviceId) return
    first.resolve({ tookMs: performance.now() - running.startedMs, cpuMs: cpuMs(running.pid) })
  })
  const over = new AbortController()
  const late = sleep(FIRST_MESSAGE_WITHIN_MS, undefined, { signal: over.signal }).then(() =>
    Promise.reject(new Error(`${deviceId} sent nothing:\n${running.said()}`)),
  )
  late.catch(() => undefined)
  try {
    return await Promise.race([first.promise, running.early, late])
  } finally {
    over.abort()
    stopListening()
  }
}
