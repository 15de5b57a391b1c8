import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { gzipSync } from 'node:zlib'
import type { Failure } from '../../agent/failure.ts'
import type { Session } from '../../agent/hub/session.ts'
import { supervise } from '../../agent/hub/supervise.ts'
import type { LinkState } from '../../agent/hub/supervise.ts'
import { createForwarder } from '../../agent/telemetry/forward/forward.ts'
import { buildMessage } from '../../agent/telemetry/message.ts'
import { openOutbox } from '../../agent/telemetry/outbox/open.ts'
import { PLAIN_LABEL } from '../../agent/telemetry/sample.ts'
import { layCable } from '../kit/cable.ts'
import { createFakeClock } from '../kit/clock.ts'
import { eventually } from '../kit/device.ts'
import { makeTemporaryFolder } from '../kit/openssl.ts'
import { putDirectIdentity, sas } from './sas-device.ts'
import { startBench } from './session-device.ts'
import type { Bench } from './session-device.ts'

const MINUTE = 60_000

const limits = { maxBytes: 1_000_000, maxAgeMs: 86_400_000, batchSamples: 1, batchMs: 1_000 }
const sample = { stream: 'device', priority: 'telemetry', label: PLAIN_LABEL, body: '{}' } as const
const facts = { boot: { bootId: 'this' }, compression: 'off' } as const

/**
 * A device on the lane `sas` that sends whatever its buffer holds, under supervision and a clock that stands still until a
 * test moves it. The cloud has the real time.
 */
async function startSending(context: TestContext, bench: Bench) {
  const { primaryKey } = putDirectIdentity(bench, 'edge-1')
  const device = bench.deviceWith('edge-1', sas(primaryKey))
  const cable = await layCable(bench.cloud.port)
  const clock = createFakeClock(Date.now())
  const folder = await makeTemporaryFolder()
  const failures: Failure[] = []
  const onFailure = (failure: Failure) => failures.push(failure)
  const outbox = await openOutbox(join(folder.path, 'outbox.db'), { clock, limits, onFailure })
  const forwarder = createForwarder({
    ...{ outbox, clock, random: () => 0, limits: { window: 20, drainPerSecond: 0, drainJitterMs: 0 } },
    build: (parcel) => buildMessage(parcel, facts, gzipSync),
  })
  const stop = new AbortController()
  const states: LinkState[] = []
  const renewals: Failure[] = []
  const assignment = { assignedHub: `${bench.cloud.hub.host}:${cable.port}`, deviceId: 'edge-1' }
  const work = supervise<typeof assignment, Session>(
    {
      clock,
      random: () => 0,
      loadAssignment: async () => assignment,
      saveAssignment: async () => undefined,
      register: () => Promise.reject(new Error('nobody registers here')),
      open: ({ assignedHub: host }, signal) => device.open({ host, clock, random: () => 0 }, signal),
      onSession: (session, signal) => forwarder.run((message) => session.send(message), signal),
      onState: (state) => states.push(state),
      onFailed: (failure) => failures.push(failure),
      onRenewed: (failure) => renewals.push(failure),
      onTrouble: (failure) => failures.push(failure),
    },
    stop.signal,
  )
  context.after(async () => {
    stop.abort(new Error('stopping'))
    await work
    await bench.deserted()
    await cable[Symbol.asyncDispose]()
    await outbox[Symbol.asyncDispose]()
    await folder[Symbol.asyncDispose]()
    await bench[Symbol.asyncDispose]()
  })
  let made = 0
  return {
    ...{ clock, cable, states, failures, renewals },
    async make(count: number) {
      for (let one = 0; one < count; one += 1) {
        made += 1
        await outbox.append([{ ...sample, id: `m-${made}`, createdAtMs: clock.now() }], 'written')
      }
    },
    /** The IDs of all samples so far, in their order. */
    made: () => Array.from({ length: made }, (_, index) => `m-${index + 1}`),
    delivered: () => eventually(async () => (outbox.level().depth === 0 ? true : undefined)),
  }
}

const receivedIds = (bench: Bench) =>
  bench.cloud.record
    .events()
    .flatMap((event) => (event.kind === 'telemetry' ? [event.message.system['message-id']] : []))

const sessionsOf = (bench: Bench) =>
  bench.cloud.record.events().flatMap((event) => (event.kind === 'connected' ? [event.auth] : []))

test('a token is renewed under constant traffic: every message arrives once, in order, over two sessions', async (t) => {
  const bench = await startBench()
  const device = await startSending(t, bench)
  for (let minute = 0; minute < 44; minute += 1) {
    await device.make(3)
    await device.delivered()
    await device.clock.advance(MINUTE)
  }
  await device.clock.advance(MINUTE - 1)
  assert.deepEqual(sessionsOf(bench), ['sas'])
  // The hub has twenty messages, and none of its answers has arrived, when the session closes its gate.
  const before = receivedIds(bench).length
  device.cable.become('holding')
  await device.make(30)
  await eventually(async () => (receivedIds(bench).length === before + 20 ? true : undefined))
  await device.clock.advance(1)
  await device.make(10)
  assert.deepEqual([sessionsOf(bench).length, device.renewals.length], [1, 0])
  device.cable.become('good')
  await device.delivered()
  assert.deepEqual(receivedIds(bench), device.made())
  assert.deepEqual(sessionsOf(bench), ['sas', 'sas'])
  assert.deepEqual(device.failures, [])
  assert.deepEqual(
    device.renewals.map(({ code }) => code),
    ['SESSION_RENEWED'],
  )
  assert.deepEqual(
    device.states.map(({ phase }) => phase),
    ['connecting', 'connected', 'connecting', 'connected'],
  )
})

test('a wall clock that was an hour slow and is put right renews the token within a minute', async (t) => {
  const bench = await startBench()
  const device = await startSending(t, bench)
  await device.make(1)
  await device.delivered()
  device.clock.stepWall(58 * MINUTE)
  await device.clock.advance(MINUTE)
  await eventually(async () => (sessionsOf(bench).length === 2 ? true : undefined))
  await device.make(1)
  await device.delivered()
  assert.deepEqual(receivedIds(bench), device.made())
  assert.deepEqual(device.failures, [])
})
