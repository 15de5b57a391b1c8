/**
 * The agent is killed at random moments while programs hand samples in and the hub comes and goes: what was answered is
 * what arrives. KILL_SEED repeats a run; every moment but those that the machine decides is then the same.
 */
import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { askStatus } from '../../agent/control/status.ts'
import { systemClock } from '../../agent/system/clock.ts'
import { buildMessage } from '../../agent/telemetry/message.ts'
import type { Cloud } from '../cloud/cloud.ts'
import { layCable } from '../kit/cable.ts'
import type { Cable } from '../kit/cable.ts'
import { createChance } from '../kit/chance.ts'
import { eventually, makeDevice } from '../kit/device.ts'
import type { Device } from '../kit/device.ts'
import { kinds, parcelsOf, sample } from '../kit/outbox.ts'
import { builtProgram } from '../kit/program.ts'
import type { AgentProcess } from '../kit/program.ts'
import { CLOUD_ADDRESS } from '../kit/road.ts'
import { startFleetCloud } from './agent-kit.ts'
import { judge, startSender, watchArrivals } from './killed-telemetry-kit.ts'

const seed = Number(process.env['KILL_SEED'] ?? randomInt(2 ** 31))

/** When a life of the agent ends: after so many events of a kind since it began, or after a time alone. */
interface Moment {
  readonly name: string
  /** How many of all lives, of all variants together. */
  readonly share: number
  readonly event?: 'asked' | 'answered' | 'arrived'
  readonly mostEvents: number
  /** Longest time from then on, in milliseconds. */
  readonly mostMs: number
  /** Is told to stop at that moment, and killed within this time after it; never killed when 0. */
  readonly stopsForMs?: number
}

const moments: readonly Moment[] = [
  { name: 'starting', share: 28, mostEvents: 0, mostMs: 500 },
  { name: 'first answers', share: 15, event: 'answered', mostEvents: 3, mostMs: 1 },
  { name: 'amid a group', share: 20, event: 'asked', mostEvents: 30, mostMs: 8 },
  { name: 'draining', share: 20, event: 'arrived', mostEvents: 200, mostMs: 5 },
  { name: 'acknowledging', share: 15, event: 'arrived', mostEvents: 20, mostMs: 1 },
  { name: 'stopping', share: 10, event: 'answered', mostEvents: 10, mostMs: 20, stopsForMs: 60 },
  { name: 'told to stop', share: 10, event: 'asked', mostEvents: 30, mostMs: 50, stopsForMs: 0 },
]

/** A moment that does not come, as the hub is away for too long, is given up after this. */
const NO_LATER_MS = 1500

interface Stage {
  readonly device: Device
  readonly cable: Cable
  readonly chance: () => number
  /** Calls `listener` at every event until the returned function is called. */
  readonly listen: (listener: (event: NonNullable<Moment['event']>) => void) => () => void
}

interface Variant {
  readonly id: string
  readonly batching: string
}

const variants: readonly Variant[] = [
  { id: 'alone', batching: '' },
  { id: 'in-batches', batching: 'batchSamples = 20\nbatchSeconds = 1\ncompression = "gzip"\n' },
]

describe(`an agent that is killed 100 times, with seed ${seed}`, { concurrency: true }, () => {
  for (const [at, variant] of variants.entries())
    test(`loses nothing that it has answered for, with samples ${variant.id.replace('-', ' ')}`, async (t) => {
      const chance = createChance(seed + at)
      const lives = moments.flatMap((moment) =>
        Array.from({ length: Math.ceil(moment.share / variants.length) }, () => moment),
      )
      await liveThrough(t, variant, shuffled(lives, chance), chance)
    })
})

test('what is handed in again after its batch was closed is in a message of another ID, with all that follows', async () => {
  await using device = await kinds.disk({ batchSamples: 20 })
  const samples = Array.from({ length: 10 }, (_, at) => sample(`m-${at + 1}`))
  await device.keep(...samples.slice(0, 5))
  device.outbox.closeBatches(true)
  await device.keep(...samples)
  device.outbox.closeBatches(true)
  const facts = { boot: { bootId: 'b' }, compression: 'off' } as const
  const messages = parcelsOf(device.outbox).map((parcel) => buildMessage(parcel, facts, (bytes) => bytes))
  const firstOf = new Map(messages.toReversed().map((message) => [message.messageId, String(message.body)]))
  const read = [...firstOf.values()].flatMap((body) => JSON.parse(body) as readonly { readonly id: string }[])
  assert.deepEqual(new Set(read.map(({ id }) => id)), new Set(samples.map(({ id }) => id)))
})

async function liveThrough(
  t: TestContext,
  variant: Variant,
  lives: readonly Moment[],
  chance: () => number,
): Promise<void> {
  await using cable = await layCable()
  await using cloud = await startFleetCloud({ address: CLOUD_ADDRESS, port: cable.port })
  await using device = await makeStage(cloud, variant)
  const listeners = new Set<(event: NonNullable<Moment['event']>) => void>()
  const tell = (event: NonNullable<Moment['event']>) => {
    for (const listener of listeners) listener(event)
  }
  const listen: Stage['listen'] = (listener) => {
    listeners.add(listener)
    return () => listeners.delete(listener)
  }
  const arrived = watchArrivals(cloud, variant.id, () => tell('arrived'))
  await using sender = startSender({
    ...{ socketPath: device.config.paths.telemetrySocket, name: variant.id, seed: seed + 1000, onEvent: tell },
    streams: ['press', 'belt', 'oven'],
  })
  const missed = new Map<string, number>()
  for (const moment of lives) {
    const came = await liveUntil(moment, { device, cable, chance, listen })
    if (!came) missed.set(moment.name, (missed.get(moment.name) ?? 0) + 1)
    await pause(chance() * 60)
  }
  cable.become('good')
  await using last = device.start()
  await sender.finish()
  await eventually(async () => arrived.distinct() >= sender.written.size || undefined, {
    seen: () => `${arrived.distinct()} of ${sender.written.size} have arrived\n${last.journal.text()}`,
  })
  const path = device.config.paths.controlSocket
  await eventually(async () => (await askStatus({ path, clock: systemClock })).telemetry.buffered === 0 || undefined)
  assert.equal((await last.stop()).status, 0)
  const { changed, lostByDropping, duplicates, messages, sent, ...others } = judge(sender.written, arrived.messages)
  t.diagnostic(`${lives.length} lives, ${sent} samples, ${messages} messages, ${duplicates} samples twice`)
  t.diagnostic(`moments that did not come: ${JSON.stringify(Object.fromEntries(missed))}`)
  assert.deepEqual(others, { received: sent, missing: 0, foreign: 0, outOfOrder: 0, altered: 0 })
  assert.deepEqual({ changed, lostByDropping }, { changed: [], lostByDropping: [] })
}

async function makeStage(cloud: Cloud, { id, batching }: Variant): Promise<Device> {
  const pair = await cloud.authority.makeDevice(id)
  return await makeDevice(cloud, {
    ...{ registrationId: id, pair, program: builtProgram },
    toml: `[telemetry]
device = false
${batching}[telemetry.socket]
samplesPerSecond = 0
[telemetry.drain]
messagesPerSecond = 0
jitterSeconds = 0
`,
  })
}

/** One life of the agent; false when its moment did not come and it was killed all the same. */
async function liveUntil(moment: Moment, { device, cable, chance, listen }: Stage): Promise<boolean> {
  const needsHub = moment.event === 'arrived'
  const isHubThere = needsHub || chance() < 0.5
  cable.become(isHubThere ? 'good' : 'pulled')
  const agent = device.start()
  const flips =
    !needsHub && chance() < 0.3
      ? setTimeout(() => cable.become(isHubThere ? 'pulled' : 'good'), chance() * 600)
      : undefined
  const came = await reached(moment, chance, listen)
  clearTimeout(flips)
  await end(agent, moment, chance)
  return came
}

/** Waits for the events and the time of the moment. */
async function reached(
  { event, mostEvents, mostMs }: Moment,
  chance: () => number,
  listen: Stage['listen'],
): Promise<boolean> {
  const came = await new Promise<boolean>((resolve) => {
    if (event === undefined) return resolve(true)
    let left = 1 + Math.floor(chance() * mostEvents)
    const leave = (whether: boolean) => {
      clearTimeout(tooLate)
      forget()
      resolve(whether)
    }
    const forget = listen((heard) => {
      if (heard === event) left -= 1
      if (left === 0) leave(true)
    })
    const tooLate = setTimeout(() => leave(false), NO_LATER_MS)
  })
  // Below a millisecond a timer is too slow: what goes on is then killed in the middle of it.
  const delayMs = chance() * mostMs
  if (delayMs >= 1 || mostMs > 1) await pause(delayMs)
  return came
}

async function end(agent: AgentProcess, { stopsForMs }: Moment, chance: () => number): Promise<void> {
  if (stopsForMs === undefined) {
    agent.kill()
    assert.equal(await agent.ended, null, `the agent has ended by itself:\n${agent.journal.text()}`)
    return
  }
  const stopped = agent.stop()
  if (stopsForMs > 0) {
    await Promise.race([stopped, pause(chance() * stopsForMs)])
    agent.kill()
  }
  const { status } = await stopped
  assert.ok(status === 0 || status === null, `the agent has failed with ${status}:\n${agent.journal.text()}`)
}

function shuffled<T>(all: readonly T[], chance: () => number): readonly T[] {
  return all
    .map((one) => ({ one, at: chance() }))
    .toSorted((a, b) => a.at - b.at)
    .map(({ one }) => one)
}
