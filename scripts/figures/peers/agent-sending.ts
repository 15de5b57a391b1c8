/**
 * Sends as fast as the agent's own path does: its session with the hub, and for several on their way its outbox and its
 * forwarding. Bundled and launched exactly as the agent is; prints counts as one JSON line.
 */
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { openSession } from '../../../agent/hub/session.ts'
import type { Session } from '../../../agent/hub/session.ts'
import { systemClock } from '../../../agent/system/clock.ts'
import { createForwarder } from '../../../agent/telemetry/forward/forward.ts'
import { buildMessage } from '../../../agent/telemetry/message.ts'
import { openOutbox } from '../../../agent/telemetry/outbox/open.ts'
import { PLAIN_LABEL } from '../../../agent/telemetry/sample.ts'
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
    twentyOnTheirWay: (sendingSeconds: number) => sendThroughOutbox(session, 20, sendingSeconds),
    hundredOnTheirWay: (sendingSeconds: number) => sendThroughOutbox(session, 100, sendingSeconds),
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

/** The outbox always holds twice what may be on its way, so that it never runs dry. */
async function sendThroughOutbox(session: Session, window: number, sendingSeconds: number): Promise<Count> {
  const limits = { maxBytes: 2 ** 30, maxAgeMs: 2 ** 40, batchSamples: 1, batchMs: 1000 }
  await using outbox = await openOutbox(join(need('FOLDER'), `sending-${randomUUID()}.db`), {
    ...{ clock: systemClock, limits, onFailure: (failure) => fail(failure.message) },
  })
  await outbox.append(Array.from({ length: 2 * window }, newSample), 'written')
  const over = new AbortController()
  const clock = startCount()
  let messages = 0
  const onAcknowledged = () => {
    messages += 1
    if (clock.seconds() >= sendingSeconds) over.abort()
    else outbox.append([newSample()], 'written').catch((error: unknown) => over.abort(error))
  }
  const forwarder = createForwarder({
    ...{ outbox, clock: systemClock, random: Math.random, onAcknowledged },
    limits: { window, drainPerSecond: 0, drainJitterMs: 0 },
    build: (parcel) => buildMessage(parcel, { boot: { bootId: '' }, compression: 'off' }, gzipSync),
  })
  await forwarder
    .run((message) => session.send(message), over.signal)
    .catch((error: unknown) => {
      if (error !== over.signal.reason || !(error instanceof DOMException)) throw error
    })
  return clock.count(messages)
}

function sendSample(session: Session, { id, createdAtMs }: Sample): Promise<void> {
  const creationTimeMs = createdAtMs
  return session.send({
    ...{ body, messageId: id, creationTimeMs, properties: {} },
    ...{ contentType: 'application/json', contentEncoding: 'utf-8' },
  })
}

function newSample(): Sample {
  return {
    ...({ id: randomUUID(), stream: 'local', priority: 'telemetry', label: PLAIN_LABEL } as const),
    ...{ body, createdAtMs: systemClock.now() },
  }
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
