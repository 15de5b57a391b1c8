import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Failure } from '../../../agent/failure.ts'
import type { FailureCode } from '../../../agent/failure.ts'
import { after, freshHistory, nextStep } from '../../../agent/hub/supervise-policy.ts'
import type { History } from '../../../agent/hub/supervise-policy.ts'

const lowest = () => 0
const highest = () => 0.999_999
const failure = (code: FailureCode, retryAfterMs?: number) =>
  new Failure(code, 'test', retryAfterMs === undefined ? {} : { retryAfterMs })

const fresh = () => freshHistory(lowest)
const connectFailed = (history: History, code: FailureCode, nowMs = 0) =>
  after(history, { event: 'connectFailed', failure: failure(code), nowMs })
const registrationFailed = (history: History, code: FailureCode, nowMs = 0, retryAfterMs?: number) =>
  after(history, { event: 'registrationFailed', failure: failure(code, retryAfterMs), nowMs })
const sessionEnded = (history: History, code: FailureCode, livedMs: number, nowMs = 0) =>
  after(history, { event: 'sessionEnded', failure: failure(code), livedMs, nowMs })
const times = (count: number, history: History, step: (history: History) => History) =>
  Array.from({ length: count }).reduce<History>((current) => step(current), history)

const MINUTE = 60_000

test('at the start a cached assignment is used at once, without one the device registers at once', () => {
  assert.deepEqual(nextStep(fresh(), true, 0, lowest), { step: 'connect', inMs: 0 })
  assert.deepEqual(nextStep(fresh(), false, 0, lowest), { step: 'register', inMs: 0 })
})

test('waits towards the hub grow with full jitter to two minutes and never reach zero', () => {
  const waits = [1, 2, 3, 4, 5, 6, 7, 8, 9].map((failures) => {
    const history = times(failures, fresh(), (one) => connectFailed(one, 'NETWORK_TIMEOUT'))
    return [nextStep(history, true, 0, lowest).inMs, nextStep(history, true, 0, highest).inMs]
  })
  assert.deepEqual(
    waits.map(([least]) => least),
    Array.from({ length: 9 }, () => 500),
  )
  assert.deepEqual(
    waits.map(([, most]) => most),
    [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 120_000, 120_000],
  )
})

for (const code of ['HUB_REFUSED_CREDENTIAL', 'TLS_CREDENTIAL_REFUSED'] as const) {
  test(`${code} of the hub leads to DPS within a second`, () => {
    const step = nextStep(connectFailed(fresh(), code, 5 * MINUTE), true, 5 * MINUTE, highest)
    assert.equal(step.step, 'register')
    assert.ok(step.inMs <= 1_000)
  })
}

for (const code of [
  'NETWORK_DNS',
  'NETWORK_TIMEOUT',
  'TLS_SERVER_UNTRUSTED',
  'HUB_CLOSED_EARLY',
  'HUB_BUSY',
] as const) {
  test(`nine times ${code} is no reason for DPS, ten times is`, () => {
    const nine = times(9, fresh(), (history) => connectFailed(history, code))
    assert.equal(nextStep(nine, true, MINUTE, lowest).step, 'connect')
    assert.equal(nextStep(connectFailed(nine, code), true, MINUTE, lowest).step, 'register')
  })
}

test('a hub that has failed for 15 to 30 minutes leads to DPS however few the attempts were', () => {
  for (const [random, patienceMs] of [
    [lowest, 15 * MINUTE],
    [highest, 30 * MINUTE],
  ] as const) {
    const history = connectFailed(freshHistory(random), 'NETWORK_TIMEOUT', MINUTE)
    assert.equal(nextStep(history, true, MINUTE + patienceMs - 1_000, lowest).step, 'connect')
    assert.equal(nextStep(history, true, MINUTE + patienceMs, lowest).step, 'register')
  }
})

test('DPS is asked at most once a minute, whatever is the reason', () => {
  const registered = after(fresh(), { event: 'registered', nowMs: 10_000 })
  const refused = connectFailed(registered, 'HUB_REFUSED_CREDENTIAL', 11_000)
  const step = nextStep(refused, true, 11_000, lowest)
  assert.equal(step.step, 'register')
  assert.equal(11_000 + step.inMs, 70_000)
})

test('an attempt that never reached DPS does not hold the next one back for a minute', () => {
  const history = registrationFailed(fresh(), 'NETWORK_DNS')
  assert.ok(nextStep(history, false, 0, highest).inMs <= 1_000)
})

test('after a registration the hub is tried at once', () => {
  const failing = times(10, fresh(), (history) => connectFailed(history, 'HUB_CLOSED_EARLY'))
  const registered = after(failing, { event: 'registered', nowMs: MINUTE })
  assert.deepEqual(nextStep(registered, true, MINUTE, highest), { step: 'connect', inMs: 0 })
})

test('after a failed registration the old assignment has its turn again', () => {
  const failing = times(10, fresh(), (history) => connectFailed(history, 'NETWORK_TIMEOUT'))
  const history = registrationFailed(failing, 'DPS_SERVICE_FAULT', MINUTE)
  assert.equal(nextStep(history, true, MINUTE, lowest).step, 'connect')
})

test('what DPS asks for is honoured, and a fleet does not come back at one instant', () => {
  const history = registrationFailed(fresh(), 'DPS_THROTTLED', 0, 5 * MINUTE)
  assert.equal(nextStep(history, false, 0, lowest).inMs, 5 * MINUTE)
  assert.ok(nextStep(history, false, 0, highest).inMs > 5 * MINUTE)
  assert.ok(nextStep(history, false, 0, highest).inMs <= 5.5 * MINUTE)
})

test('a refusing DPS is asked for ever, at first after minutes, at last every half hour', () => {
  const limits = [1, 2, 3, 4, 5, 6, 7, 50].map((refusals) => {
    const history = times(refusals, fresh(), (one) => registrationFailed(one, 'DPS_UNAUTHORIZED'))
    const { step, inMs } = nextStep(history, false, 0, highest)
    assert.equal(step, 'register')
    assert.ok(nextStep(history, false, 0, lowest).inMs >= MINUTE)
    return Math.round(inMs / MINUTE)
  })
  assert.deepEqual(limits, [2, 2, 4, 8, 16, 30, 30, 30])
})

test('hub and DPS that both refuse are tried in turn, each time later', () => {
  let history = connectFailed(fresh(), 'HUB_REFUSED_CREDENTIAL', 0)
  const steps: string[] = []
  let lastMs = 0
  for (let round = 0; round < 4; round += 1) {
    const { step, inMs } = nextStep(history, true, 0, highest)
    steps.push(step)
    assert.ok(inMs >= lastMs, `${inMs} after ${lastMs}`)
    lastMs = inMs
    history =
      step === 'register'
        ? registrationFailed(history, 'DPS_UNAUTHORIZED', -10 * MINUTE)
        : connectFailed(history, 'HUB_REFUSED_CREDENTIAL', 0)
  }
  assert.deepEqual(steps, ['register', 'connect', 'register', 'connect'])
})

test('a session that lasted starts the waits anew', () => {
  const failing = times(8, fresh(), (history) => connectFailed(history, 'NETWORK_TIMEOUT'))
  const history = sessionEnded(failing, 'NETWORK_RESET', 2 * MINUTE)
  assert.deepEqual(nextStep(history, true, 0, highest), { step: 'connect', inMs: 1_000 })
})

test('sessions that end within seconds wait longer and longer, but are no reason for DPS', () => {
  const flapping = times(20, fresh(), (history) => sessionEnded(history, 'HUB_CLOSED', 3_000))
  assert.deepEqual(nextStep(flapping, true, 0, highest), { step: 'connect', inMs: 120_000 })
})

test('a throttled twin read holds the next connection back as long as the hub asks', () => {
  const ended = { event: 'sessionEnded', failure: failure('TWIN_REFUSED', 10_000), livedMs: 0, nowMs: 0 } as const
  assert.ok(nextStep(after(fresh(), ended), true, 0, lowest).inMs >= 10_000)
})

test('a refused hub type is waited out slowly', () => {
  const history = registrationFailed(fresh(), 'HUB_TYPE_UNSUPPORTED')
  assert.ok(nextStep(history, true, 0, lowest).inMs >= MINUTE)
})
