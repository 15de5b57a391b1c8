import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { Failure } from '../../../../agent/failure.ts'
import type { FailureCode } from '../../../../agent/failure.ts'
import { createForwarder } from '../../../../agent/telemetry/forward/forward.ts'
import type { ForwardLimits } from '../../../../agent/telemetry/forward/port.ts'
import type { Outgoing } from '../../../../agent/telemetry/message.ts'
import { openOutbox } from '../../../../agent/telemetry/outbox/open.ts'
import type { OutboxLimits, Parcel } from '../../../../agent/telemetry/outbox/port.ts'
import { PLAIN_LABEL } from '../../../../agent/telemetry/sample.ts'
import type { Priority, Sample } from '../../../../agent/telemetry/sample.ts'
import { createFakeClock } from '../../../kit/clock.ts'
import { eventually } from '../../../kit/device.ts'
import { makeTemporaryFolder } from '../../../kit/openssl.ts'

const roomy: OutboxLimits = { maxBytes: 10_000_000, maxAgeMs: 86_400_000, batchSamples: 1, batchMs: 1000 }
const unbound: ForwardLimits = { window: 20, drainPerSecond: 0, drainJitterMs: 0 }

const besideSample = (id: string): Sample => ({
  ...{ id, stream: 'device', priority: 'telemetry', createdAtMs: 0, label: PLAIN_LABEL, body: '{}' },
})

interface OnItsWay {
  readonly id: string
  acknowledge(): void
  fail(code: FailureCode): void
}

interface Bed {
  readonly clock: ReturnType<typeof createFakeClock>
  readonly outbox: Awaited<ReturnType<typeof openOutbox>>
  readonly forwarder: ReturnType<typeof createForwarder>
  readonly witnesses: string[]
  readonly setAside: string[]
  keep(stream: string, ids: readonly string[], priority?: Priority): Promise<void>
}

const onFailure = (failure: Failure) => assert.fail(failure.message)

async function makeBed(
  context: TestContext,
  {
    limits = unbound,
    room = roomy,
    random = () => 0,
  }: Partial<{
    limits: ForwardLimits
    room: OutboxLimits
    random: () => number
  }> = {},
): Promise<Bed> {
  const folder = await makeTemporaryFolder()
  const clock = createFakeClock()
  const outbox = await openOutbox(join(folder.path, 'outbox.db'), { clock, limits: room, onFailure })
  context.after(async () => {
    await outbox[Symbol.asyncDispose]()
    await folder[Symbol.asyncDispose]()
  })
  const witnesses: string[] = []
  const setAside: string[] = []
  const sampleOf = (stream: string, id: string, priority: Priority): Sample => ({
    ...{ id, stream, priority, createdAtMs: clock.now(), label: PLAIN_LABEL, body: `{"id":"${id}"}` },
  })
  const keep: Bed['keep'] = (stream, ids, priority = 'telemetry') =>
    outbox.append(
      ids.map((id) => sampleOf(stream, id, priority)),
      'written',
    )
  const forwarder = createForwarder({
    ...{ outbox, clock, random, limits },
    build({ samples: [first] }: Parcel): Outgoing {
      if (first.id === 'unmakeable') throw new RangeError('a test says so')
      return { body: first.body, messageId: first.id, contentType: 'application/json', properties: {} }
    },
    onSetAside: ({ samples: [first] }) => setAside.push(first.id),
    askForWitness: () => {
      witnesses.push(`witness-${witnesses.length + 1}`)
      forwarder.sendBeside(sampleOf('device', witnesses.at(-1) ?? '', 'telemetry'))
    },
  })
  return { clock, outbox, forwarder, witnesses, setAside, keep }
}

/** A session of which the test decides what becomes of each message. */
function openTrip({ forwarder }: Bed) {
  const sent: OnItsWay[] = []
  const over = new AbortController()
  const ended = forwarder
    .run(
      ({ messageId }) =>
        new Promise((resolve, reject) => {
          const fail = (code: FailureCode) => reject(new Failure(code, 'a test says so'))
          sent.push({ id: messageId, acknowledge: resolve, fail })
        }),
      over.signal,
    )
    .then(() => undefined)
    .catch((error: unknown) => error)
  return {
    sent,
    ended,
    ids: () => sent.map(({ id }) => id),
    /** Waits until so many messages were sent in all. */
    reached: (count: number) => eventually(async () => (sent.length >= count ? true : undefined)),
    async end() {
      over.abort(new Error('the session is over'))
      await ended
    },
  }
}

const numbered = (prefix: string, count: number) => Array.from({ length: count }, (_, at) => `${prefix}${at + 1}`)

/** Lets every step that needs no time happen. */
const settled = () => new Promise((resolve) => setImmediate(() => setImmediate(resolve)))

test('a sample leaves the outbox when the hub has acknowledged it, and not before', async (t) => {
  const bed = await makeBed(t)
  await bed.keep('a', ['a1', 'a2'])
  const trip = openTrip(bed)
  await trip.reached(2)
  assert.equal(bed.outbox.level().depth, 2)
  trip.sent[0]?.acknowledge()
  await settled()
  assert.equal(bed.outbox.level().depth, 1)
  await trip.end()
})

test('an acknowledgement that overtakes an older one moves nothing until that one is there', async (t) => {
  const bed = await makeBed(t)
  await bed.keep('a', ['a1', 'a2'])
  const trip = openTrip(bed)
  await trip.reached(2)
  trip.sent[1]?.acknowledge()
  await settled()
  assert.equal(bed.outbox.level().depth, 2)
  trip.sent[0]?.acknowledge()
  await settled()
  assert.equal(bed.outbox.level().depth, 0)
  await trip.end()
})

test('what was on its way when a session ended is sent again first, under its ID and in its order', async (t) => {
  const bed = await makeBed(t)
  await bed.keep('a', numbered('a', 6))
  const first = openTrip(bed)
  await first.reached(4)
  first.sent[0]?.acknowledge()
  await first.reached(5)
  await first.end()
  const second = openTrip(bed)
  await second.reached(4)
  assert.deepEqual(second.ids().slice(0, 4), ['a2', 'a3', 'a4', 'a5'])
  await second.end()
})

test('a sample that comes while nothing waits is sent at once', async (t) => {
  const bed = await makeBed(t)
  const trip = openTrip(bed)
  await settled()
  await bed.keep('a', ['a1'])
  await trip.reached(1)
  assert.deepEqual(trip.ids(), ['a1'])
  await trip.end()
})

test('no more than 4 messages are on their way before the first answer, and never more than the window', async (t) => {
  const bed = await makeBed(t, { limits: { ...unbound, window: 6 } })
  await bed.keep('a', numbered('a', 50))
  const trip = openTrip(bed)
  await trip.reached(4)
  await settled()
  assert.equal(trip.sent.length, 4)
  for (let answered = 0; answered < 20; answered += 1) {
    trip.sent[answered]?.acknowledge()
    await settled()
    assert.ok(trip.sent.length - answered - 1 <= 6)
  }
  assert.equal(trip.sent.length, 26)
  assert.equal(bed.forwarder.facts().inFlight, 6)
  await trip.end()
})

test('a message that the hub does not take is set aside with its reason and holds nothing up', async (t) => {
  const bed = await makeBed(t)
  await bed.keep('a', ['a1', 'a2'])
  const trip = openTrip(bed)
  await trip.reached(2)
  trip.sent[0]?.fail('MESSAGE_REFUSED')
  trip.sent[1]?.acknowledge()
  await settled()
  assert.deepEqual(bed.setAside, ['a1'])
  const { depth, dropped, aside } = bed.outbox.level()
  assert.deepEqual({ depth, refused: dropped.refused, aside }, { depth: 0, refused: 1, aside: 1 })
  await trip.end()
})

test('the failure of a send ends the session with that failure', async (t) => {
  const bed = await makeBed(t)
  await bed.keep('a', ['a1'])
  const trip = openTrip(bed)
  await trip.reached(1)
  trip.sent[0]?.fail('NETWORK_TIMEOUT')
  const failure = await trip.ended
  assert.ok(failure instanceof Failure)
  assert.equal(failure.code, 'NETWORK_TIMEOUT')
})

test('a backlog waits for its moment, goes at its rate, and what is measured now overtakes it', async (t) => {
  const limits = { ...unbound, drainPerSecond: 10, drainJitterMs: 30_000 }
  const bed = await makeBed(t, { limits, random: () => 0.5 })
  await bed.keep('old', numbered('old', 101))
  const trip = openTrip(bed)
  await settled()
  assert.deepEqual(trip.ids(), [])
  assert.equal(bed.forwarder.facts().drainBeginsInMs, 15_000)
  await bed.keep('live', ['live1'])
  await trip.reached(1)
  assert.deepEqual(trip.ids(), ['live1'])
  trip.sent[0]?.acknowledge()
  await settled()
  await bed.clock.advance(14_999)
  await settled()
  assert.equal(trip.sent.length, 1)
  await bed.clock.advance(1)
  await settled()
  const perSecond: number[] = []
  for (let second = 1; second <= 6; second += 1) {
    const before = trip.sent.length
    for (let tenth = 0; tenth < 10; tenth += 1) {
      for (const one of trip.sent) one.acknowledge()
      await settled()
      await bed.clock.advance(100)
      await settled()
    }
    perSecond.push(trip.sent.length - before)
  }
  // What was not used before the beginning, a second's worth, may go in the first one.
  assert.ok((perSecond[0] ?? 0) <= 20)
  assert.deepEqual(perSecond.slice(1), [10, 10, 10, 10, 10])
  await trip.end()
})

test('100 samples are taken up at once after an outage', async (t) => {
  const limits = { ...unbound, drainPerSecond: 1, drainJitterMs: 30_000 }
  const bed = await makeBed(t, { limits, random: () => 0.9 })
  await bed.keep('a', numbered('a', 100))
  const trip = openTrip(bed)
  for (let count = 4; count <= 100; count += 1) {
    await trip.reached(Math.min(count, 100))
    trip.sent[count - 4]?.acknowledge()
  }
  await trip.reached(100)
  await trip.end()
})

test('alarms go before all else, those with the newest first', async (t) => {
  const bed = await makeBed(t, { limits: { ...unbound, window: 1 } })
  await bed.keep('old', ['o1', 'o2'])
  await bed.keep('audit', ['u1'], 'audit')
  await bed.keep('first', ['f1'], 'alarm')
  await bed.clock.advance(1000)
  await bed.keep('second', ['s1', 's2'], 'alarm')
  const trip = openTrip(bed)
  await trip.reached(4)
  assert.deepEqual(trip.ids().slice(0, 3), ['s1', 's2', 'f1'])
  await trip.end()
})

test('a hub that acknowledges late gets fewer messages at a time', async (t) => {
  const bed = await makeBed(t)
  await bed.keep('a', numbered('a', 60))
  const trip = openTrip(bed)
  for (let answered = 0; answered < 16; answered += 1) {
    await trip.reached(answered + 1)
    trip.sent[answered]?.acknowledge()
    await settled()
  }
  assert.equal(bed.forwarder.facts().window, 20)
  await bed.clock.advance(6_000)
  trip.sent[16]?.acknowledge()
  await settled()
  assert.equal(bed.forwarder.facts().window, 10)
  await trip.end()
})

/** A hub that closes the session whenever this message reaches it, and takes all others. */
async function meet(bed: Bed, poison: string): Promise<readonly string[]> {
  const trip = openTrip(bed)
  for (let next = 0; ; next += 1) {
    await eventually(async () => (trip.sent.length > next ? true : undefined))
    const one = trip.sent[next]
    if (one?.id !== poison) {
      one?.acknowledge()
      await settled()
      continue
    }
    for (const open of trip.sent.slice(next)) open.fail('HUB_CLOSED')
    await trip.ended
    return trip.ids()
  }
}

test('a message at which the hub closes each time is found, set aside, and blocks nothing', async (t) => {
  const bed = await makeBed(t)
  await bed.keep('a', ['a1', 'bad', 'a3'])
  await bed.keep('b', numbered('b', 3))
  for (let session = 1; session <= 2; session += 1) await meet(bed, 'bad')
  assert.deepEqual(bed.setAside, [])
  for (let session = 3; session <= 5; session += 1) {
    await bed.keep('b', [`more${session}`])
    const ids = await meet(bed, 'bad')
    assert.equal(ids.length, 2, 'one that the hub takes, then the suspect, alone')
    assert.equal(ids[1], 'bad')
  }
  assert.deepEqual(bed.setAside, ['bad'])
  assert.deepEqual(bed.witnesses, [])
  const after = openTrip(bed)
  for (let next = 0; bed.outbox.level().depth > 0; next += 1) {
    await after.reached(next + 1)
    after.sent[next]?.acknowledge()
    await settled()
  }
  assert.ok(after.ids().includes('a3') && !after.ids().includes('bad'))
  await after.end()
})

test('where nothing else waits, a witness is asked for before a suspect travels', async (t) => {
  const bed = await makeBed(t)
  await bed.keep('a', ['bad'])
  for (let session = 1; session <= 5; session += 1) await meet(bed, 'bad')
  assert.deepEqual(bed.setAside, ['bad'])
  assert.deepEqual(bed.witnesses, ['witness-1', 'witness-2', 'witness-3'])
})

test('a link that breaks again and again condemns no message', async (t) => {
  const bed = await makeBed(t)
  await bed.keep('a', ['a1'])
  for (let session = 1; session <= 20; session += 1) {
    const trip = openTrip(bed)
    await trip.reached(1)
    for (const open of trip.sent) open.fail('HUB_CLOSED')
    await trip.ended
  }
  assert.deepEqual(bed.setAside, [])
  const good = openTrip(bed)
  await good.reached(1)
  for (let next = 0; bed.outbox.level().depth > 0; next += 1) {
    await good.reached(next + 1)
    good.sent[next]?.acknowledge()
    await settled()
  }
  await good.end()
})

test('a session that the hub closes under many messages is followed by a slower one', async (t) => {
  const bed = await makeBed(t)
  await bed.keep('a', numbered('a', 60))
  const trip = openTrip(bed)
  for (let answered = 0; answered < 40; answered += 1) {
    await trip.reached(answered + 1)
    trip.sent[answered]?.acknowledge()
    await settled()
  }
  for (const open of trip.sent) open.fail('HUB_CLOSED')
  await trip.ended
  // 40 in less than a second count as 40 a second; half of it.
  assert.equal(bed.forwarder.facts().paceLimitPerSecond, 20)
})

test('a sample that is sent beside passes a backlog that waits, a window that is full and a pace that is slow', async (t) => {
  const bed = await makeBed(t, { limits: { ...unbound, drainJitterMs: 60_000 }, random: () => 1 })
  await bed.keep('a', numbered('a', 101))
  const trip = openTrip(bed)
  await settled()
  assert.deepEqual(trip.ids(), [])
  bed.forwarder.sendBeside(besideSample('proof'))
  await trip.reached(1)
  assert.deepEqual(trip.ids(), ['proof'])
  trip.sent[0]?.acknowledge()
  await settled()
  assert.equal(bed.outbox.level().depth, 101)
  await trip.end()
})

test('a sample that is sent beside without a session goes with the next one, and a failed one is not sent again', async (t) => {
  const bed = await makeBed(t)
  bed.forwarder.sendBeside(besideSample('one'))
  bed.forwarder.sendBeside(besideSample('two'))
  const first = openTrip(bed)
  await first.reached(1)
  assert.deepEqual(first.ids(), ['two'])
  first.sent[0]?.fail('NETWORK_TIMEOUT')
  assert.ok((await first.ended) instanceof Failure)
  const second = openTrip(bed)
  await settled()
  assert.deepEqual(second.ids(), [])
  await second.end()
})

test('what an outbox that was mended holds is a backlog, and goes at the rate of one', async (t) => {
  const bed = await makeBed(t)
  await bed.keep(
    'a',
    Array.from({ length: 200 }, (_, at) => `a${at}`),
  )
  let epoch = 1
  const outbox = { ...bed.outbox, epoch: () => epoch }
  const forwarder = createForwarder({
    ...{ outbox, clock: bed.clock, random: () => 0, limits: { ...unbound, drainPerSecond: 1 } },
    build: ({ samples: [{ id, body }] }: Parcel): Outgoing => ({
      ...{ body, messageId: id, contentType: 'application/json', properties: {} },
    }),
  })
  const trip = openTrip({ ...bed, forwarder })
  await trip.reached(1)
  epoch = 2
  bed.outbox.arrived.ring()
  await settled()
  assert.deepEqual(trip.ids(), ['a0'])
  assert.equal(forwarder.facts().backlog, 200)
  await trip.end()
})

test('a sample of which no message can be made is set aside, and the session goes on', async (t) => {
  const bed = await makeBed(t)
  await bed.keep('a', ['unmakeable', 'a2'])
  const trip = openTrip(bed)
  await trip.reached(1)
  assert.deepEqual(trip.ids(), ['a2'])
  assert.deepEqual(bed.setAside, ['unmakeable'])
  await trip.end()
})
