import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import type { Failure } from '../../agent/failure.ts'
import type { OutgoingMessage, Session } from '../../agent/hub/session.ts'
import { supervise } from '../../agent/hub/supervise.ts'
import type { LinkState } from '../../agent/hub/supervise.ts'
import { createBuffer } from '../../agent/telemetry/buffer.ts'
import { forward } from '../../agent/telemetry/forward.ts'
import type { Sample } from '../../agent/telemetry/sample.ts'
import { layCable } from '../kit/cable.ts'
import { createFakeClock } from '../kit/clock.ts'
import { eventually } from '../kit/device.ts'
import { putDirectIdentity, sas } from './sas-device.ts'
import { startBench } from './session-device.ts'
import type { Bench } from './session-device.ts'

const MINUTE = 60_000

const messageOf = ({ id: messageId, body }: Sample): OutgoingMessage => ({
  ...{ messageId, body, contentType: 'application/json', contentEncoding: 'utf-8' },
})

/**
 * A device on the lane `sas` that sends whatever its buffer holds, under supervision and a clock that stands still until a
 * test moves it. The cloud has the real time.
 */
async function startSending(context: TestContext, bench: Bench) {
  const { primaryKey } = putDirectIdentity(bench, 'edge-1')
  const device = bench.deviceWith('edge-1', sas(primaryKey))
  const cable = await layCable(bench.cloud.port)
  const clock = createFakeClock(Date.now())
  const spool = createBuffer({ maxSamples: 1_000, maxBytes: 1_000_000 })
  const stop = new AbortController()
  const states: LinkState[] = []
  const failures: Failure[] = []
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
      onSession: (session, signal) => forward({ spool, send: (sample) => session.send(messageOf(sample)) }, signal),
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
    await bench[Symbol.asyncDispose]()
  })
  let made = 0
  return {
    ...{ clock, cable, states, failures, renewals },
    async make(count: number) {
      for (let one = 0; one < count; one += 1) {
        made += 1
        await spool.append({ id: `m-${made}`, body: '{}', createdAtMs: clock.now() })
      }
    },
    /** The IDs of all samples so far, in their order. */
    made: () => Array.from({ length: made }, (_, index) => `m-${index + 1}`),
    delivered: () => eventually(async () => (spool.level().depth === 0 ? true : undefined)),
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
