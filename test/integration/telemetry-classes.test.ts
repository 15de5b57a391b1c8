/** What a program is promised for its samples, seen at both ends: at the door of the whole agent and at the hub. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Cloud } from '../cloud/cloud.ts'
import type { Telemetry } from '../cloud/model.ts'
import { textOf } from '../cloud/body.ts'
import { layCable } from '../kit/cable.ts'
import type { Cable } from '../kit/cable.ts'
import { eventually, makeDevice } from '../kit/device.ts'
import type { BootedAgent, Device } from '../kit/device.ts'
import { CLOUD_ADDRESS } from '../kit/road.ts'
import { ask, codeOf, JSON_TYPE } from '../kit/telemetry-door.ts'
import type { Answered } from '../kit/telemetry-door.ts'
import { seen, startFleetCloud } from './agent-kit.ts'

const ID = 'press-07'

interface Place extends AsyncDisposable {
  readonly cloud: Cloud
  readonly cable: Cable
  readonly device: Device
  /** What has arrived of programs, in its order; times are monotonic. */
  readonly arrived: readonly Arrived[]
  /** Resolves when so many have arrived. */
  arrivals(count: number): Promise<void>
}

interface Arrived {
  readonly id: string
  readonly atMs: number
  readonly body: string
}

/** A device that sends nothing of its own. */
async function makePlace(toml: string): Promise<Place> {
  await using stack = new AsyncDisposableStack()
  const cable = stack.use(await layCable())
  const cloud = stack.use(await startFleetCloud({ address: CLOUD_ADDRESS, port: cable.port }))
  const pair = await cloud.authority.makeDevice(ID)
  const device = stack.use(
    await makeDevice(cloud, {
      ...{ registrationId: ID, pair },
      toml: `[telemetry]\ndevice = false\n[telemetry.socket]\nsamplesPerSecond = 0\n${toml}`,
    }),
  )
  const arrived: Arrived[] = []
  stack.defer(
    cloud.record.listen((event) => {
      if (event.kind === 'telemetry' && isOfProgram(event.message)) arrived.push(arrival(event.message))
    }),
  )
  const everything = stack.move()
  return {
    ...{ cloud, cable, device, arrived },
    arrivals: (count) =>
      eventually(async () => (new Set(arrived.map(({ id }) => id)).size >= count ? true : undefined), {
        seen: () => `${arrived.length} of ${count} arrived: ${arrived.map(({ id }) => id).join(' ')}`,
        withinMs: 45_000,
      }).then(() => undefined),
    [Symbol.asyncDispose]: () => everything.disposeAsync(),
  }
}

/** Programs name their samples; what the agent measures itself has a random ID. */
function isOfProgram({ system }: Telemetry): boolean {
  return /^[a-z]+-\d+$/.test(system['message-id'] ?? '')
}

function arrival(message: Telemetry): Arrived {
  return { id: message.system['message-id'] ?? '', atMs: performance.now(), body: textOf(message) }
}

/** The least of every pause, so that a device is back as soon as it may. */
const hurried = { random: () => 0 }

interface Wish {
  readonly query?: string
  readonly bytes?: number
  readonly properties?: Readonly<Record<string, string>>
}

/** Hands in the samples of these numbers as one request; their IDs begin with the name of their stream. */
async function handIn(device: Device, stream: string, numbers: readonly number[], wish: Wish = {}): Promise<Answered> {
  const { query = '', bytes = 20, properties } = wish
  const samples = numbers.map((n) => ({
    ...{ id: `${stream}-${n}`, stream, body: { n, filler: 'x'.repeat(bytes) } },
    ...(properties && { properties }),
  }))
  const path = `/telemetry?envelope=true${query}`
  return ask(device.config.paths.telemetrySocket, { path, headers: JSON_TYPE, body: JSON.stringify(samples) })
}

/** The same, by a program that comes until the door is open. */
async function store(device: Device, stream: string, numbers: readonly number[], wish: Wish = {}): Promise<void> {
  const answered = await eventually(() => handIn(device, stream, numbers, wish).catch(unlessNobody))
  assert.equal(answered.status, 200, answered.text)
}

function unlessNobody(error: unknown): undefined {
  const { code } = error as NodeJS.ErrnoException
  if (!['ENOENT', 'ECONNREFUSED'].includes(code ?? '')) throw error
}

function range(from: number, to: number): readonly number[] {
  return Array.from({ length: to - from + 1 }, (_, at) => from + at)
}

function ids(stream: string, numbers: readonly number[]): readonly string[] {
  return numbers.map((n) => `${stream}-${n}`)
}

/** IDs of the first arrivals of a stream. */
function arrivedOf({ arrived }: Place, stream: string): readonly string[] {
  return [...new Set(arrived.map(({ id }) => id).filter((id) => id.startsWith(`${stream}-`)))]
}

/** Lets the hub go away from an agent that was there. */
async function cutOff({ cable }: Place, agent: BootedAgent): Promise<void> {
  await agent.until(({ connection }) => connection.state === 'connected')
  cable.become('pulled')
  await agent.until(({ connection }) => connection.state === 'disconnected' && connection.doing === 'waiting')
}

describe('an agent that dies at once after its answer', { concurrency: true }, () => {
  for (const durability of ['synced', 'written'])
    test(`has kept what it has called ${durability}`, async () => {
      await using place = await makePlace('[telemetry.drain]\njitterSeconds = 0\n')
      const { device, cable } = place
      cable.become('pulled')
      for (const life of range(1, 3)) {
        await using agent = device.start()
        for (const request of range(1, 4))
          await store(device, 'press', [life * 10 + request], { query: `&durability=${durability}` })
        agent.kill()
        assert.equal(await agent.ended, null)
      }
      cable.become('good')
      await using _last = device.start()
      const all = range(1, 3).flatMap((life) => range(life * 10 + 1, life * 10 + 4))
      await place.arrivals(all.length)
      assert.deepEqual(arrivedOf(place, 'press'), ids('press', all))
    })

  test('has kept what it has called relaxed more than a second before', async (t) => {
    await using place = await makePlace('[telemetry.drain]\njitterSeconds = 0\nmessagesPerSecond = 0\n')
    const { device, cable } = place
    cable.become('pulled')
    const answeredAtMs: number[] = []
    let killedAtMs = 0
    {
      await using agent = device.start()
      // Nothing but relaxed ones: any other takes those before it to the disk along with it.
      for (let n = 1; (answeredAtMs.at(-1) ?? 0) - (answeredAtMs[0] ?? 0) < 2_500; n += 1) {
        await store(device, 'press', [n], { query: '&durability=relaxed' })
        answeredAtMs.push(performance.now())
      }
      killedAtMs = performance.now()
      agent.kill()
      assert.equal(await agent.ended, null)
    }
    const old = answeredAtMs.filter((ms) => ms < killedAtMs - RELAXED_MS - TURN_MS).length
    assert.ok(old > 0 && old < answeredAtMs.length, `${old} of ${answeredAtMs.length} were answered long before`)
    cable.become('good')
    await using _last = device.start()
    await store(device, 'belt', [1])
    await place.arrivals(old + 1)
    await eventually(async () => (arrivedOf(place, 'belt').length > 0 ? true : undefined))
    const came = arrivedOf(place, 'press')
    t.diagnostic(`${answeredAtMs.length} answered, ${old} of them long before, ${came.length} kept`)
    assert.deepEqual(came, ids('press', range(1, came.length)))
  })
})

/** What `relaxed` allows to be lost, and what the work of one turn and the death itself may take. */
const RELAXED_MS = 1_000
const TURN_MS = 200

const MEGABYTE = 1_048_576

test('when room is short telemetry goes first, oldest first, and both ends count the same', async () => {
  await using place = await makePlace(
    '[telemetry.outbox]\nmaxMegabytes = 1\n[telemetry.drain]\njitterSeconds = 0\nmessagesPerSecond = 0\n',
  )
  const { device, cloud, cable } = place
  await using agent = device.boot(hurried)
  await cutOff(place, agent)
  const [sirens, presses, bodyBytes] = [20, 200, 8_000]
  for (const n of range(1, sirens)) await store(device, 'siren', [n], { query: '&priority=alarm' })
  for (const n of range(1, presses / 5)) await store(device, 'press', range(5 * n - 4, 5 * n), { bytes: bodyBytes })
  const { telemetry } = await agent.status()
  const { depth = 0, bytes = 0, dropped = {} } = telemetry.outbox ?? {}
  const gone = dropped['full'] ?? 0
  assert.deepEqual(dropped, { full: gone, expired: 0, refused: 0, torn: 0 })
  assert.equal(depth, sirens + presses - gone)
  assert.ok(bytes <= MEGABYTE, `${bytes} bytes are kept`)
  assert.ok(bytes > MEGABYTE - bodyBytes - 500, `${bytes} bytes are kept: there is room for one more`)

  cable.become('good')
  await place.arrivals(sirens + presses - gone)
  await agent.until(({ telemetry }) => telemetry.buffered === 0)
  assert.deepEqual(arrivedOf(place, 'siren'), ids('siren', range(1, sirens)))
  assert.deepEqual(arrivedOf(place, 'press'), ids('press', range(gone + 1, presses)))
  const { patch } = await seen(cloud, 'reported', ID, { fits: ({ patch }) => told(patch)?.droppedBy !== undefined })
  assert.deepEqual(told(patch)?.droppedBy, { full: gone, expired: 0, refused: 0, torn: 0 })
  assert.equal(told(patch)?.dropped, gone)
})

interface Reported {
  readonly dropped?: number
  readonly droppedBy?: Readonly<Record<string, number>>
}

/** What a report says of the outbox. */
function told(patch: Readonly<Record<string, unknown>>): Reported | undefined {
  return patch['outbox'] as Reported | undefined
}

test('a program is told OUTBOX_FULL when only alarms are left, and nothing is given up for it', async () => {
  await using place = await makePlace('[telemetry.outbox]\nmaxMegabytes = 1\n')
  const { device } = place
  await using agent = device.boot(hurried)
  await cutOff(place, agent)
  await store(device, 'press', range(1, 10))
  const alarms = { bytes: 8_000, query: '&priority=alarm' }
  for (const n of range(1, 28)) await store(device, 'siren', range(5 * n - 4, 5 * n), alarms)
  const before = (await agent.status()).telemetry.outbox
  assert.ok((before?.dropped['full'] ?? 0) > 10, 'the telemetry has gone, and alarms for newer ones')

  const refused = await handIn(device, 'press', [11], { bytes: 8_000 })
  assert.deepEqual([refused.status, codeOf(refused)], [507, 'OUTBOX_FULL'])
  const after = (await agent.status()).telemetry
  assert.deepEqual(after.outbox?.dropped, before?.dropped)
  assert.equal(after.outbox?.depth, before?.depth)
  assert.deepEqual(after.socket?.refused, { OUTBOX_FULL: 1 })

  await store(device, 'siren', [141], alarms)
  await store(device, 'ledger', [1], { bytes: 8_000, query: '&priority=audit' })
})

/** Messages of the backlog in a second. */
const RATE = 40

/** Arrivals may be late by this, and then come closer together. */
const LATE_MS = 250

test('after an outage an alarm comes first, the backlog at its rate, and what is new does not wait for it', async (t) => {
  await using place = await makePlace(`[telemetry.drain]\njitterSeconds = 0\nmessagesPerSecond = ${RATE}\n`)
  const { device, cable, arrived, cloud } = place
  await using agent = device.boot(hurried)
  await cutOff(place, agent)
  await store(device, 'press', range(1, 200))
  await store(device, 'siren', [1], { query: '&priority=alarm' })
  const [handed, live]: [number[], Promise<void>[]] = [[], []]
  const forget = cloud.record.listen(() => {
    const old = arrivedOf(place, 'press').length
    if (old >= 25 * (handed.length + 1) && old < 170) {
      handed.push(old)
      live.push(store(device, 'now', [handed.length]))
    }
  })
  cable.become('good')
  await place.arrivals(201 + 6)
  forget()
  await Promise.all(live)

  assert.equal(arrived[0]?.id, 'siren-1')
  const backlog = arrived.filter(({ id }) => id.startsWith('press-'))
  assert.deepEqual(
    backlog.map(({ id }) => id),
    ids('press', range(1, 200)),
  )
  const tooFast = backlog.flatMap((first, at) =>
    backlog.slice(at).flatMap((last, more) => {
      // Unused time of one second may have been saved.
      const most = (RATE * (last.atMs - first.atMs + LATE_MS)) / 1000 + RATE + 1
      return more + 1 > most ? [`${more + 1} from ${first.id} to ${last.id}`] : []
    }),
  )
  assert.deepEqual(tooFast, [])
  const tookMs = (backlog.at(-1)?.atMs ?? 0) - (backlog[0]?.atMs ?? 0)
  const order = arrived.map(({ id }) => id)
  const passed = handed.map((old, at) => {
    const before = order.slice(0, order.indexOf(`now-${at + 1}`)).filter((id) => id.startsWith('press-'))
    return before.length - old
  })
  t.diagnostic(`the backlog took ${Math.round(tookMs)} ms; new samples let ${passed.join(', ')} old ones pass`)
  assert.ok(tookMs < (2 * 200 * 1000) / RATE, 'the backlog goes at its rate, not far below it')
  assert.equal(passed.length, 6)
  assert.ok(Math.max(...passed) < RATE, 'a new sample is there before the backlog of one more second')
})

test('a message that the hub never takes is set aside and named, and everything else arrives in order', async () => {
  await using place = await makePlace('[telemetry.drain]\njitterSeconds = 0\nmessagesPerSecond = 0\n')
  const { device, cable, cloud } = place
  cloud.faults.set('poisonMessages', 'close')
  await using agent = device.boot(hurried)
  await cutOff(place, agent)
  await store(device, 'press', range(1, 5))
  await store(device, 'press', [6], { properties: { poison: 'yes' } })
  await store(device, 'press', range(7, 12))
  await store(device, 'belt', range(1, 5))
  cable.become('good')
  const { code, level } = await agent.journal.heard(
    (line) => line['messageId'] === 'press-6' && line['event'] === 'a message was set aside',
    { withinMs: 45_000 },
  )
  assert.deepEqual([code, level], ['MESSAGE_REFUSED', 'error'])
  await place.arrivals(11 + 5)
  const { telemetry, warnings } = await agent.until(({ telemetry }) => telemetry.buffered === 0)
  assert.deepEqual(arrivedOf(place, 'press'), ids('press', [...range(1, 5), ...range(7, 12)]))
  assert.deepEqual(arrivedOf(place, 'belt'), ids('belt', range(1, 5)))
  assert.deepEqual(telemetry.outbox?.dropped, { full: 0, expired: 0, refused: 1, torn: 0 })
  assert.equal(telemetry.outbox?.aside, 1)
  assert.ok(
    warnings.some(({ code }) => code === 'MESSAGE_SET_ASIDE'),
    JSON.stringify(warnings),
  )
  await seen(cloud, 'reported', ID, { fits: ({ patch }) => told(patch)?.droppedBy?.['refused'] === 1 })
})
