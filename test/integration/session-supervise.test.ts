import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import type { Failure } from '../../agent/failure.ts'
import type { Session } from '../../agent/hub/session.ts'
import { supervise } from '../../agent/hub/supervise.ts'
import type { LinkState } from '../../agent/hub/supervise.ts'
import type { Assignment } from '../../agent/provision/dps.ts'
import { readAssignment, saveAssignment } from '../../agent/provision/assignment.ts'
import { systemClock } from '../../agent/system/clock.ts'
import { makeTemporaryFolder } from '../kit/openssl.ts'
import { startBench } from './session-device.ts'
import type { Bench, Device } from './session-device.ts'

/** Supervision over the real adapters and the real file, as `run` joins them, against the stand-in. */
async function superviseDevice(
  context: TestContext,
  bench: Bench,
  device: Device,
  earlier?: Pick<Assignment, 'assignedHub' | 'deviceId'>,
) {
  const folder = await makeTemporaryFolder()
  const path = join(folder.path, 'assignment.json')
  const owner = {
    dpsHost: bench.cloud.dpsAddress,
    idScope: bench.cloud.idScope,
    registrationId: device.registrationId,
  }
  if (earlier !== undefined) await saveAssignment(path, owner, earlier, systemClock.now())
  const stop = new AbortController()
  const states: LinkState[] = []
  const waiting: { fits: (state: LinkState) => boolean; resolve: (state: LinkState) => void }[] = []
  const work = supervise<Pick<Assignment, 'assignedHub' | 'deviceId'>, Session>(
    {
      clock: systemClock,
      random: () => 0,
      async loadAssignment() {
        const cached = await readAssignment(path, owner, systemClock.now())
        return cached.found === 'ours' ? cached.record : undefined
      },
      saveAssignment: (assignment) => saveAssignment(path, owner, assignment, systemClock.now()),
      register: (signal) => device.register({}, signal),
      open: (assignment, signal) =>
        device.open({ host: assignment.assignedHub, deviceId: assignment.deviceId }, signal),
      async onSession(session) {
        await session.readTwin()
        await session.send({
          body: '{}',
          messageId: randomUUID(),
          contentType: 'application/json',
          contentEncoding: 'utf-8',
        })
      },
      onState(state) {
        states.push(state)
        for (const waiter of waiting) if (waiter.fits(state)) waiter.resolve(state)
      },
      onTrouble: (failure: Failure) => assert.fail(failure),
    },
    stop.signal,
  )
  context.after(async () => {
    stop.abort(new Error('stopping'))
    await work
    await bench.deserted()
    await folder[Symbol.asyncDispose]()
    await bench[Symbol.asyncDispose]()
  })
  return {
    states,
    path,
    owner,
    reaches(phase: LinkState['phase']) {
      return new Promise<LinkState>((resolve) => waiting.push({ fits: (state) => state.phase === phase, resolve }))
    },
  }
}

/** The next message that the hub gets after `since`. */
const telemetryAfter = (bench: Bench, since: number) =>
  bench.cloud.record.waitFor((event) => event.kind === 'telemetry', { since, withinMs: 20_000 })

test('a new device registers, connects, reads its twin and is heard; the assignment is kept', async (t) => {
  const bench = await startBench()
  const device = await bench.device('edge-1')
  const supervised = await superviseDevice(t, bench, device)
  await telemetryAfter(bench, 0)
  assert.equal((await readAssignment(supervised.path, supervised.owner, 0)).found, 'ours')
  assert.deepEqual(
    supervised.states.map(({ phase }) => phase),
    ['registering', 'connecting', 'connected'],
  )
})

test('a device that its hub refuses registers again and is heard again', async (t) => {
  const bench = await startBench()
  const device = await bench.device('edge-1')
  // An earlier run registered; since then another certificate of the same ID did, so that the hub refuses ours.
  const { assignedHub } = await device.register()
  await (await bench.device('edge-1')).register()
  const since = bench.cloud.record.seq()
  const supervised = await superviseDevice(t, bench, device, { assignedHub, deviceId: 'edge-1' })
  await telemetryAfter(bench, since)
  assert.deepEqual(
    supervised.states.map(({ phase }) => phase),
    ['connecting', 'waiting', 'registering', 'connecting', 'connected'],
  )
})

test('a hub that was gone for a moment has the device back without DPS', async (t) => {
  const bench = await startBench()
  const device = await bench.device('edge-1')
  const supervised = await superviseDevice(t, bench, device)
  await telemetryAfter(bench, 0)
  const since = bench.cloud.record.seq()
  const identity = bench.cloud.hub.identity('edge-1')
  assert.ok(identity)
  bench.cloud.hub.putIdentity({ ...identity, status: 'disabled' })
  bench.cloud.hub.putIdentity(identity)
  await telemetryAfter(bench, since)
  assert.equal(supervised.states.filter(({ phase }) => phase === 'registering').length, 1)
})

test('a certificate that nobody enrolled is named and waited out in minutes', async (t) => {
  const bench = await startBench()
  const stranger = await startBench()
  const device = await bench.device('edge-1', await stranger.cloud.authority.makeDevice('edge-1'))
  await stranger[Symbol.asyncDispose]()
  const supervised = await superviseDevice(t, bench, device)
  const state = await supervised.reaches('waiting')
  assert.ok(state.phase === 'waiting')
  assert.equal(state.failure?.code, 'DPS_UNAUTHORIZED')
  assert.ok(state.nextAttemptInMs >= 60_000)
})
