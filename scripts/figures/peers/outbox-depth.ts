/**
 * What it costs to put a sample into the outbox and to take one out while so many wait; prints an array with the values of
 * each round. Bundled and launched exactly as the agent is. One after the other has its turn in each round, so that
 * whatever the machine does beside this meets all depths alike.
 */
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { systemClock } from '../../../agent/system/clock.ts'
import { openOutbox } from '../../../agent/telemetry/outbox/open.ts'
import type { Outbox } from '../../../agent/telemetry/outbox/port.ts'
import { PLAIN_LABEL } from '../../../agent/telemetry/sample.ts'
import type { Sample } from '../../../agent/telemetry/sample.ts'

const need = (name: string) => process.env[name] ?? fail(`${name} is not set`)
const folder = need('FOLDER')
const depths = need('DEPTHS').split(',').map(Number)
const rounds = Number(need('ROUNDS'))
const block = Number(need('BLOCK'))
const body = JSON.stringify({ note: 'x'.repeat(Number(need('SAMPLE_BYTES')) - 11) })

const FILLED_AT_A_TIME = 1000

interface Filled {
  readonly depth: number
  readonly outbox: Outbox
}

async function main(): Promise<void> {
  await using parts = new AsyncDisposableStack()
  const filled: Filled[] = []
  for (const depth of depths) {
    const outbox = parts.use(await openNew(depth))
    await fill(outbox, depth)
    filled.push({ depth, outbox })
  }
  const values: Record<string, number>[] = []
  // The first round is for the compiler.
  for (let round = 0; round <= rounds; round += 1) {
    const taken: Record<string, number> = {}
    for (let turn = 0; turn < filled.length; turn += 1) {
      const { depth, outbox } = filled[(round + turn) % filled.length] ?? fail('no depth')
      const [put, took] = [await costOf(() => enqueue(outbox)), await costOf(() => dequeue(outbox))]
      Object.assign(taken, { [`enqueue.${depth}`]: put.cpuUs, [`enqueueWall.${depth}`]: put.wallUs })
      Object.assign(taken, { [`dequeue.${depth}`]: took.cpuUs, [`dequeueWall.${depth}`]: took.wallUs })
    }
    if (round > 0) values.push(taken)
  }
  process.stdout.write(JSON.stringify(values))
}

async function openNew(depth: number): Promise<Outbox> {
  const limits = { maxBytes: 2 ** 40, maxAgeMs: 2 ** 40, batchSamples: 1, batchMs: 1000 }
  return await openOutbox(join(folder, `${depth}.db`), {
    clock: systemClock,
    limits,
    onFailure: (error) => fail(error.message),
  })
}

async function fill(outbox: Outbox, depth: number): Promise<void> {
  for (let made = 0; made < depth; made += FILLED_AT_A_TIME)
    await outbox.append(Array.from({ length: Math.min(FILLED_AT_A_TIME, depth - made) }, newSample), 'written')
}

/** Each in a transaction of its own. */
async function enqueue(outbox: Outbox): Promise<void> {
  for (let made = 0; made < block; made += 1) await outbox.append([newSample()], 'written')
}

/** Read one by one, as they are sent; removed from the file with the transaction that comes next, which is counted too. */
async function dequeue(outbox: Outbox): Promise<void> {
  const [stream] = outbox.streams()
  if (stream === undefined) return fail('the outbox is empty')
  for (let taken = 0; taken < block; taken += 1) {
    const parcel = outbox.next(stream.key, stream.head + taken - 1)
    outbox.acknowledge(parcel ?? fail('nothing comes next'))
  }
  await outbox.append([newSample()], 'written')
}

/** For one sample. */
async function costOf(work: () => Promise<void>): Promise<{ readonly cpuUs: number; readonly wallUs: number }> {
  const [fromMs, cpuFrom] = [systemClock.monotonicMs(), process.cpuUsage()]
  await work()
  const { user, system } = process.cpuUsage(cpuFrom)
  return { cpuUs: (user + system) / block, wallUs: ((systemClock.monotonicMs() - fromMs) * 1000) / block }
}

function newSample(): Sample {
  return {
    ...({ id: randomUUID(), stream: 'local', priority: 'telemetry', label: PLAIN_LABEL } as const),
    ...{ createdAtMs: systemClock.now(), body },
  }
}

function fail(reason: string): never {
  throw new Error(reason)
}

main().catch((error: unknown) => {
  console.error(error)
  process.exit(1)
})
