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
const registered = (history: History, changed: boolean, nowMs = 0) =>
  after(history, { event: 'registered', changed, nowMs })
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

for (const code of ['HUB_CLOSED_EARLY', 'HUB_BAD_ANSWER', 'TLS_FAILED'] as const) {
  test(`nine times ${code} is no reason for DPS, ten times is`, () => {
    const nine = times(9, fresh(), (history) => connectFailed(history, code))
    assert.equal(nextStep(nine, true, MINUTE, lowest).step, 'connect')
    assert.equal(nextStep(connectFailed(nine, code), true, MINUTE, lowest).step, 'register')
  })
}

for (const code of [
  'NETWORK_DNS',
  'NETWORK_REFUSED',
  'NETWORK_UNREACHABLE',
  'NETWORK_TIMEOUT',
  'NETWORK_RESET',
  'TLS_SERVER_UNTRUSTED',
  'TLS_SERVER_NAME',
  'TLS_SERVER_DATES',
  'HUB_BUSY',
  'HUB_NO_ANSWER',
] as const) {
  test(`${code}, however often, leads to DPS by patience alone`, () => {
    const many = times(100, fresh(), (history) => connectFailed(history, code))
    assert.equal(nextStep(many, true, 15 * MINUTE - 1, lowest).step, 'connect')
    assert.equal(nextStep(many, true, 15 * MINUTE, lowest).step, 'register')
  })
}

/** The instants, in milliseconds, at which one device asks DPS while its hub fails in one way and DPS changes nothing. */
function registrationsDuring(outageMs: number, code: FailureCode, random: () => number): number[] {
  const asked: number[] = []
  let history = freshHistory(random)
  for (let nowMs = 0; nowMs < outageMs;) {
    const { step, inMs } = nextStep(history, true, nowMs, random)
    nowMs += inMs + 50
    if (step === 'register') asked.push(nowMs)
    history = step === 'register' ? registered(history, false, nowMs) : connectFailed(history, code, nowMs)
  }
  return asked
}

test('a thousand devices whose hub is gone for a day come to DPS spread out, and ever more seldom', () => {
  let seed = 1
  const random = () => (seed = (seed * 16_807) % 2_147_483_647) / 2_147_483_647
  const perMinute = new Map<number, number>()
  for (let device = 0; device < 1_000; device += 1) {
    const asked = registrationsDuring(24 * 60 * MINUTE, 'NETWORK_REFUSED', random)
    assert.ok((asked[0] ?? 0) >= 15 * MINUTE && asked.length <= 10, `${asked.length} from ${asked[0]} ms on`)
    for (const atMs of asked) {
      const minute = Math.floor(atMs / MINUTE)
      perMinute.set(minute, (perMinute.get(minute) ?? 0) + 1)
    }
  }
  const most = Math.max(...perMinute.values())
  assert.ok(most <= 120, `${most} registrations in one minute`)
})

test('patience doubles with each registration that changed nothing, up to four hours', () => {
  const waits: number[] = []
  let history = fresh()
  for (let round = 0; round < 7; round += 1) {
    const failing = times(20, history, (one) => connectFailed(one, 'HUB_CLOSED_EARLY'))
    const due = [10, 15, 30, 60, 120, 240, 480].find((minutes) => {
      return nextStep(failing, true, minutes * MINUTE, lowest).step === 'register'
    })
    waits.push(due ?? Number.NaN)
    history = registered(failing, false, -MINUTE)
  }
  assert.deepEqual(waits, [10, 30, 60, 120, 240, 240, 240])
})

test('a registration that moved the device, and a session that lasted, bring the old patience back', () => {
  const stubborn = times(5, fresh(), (one) => registered(one, false))
  for (const history of [registered(stubborn, true), sessionEnded(stubborn, 'NETWORK_RESET', 2 * MINUTE)]) {
    const failing = connectFailed(history, 'NETWORK_TIMEOUT', MINUTE)
    assert.equal(nextStep(failing, true, 16 * MINUTE, lowest).step, 'register')
  }
  const shortLived = connectFailed(sessionEnded(stubborn, 'NETWORK_RESET', 5_000), 'NETWORK_TIMEOUT')
  assert.equal(nextStep(shortLived, true, 16 * MINUTE, lowest).step, 'connect')
})

test('a hub that is busy is waited for ten times as long as one that is gone', () => {
  const busy = connectFailed(fresh(), 'HUB_BUSY')
  assert.deepEqual(nextStep(busy, true, 0, lowest), { step: 'connect', inMs: 5_000 })
  assert.deepEqual(nextStep(busy, true, 0, highest), { step: 'connect', inMs: 10_000 })
})

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
  const refused = connectFailed(registered(fresh(), false, 10_000), 'HUB_REFUSED_CREDENTIAL', 11_000)
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
  assert.deepEqual(nextStep(registered(failing, true, MINUTE), true, MINUTE, highest), { step: 'connect', inMs: 0 })
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

test('sessions that end within seconds wait longer and longer, and lead to DPS after ten', () => {
  const nine = times(9, fresh(), (history) => sessionEnded(history, 'HUB_CLOSED', 3_000))
  assert.deepEqual(nextStep(nine, true, 0, highest), { step: 'connect', inMs: 120_000 })
  const ten = sessionEnded(nine, 'HUB_CLOSED', 3_000)
  assert.deepEqual(nextStep(ten, true, 0, highest), { step: 'register', inMs: 120_000 })
  const again = times(30, registered(ten, false), (history) => sessionEnded(history, 'HUB_CLOSED', 3_000))
  assert.equal(nextStep(again, true, 29 * MINUTE, highest).step, 'connect')
})

test('a session that lasted in between starts the count towards DPS anew', () => {
  const nine = times(9, fresh(), (history) => connectFailed(history, 'HUB_CLOSED_EARLY'))
  const lasted = sessionEnded(nine, 'HUB_CLOSED', 60_000)
  const eight = times(8, lasted, (history) => connectFailed(history, 'HUB_CLOSED_EARLY'))
  assert.equal(nextStep(eight, true, MINUTE, lowest).step, 'connect')
})

test('a link that carries only short sessions leads to DPS by patience', () => {
  const flapping = times(100, fresh(), (history) => sessionEnded(history, 'NETWORK_RESET', 20_000))
  assert.equal(nextStep(flapping, true, 14 * MINUTE, lowest).step, 'connect')
  assert.equal(nextStep(flapping, true, 15 * MINUTE, lowest).step, 'register')
})

test('a throttled twin read holds the next connection back as long as the hub asks', () => {
  const ended = { event: 'sessionEnded', failure: failure('TWIN_REFUSED', 10_000), livedMs: 0, nowMs: 0 } as const
  assert.ok(nextStep(after(fresh(), ended), true, 0, lowest).inMs >= 10_000)
})

test('a refused hub type is waited out slowly', () => {
  const history = registrationFailed(fresh(), 'HUB_TYPE_UNSUPPORTED')
  assert.ok(nextStep(history, true, 0, lowest).inMs >= MINUTE)
})

test('a session that ended for a new token is followed by the next at once, however short or long it was', () => {
  for (const livedMs of [10, 45 * MINUTE]) {
    const troubled = times(12, fresh(), (history) => connectFailed(history, 'HUB_CLOSED_EARLY'))
    const history = sessionEnded(troubled, 'SESSION_RENEWED', livedMs, 50 * MINUTE)
    assert.deepEqual(nextStep(history, true, 50 * MINUTE, highest), { step: 'connect', inMs: 0 })
    assert.deepEqual([history.attempts, history.refusals, history.hubFailures, history.last], [0, 0, 0, undefined])
  }
})

test('a renewal settles refusals that came before it', () => {
  const refused = connectFailed(fresh(), 'HUB_REFUSED_CREDENTIAL')
  const again = connectFailed(sessionEnded(refused, 'SESSION_RENEWED', 45 * MINUTE), 'HUB_REFUSED_CREDENTIAL')
  assert.ok(nextStep(again, true, 0, highest).inMs <= 1_000)
})

test('a second renewal within a minute is an end like any other', () => {
  const first = sessionEnded(fresh(), 'SESSION_RENEWED', 45 * MINUTE, 45 * MINUTE)
  const second = sessionEnded(first, 'SESSION_RENEWED', 10, 46 * MINUTE - 1)
  assert.deepEqual([second.attempts, second.last?.failure.code], [1, 'SESSION_RENEWED'])
  assert.equal(nextStep(second, true, 46 * MINUTE - 1, lowest).inMs, 500)
  const later = sessionEnded(first, 'SESSION_RENEWED', 10, 46 * MINUTE)
  assert.deepEqual([later.attempts, later.last], [0, undefined])
})
