import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import type { FailureCode } from '../../agent/failure.ts'
import type { FaultValues } from '../cloud/faults.ts'
import { createFakeClock } from '../kit/clock.ts'
import { failureOf, startBench } from './session-device.ts'
import type { Bench, Device } from './session-device.ts'

let bench: Bench
let device: Device

before(async () => {
  bench = await startBench()
  device = await bench.device('edge-1')
})
after(() => bench[Symbol.asyncDispose]())
afterEach(async () => {
  bench.calm()
  await bench.deserted()
})

test('a device of the fleet is registered and learns its hub', async () => {
  const assignment = await device.register()
  assert.equal(assignment.deviceId, 'edge-1')
  assert.equal(assignment.assignedHub, bench.cloud.hubAddress())
  assert.equal(bench.cloud.hub.identity('edge-1')?.authentication.type, 'selfSigned')
})

test('a poll waits as long as DPS asks', async () => {
  bench.cloud.faults.set('retryAfterSeconds', 1)
  bench.cloud.faults.set('pollsBeforeAssigned', 0)
  const startedMs = performance.now()
  await device.register()
  assert.ok(performance.now() - startedMs >= 1_000)
})

test('a wait longer than the deadline is granted to DPS, and the registration finishes after it', async () => {
  bench.cloud.faults.set('retryAfterSeconds', 300)
  bench.cloud.faults.set('pollsBeforeAssigned', 0)
  const clock = createFakeClock()
  const work = device.register({ clock, deadlineMs: 180_000 })
  await clock.waiting(300_000)
  await clock.advance(300_000)
  assert.equal((await work).deviceId, 'edge-1')
})

test('of the waits that DPS asks for an hour is granted, and no more', async () => {
  bench.cloud.faults.set('retryAfterSeconds', 3_000)
  bench.cloud.faults.set('pollsBeforeAssigned', 1_000)
  const clock = createFakeClock()
  let over = false
  const work = failureOf(device.register({ clock, deadlineMs: 180_000 })).finally(() => (over = true))
  await clock.waiting(3_000_000)
  await clock.advance(3_000_000)
  await clock.waiting(3_000_000)
  await clock.advance(779_000)
  assert.equal(over, false)
  await clock.advance(1_000)
  assert.equal((await work).code, 'DPS_NO_ANSWER')
})

test('a DPS that forgets the operation between two polls is DPS_OPERATION_LOST, and may be asked again', async () => {
  bench.cloud.faults.set('retryAfterSeconds', 5)
  const clock = createFakeClock()
  const work = failureOf(device.register({ clock, deadlineMs: 4_000 }))
  await clock.waiting(5_000)
  bench.cloud.faults.set('dpsAnswer', '404')
  await clock.advance(5_000)
  const failure = await work
  assert.equal(failure.code, 'DPS_OPERATION_LOST', failure.message)
  assert.equal(failure.kind, 'transient')
})

test('a payload with letters beyond ASCII reaches the agent whole', async () => {
  bench.cloud.faults.set('dpsAnswer', 'nonAscii')
  const { payload } = await device.register()
  const text = JSON.stringify(payload)
  assert.ok(Buffer.byteLength(text) > text.length, text)
})

const answers: Readonly<Record<Exclude<FaultValues['dpsAnswer'], 'off' | 'nonAscii'>, FailureCode>> = {
  400: 'DPS_BAD_REQUEST',
  401: 'DPS_UNAUTHORIZED',
  404: 'DPS_NOT_FOUND',
  409: 'DPS_CONFLICT',
  429: 'DPS_THROTTLED',
  500: 'DPS_SERVICE_FAULT',
  503: 'DPS_SERVICE_FAULT',
  silence: 'DPS_NO_ANSWER',
  close: 'DPS_CLOSED',
  malformed: 'DPS_BAD_ANSWER',
  empty: 'DPS_BAD_ANSWER',
}

for (const [answer, code] of Object.entries(answers)) {
  test(`the answer ${answer} of DPS is ${code}, in time and with no socket left`, async () => {
    bench.cloud.faults.set('dpsAnswer', answer as keyof typeof answers)
    const failure = await failureOf(device.register({ deadlineMs: 1_000 }))
    assert.equal(failure.code, code, failure.message)
    await bench.deserted()
  })
}

test('a throttled registration says when DPS wants to be asked again', async () => {
  bench.cloud.faults.set('dpsAnswer', '429')
  bench.cloud.faults.set('retryAfterSeconds', 7)
  assert.equal((await failureOf(device.register())).retryAfterMs, 7_000)
})

const outcomes = {
  failed: 'DPS_REGISTRATION_FAILED',
  disabled: 'DPS_DISABLED',
  unassigned: 'DPS_NOT_ASSIGNED',
  mqttV5: 'HUB_TYPE_UNSUPPORTED',
} as const

for (const [outcome, code] of Object.entries(outcomes)) {
  test(`a registration that ends ${outcome} is ${code}`, async () => {
    bench.cloud.faults.set('dpsOutcome', outcome as keyof typeof outcomes)
    assert.equal((await failureOf(device.register())).code, code)
  })
}

test('a certificate of a foreign authority is DPS_UNAUTHORIZED', async () => {
  const { authority } = await makeForeign()
  const stranger = await bench.device('edge-2', authority)
  assert.equal((await failureOf(stranger.register())).code, 'DPS_UNAUTHORIZED')
})

test('a certificate of another device is refused', async () => {
  const thief = await bench.device('edge-9', device.credential)
  assert.equal((await failureOf(thief.register())).kind, 'refused')
})

test('an expired certificate is refused', async () => {
  const profile = { notBefore: new Date(Date.now() - 7_200_000), notAfter: new Date(Date.now() - 3_600_000) }
  const expired = await bench.device('edge-3', await bench.cloud.authority.makeDevice('edge-3', { profile }))
  assert.equal((await failureOf(expired.register())).code, 'DPS_UNAUTHORIZED')
})

test('a refusal of the credential at CONNACK is DPS_REFUSED_CONNECTION', async () => {
  bench.cloud.faults.set('dpsCredentialRefusal', 'connack')
  const { authority } = await makeForeign()
  const stranger = await bench.device('edge-2', authority)
  assert.equal((await failureOf(stranger.register())).code, 'DPS_REFUSED_CONNECTION')
})

test('a disabled enrollment reads as what DPS says: 401, or the status disabled', async () => {
  bench.cloud.enrollFleet('fleet-x509', { provisioningStatus: 'disabled' })
  try {
    assert.equal((await failureOf(device.register())).code, 'DPS_UNAUTHORIZED')
    bench.cloud.faults.set('disabledEnrollment', 'status')
    assert.equal((await failureOf(device.register())).code, 'DPS_DISABLED')
  } finally {
    bench.cloud.enrollFleet()
  }
})

test('a wrong ID scope is refused', async () => {
  assert.equal((await failureOf(device.register({ idScope: '0neFFFFFFFF' }))).kind, 'refused')
})

test('a DPS that never answers CONNECT is DPS_NO_ANSWER, with no socket left', async () => {
  bench.cloud.faults.set('connectSilence', 'dps')
  assert.equal((await failureOf(device.register({ deadlineMs: 500 }))).code, 'DPS_NO_ANSWER')
})

test('a DPS that closes after the handshake is DPS_CLOSED', async () => {
  bench.cloud.faults.set('closeAfterHandshake', 'dps')
  assert.equal((await failureOf(device.register())).code, 'DPS_CLOSED')
})

test('an abort ends a registration at once with the reason of the signal', async () => {
  bench.cloud.faults.set('dpsAnswer', 'silence')
  const over = new AbortController()
  const work = failureOf(device.register({}, over.signal))
  await bench.cloud.record.waitFor((event) => event.kind === 'connected', { since: bench.cloud.record.seq() })
  const reason = new Error('stopping')
  over.abort(reason)
  assert.equal(await work, reason)
})

test('key and certificate that are no pair never reach the network', async () => {
  const other = await bench.cloud.authority.makeDevice('edge-1')
  const before = bench.cloud.record.seq()
  const credential = { lane: 'x509', chainPem: device.credential.chainPem, keyPem: other.keyPem } as const
  assert.equal((await failureOf(device.register({ credential }))).code, 'TLS_LOCAL_CREDENTIAL')
  assert.equal(bench.cloud.record.seq(), before)
})

test('after all of this nothing keeps the process alive but the stand-in', async () => {
  await device.register()
  await bench.deserted()
  const timers = process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout')
  // The stand-in ticks twice a second; whatever a registration had started is gone.
  assert.ok(timers.length <= 2, String(timers))
})

/** A device certificate of an authority that nobody enrolled. */
async function makeForeign() {
  const { makeCloudAuthority } = await import('../cloud/authority.ts')
  const foreign = await makeCloudAuthority({ shape: 'quick', hosts: ['x.localhost'] })
  const authority = await foreign.makeDevice('edge-2')
  await foreign[Symbol.asyncDispose]()
  return { authority }
}
