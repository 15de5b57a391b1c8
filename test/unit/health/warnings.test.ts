import assert from 'node:assert/strict'
import { test } from 'node:test'
import { track } from '../../../agent/health/tracker.ts'
import { warningTable } from '../../../agent/health/warning-table.ts'
import { findWarnings } from '../../../agent/health/warnings.ts'
import type { HealthFacts } from '../../../agent/health/warnings.ts'

const DAY_MS = 86_400_000
const nowMs = Date.UTC(2026, 5, 1)
const healthy: HealthFacts = {
  nowMs,
  hub: { state: 'connected' },
  certificate: { notBeforeMs: nowMs - 10 * DAY_MS, notAfterMs: nowMs + 80 * DAY_MS },
  key: { path: '/var/lib/iot-device-agent/credentials/gen-0001/key.pem', mode: 0o600, legacy: false },
  drops: { counts: { full: 0 }, lastMs: {} },
  refusedDesired: [],
}

function codesOf(facts: Partial<HealthFacts>): readonly string[] {
  return findWarnings({ ...healthy, ...facts }).map(({ code }) => code)
}

/** A certificate of so many days of which so many are left. */
function certificate(lifeDays: number, leftDays: number) {
  const notAfterMs = nowMs + leftDays * DAY_MS
  return { certificate: { notBeforeMs: notAfterMs - lifeDays * DAY_MS, notAfterMs } }
}

test('a healthy device has no warnings', () => {
  assert.deepEqual(codesOf({}), [])
})

const expiries: readonly (readonly [life: number, left: number, codes: readonly string[]])[] = [
  // A fifth of 90 days is 18.
  [90, 18.1, []],
  [90, 18, ['CERTIFICATE_EXPIRES_SOON']],
  // A fifth of a week is 1.4 days: it must not warn for most of its life.
  [7, 1.5, []],
  [7, 1.4, ['CERTIFICATE_EXPIRES_SOON']],
  // A fifth of two years would be 146 days: 30 are enough.
  [730, 31, []],
  [730, 30, ['CERTIFICATE_EXPIRES_SOON']],
  [90, 0, ['CERTIFICATE_EXPIRES_SOON']],
  [90, -0.001, ['CERTIFICATE_EXPIRED']],
  [90, 90.1, ['CERTIFICATE_NOT_YET_VALID']],
]

for (const [life, left, codes] of expiries) {
  test(`a certificate of ${life} days with ${left} left: ${codes.join() || 'nothing'}`, () => {
    assert.deepEqual(codesOf(certificate(life, left)), codes)
  })
}

test('a reconnection is no warning, an absence is, with its reason', () => {
  const away = { state: 'disconnected', sinceMs: nowMs - 120_000, reason: 'connection refused' } as const
  assert.deepEqual(codesOf({ hub: { ...away, sinceMs: nowMs - 119_000 } }), [])
  const [found] = findWarnings({ ...healthy, hub: away })
  assert.equal(found?.code, 'HUB_DISCONNECTED')
  assert.match(found.text, /connection refused/)
})

const REMEDY = 'chown root:990 /k && chmod 640 /k'

test('a key is exposed when whoever knows its owner says so, whatever its mode; the command is theirs', () => {
  for (const mode of [0o600, 0o640, 0o644]) assert.deepEqual(codesOf({ key: { path: '/k', mode, legacy: false } }), [])
  for (const legacy of [false, true]) {
    const [exposed] = findWarnings({ ...healthy, key: { path: '/k', mode: 0o640, legacy, remedy: REMEDY } })
    assert.equal(exposed?.code, 'KEY_EXPOSED')
    assert.match(exposed.text, /\/k .*0640/)
    assert.ok(exposed.advice?.startsWith(`${REMEDY};`))
    assert.doesNotMatch(exposed.advice ?? '', /chmod 600/)
  }
})

test('a key from elsewhere is noted, and the way out of it never leaves the device without a credential', () => {
  const [legacy] = findWarnings({ ...healthy, key: { path: '/k', mode: 0o600, legacy: true } })
  assert.equal(legacy?.code, 'LEGACY_KEY_PAIR')
  const { advice } = warningTable.LEGACY_KEY_PAIR
  const steps = ['csr', 'signed', 'install-certificate', 'CERT_PATH', 'move the files away', 'restart']
  const places = steps.map((step) => advice.indexOf(step))
  assert.deepEqual(
    places,
    places.toSorted((a, b) => a - b),
  )
  assert.ok(!places.includes(-1))
})

test('whoever gave the pair has to replace it: the agent asks for no certificate in its place', () => {
  for (const [left, code] of [
    [1, 'CERTIFICATE_EXPIRES_SOON'],
    [-1, 'CERTIFICATE_EXPIRED'],
  ] as const) {
    const adviceFor = (legacy: boolean) => {
      const facts = { ...healthy, ...certificate(90, left), key: { path: '/k', mode: 0o600, legacy } }
      return track([], findWarnings(facts), nowMs).warnings.find((warning) => warning.code === code)?.advice ?? ''
    }
    assert.equal(adviceFor(false), warningTable[code].advice)
    assert.match(adviceFor(true), /in the place of the files .*restart iot-device-agent/)
    assert.doesNotMatch(adviceFor(true), /iot-device-agent csr/)
  }
})

test('a device that waits for its first certificate says since when', () => {
  const { certificate: _, ...without } = healthy
  const [found] = findWarnings({ ...without, awaitingCertificateSinceMs: Date.UTC(2026, 4, 30) })
  assert.equal(found?.code, 'AWAITING_CERTIFICATE')
  assert.match(found.text, /2026-05-30/)
})

test('a refused desired property is named', () => {
  const [found] = findWarnings({ ...healthy, refusedDesired: ['log.level'] })
  assert.equal(found?.code, 'DESIRED_REFUSED')
  assert.match(found.text, /log\.level/)
})

test('the gravest come first', () => {
  const severities = findWarnings({
    ...healthy,
    ...certificate(90, 1),
    key: { path: '/k', mode: 0o644, legacy: true, remedy: REMEDY },
    drops: { counts: { full: 1 }, lastMs: { full: nowMs } },
    refusedDesired: ['log.level'],
  }).map(({ code }) => warningTable[code].severity)
  assert.deepEqual(severities, ['wrong', 'wrong', 'soon', 'soon', 'note'])
})

test('a warning keeps the time at which it was raised while its text follows the facts', () => {
  const first = track([], [{ code: 'TELEMETRY_DROPPED', text: '1 given up' }], 1000)
  assert.deepEqual(
    first.raised.map(({ code, sinceMs }) => [code, sinceMs]),
    [['TELEMETRY_DROPPED', 1000]],
  )
  const second = track(first.warnings, [{ code: 'TELEMETRY_DROPPED', text: '2 given up' }], 2000)
  assert.deepEqual([second.raised, second.cleared], [[], []])
  assert.deepEqual(
    second.warnings.map(({ text, sinceMs }) => [text, sinceMs]),
    [['2 given up', 1000]],
  )
})

test('the advice for this device goes before that of the table', () => {
  const finding = { code: 'KEY_EXPOSED', text: 'x' } as const
  const { warnings } = track([], [{ ...finding, advice: 'chmod 600 /k' }, finding], 0)
  assert.deepEqual(
    warnings.map(({ advice }) => advice),
    ['chmod 600 /k', warningTable.KEY_EXPOSED.advice],
  )
})

test('a warning that went and came back is raised anew', () => {
  const finding = { code: 'TELEMETRY_DROPPED', text: 'x' } as const
  const first = track([], [finding], 1000)
  const gone = track(first.warnings, [], 2000)
  assert.deepEqual(
    gone.cleared.map(({ code }) => code),
    ['TELEMETRY_DROPPED'],
  )
  assert.equal(track(gone.warnings, [finding], 3000).warnings[0]?.sinceMs, 3000)
})
