/**
 * Sends as fast as the agent's own path does: its session with the hub, and for several on their way its buffer and its
 * forwarding. Bundled and launched exactly as the agent is; prints counts as one JSON line.
 */
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { openSession } from '../../../agent/hub/session.ts'
import type { Session } from '../../../agent/hub/session.ts'
import { systemClock } from '../../../agent/system/clock.ts'
import { createBuffer } from '../../../agent/telemetry/buffer.ts'
import { forward } from '../../../agent/telemetry/forward.ts'
import type { Sample } from '../../../agent/telemetry/sample.ts'

interface Count {
  readonly messages: number
  readonly seconds: number
  readonly cpuSeconds: number
}

const need = (name: string) => process.env[name] ?? fail(`${name} is not set`)
const body = need('BODY')
const seconds = Number(need('SECONDS'))

async function main(): Promise<void> {
  const session = await openSession({
    ...{ host: need('HUB_HOST'), deviceId: need('DEVICE_ID'), productInfo: 'bench', keepAliveSeconds: 45 },
    credential: {
      lane: 'x509',
      chainPem: readFileSync(need('CERT_PATH'), 'utf8'),
      keyPem: readFileSync(need('KEY_PATH'), 'utf8'),
    },
    clock: systemClock,
  })
  const ways = {
    oneAtATime: (sendingSeconds: number) => sendOneByOne(session, sendingSeconds),
    twentyOnTheirWay: (sendingSeconds: number) => sendThroughBuffer(session, 20, sendingSeconds),
    hundredOnTheirWay: (sendingSeconds: number) => sendThroughBuffer(session, 100, sendingSeconds),
  }
  const counts: Record<string, Count> = {}
  for (const [name, send] of Object.entries(ways)) {
    await send(seconds / 4)
    counts[name] = await send(seconds)
  }
  process.stdout.write(`${JSON.stringify(counts)}\n`)
  await session[Symbol.asyncDispose]()
}

async function sendOneByOne(session: Session, sendingSeconds: number): Promise<Count> {
  const clock = startCount()
  let messages = 0
  while (clock.seconds() < sendingSeconds) {
    await sendSample(session, newSample())
    messages += 1
  }
  return clock.count(messages)
}

/** The buffer always holds twice what may be on its way, so that it never runs dry and never fills. */
async function sendThroughBuffer(session: Session, window: number, sendingSeconds: number): Promise<Count> {
  await using spool = createBuffer({ maxSamples: 4 * window, maxBytes: 1024 * 1024 })
  for (let made = 0; made < 2 * window; made += 1) await spool.append(newSample())
  const over = new AbortController()
  const clock = startCount()
  let messages = 0
  const onAcknowledged = () => {
    messages += 1
    if (clock.seconds() >= sendingSeconds) over.abort()
    else spool.append(newSample()).catch((error: unknown) => over.abort(error))
  }
  const send = (sample: Sample) => sendSample(session, sample)
  await forward({ spool, send, window, onAcknowledged }, over.signal).catch((error: unknown) => {
    if (error !== over.signal.reason || !(error instanceof DOMException)) throw error
  })
  return clock.count(messages)
}

function sendSample(session: Session, { id, createdAtMs }: Sample): Promise<void> {
  const creationTimeMs = createdAtMs
  return session.send({
    body,
    messageId: id,
    creationTimeMs,
    contentType: 'application/json',
    contentEncoding: 'utf-8',
  })
}

function newSample(): Sample {
  return { id: randomUUID(), body, createdAtMs: systemClock.now() }
}

function startCount() {
  const from = systemClock.monotonicMs()
  const cpuFrom = process.cpuUsage()
  const elapsed = () => (systemClock.monotonicMs() - from) / 1000
  return {
    seconds: elapsed,
    count(messages: number): Count {
      const { user, system } = process.cpuUsage(cpuFrom)
      return { messages, seconds: elapsed(), cpuSeconds: (user + system) / 1e6 }
    },
  }
}

function fail(reason: string): never {
  throw new Error(reason)
}

main().catch((error: unknown) => {
  console.error(error)
  process.exit(1)
})
