import assert from 'node:assert/strict'
import { test } from 'node:test'
import { formatStatus, MAX_LINES } from '../../../agent/control/status-text.ts'
import { isStatus } from '../../../agent/control/status.ts'
import type { CertificateStatus, Status } from '../../../agent/control/status.ts'
import { duration } from '../../../agent/control/time-text.ts'
import { daysLeft, judge } from '../../../agent/control/verdict.ts'
import { track } from '../../../agent/health/tracker.ts'
import type { Warning } from '../../../agent/health/tracker.ts'
import type { WarningCode } from '../../../agent/health/warning-table.ts'

const atMs = Date.UTC(2026, 0, 5, 12, 0, 0)

const certificate: CertificateStatus = {
  subject: 'CN=press-07',
  issuer: 'CN=Factory Intermediate',
  serial: '0A1B',
  thumbprintSha1: 'CD'.repeat(20),
  thumbprintSha256: 'AB'.repeat(32),
  notBefore: '2026-01-01T00:00:00.000Z',
  notAfter: '2026-04-05T12:00:00.000Z',
  issuedBy: 'folder',
}

const good: Status = {
  format: 1,
  atMs,
  agent: { version: '0.1.0', pid: 4711, startedAtMs: atMs - 7_380_000 },
  device: {
    registrationId: 'press-07',
    idScope: '0ne00ABCDEF',
    deviceId: 'press-07',
    assignedHub: 'contoso.azure-devices.net',
  },
  connection: { state: 'connected', sinceMs: atMs - 7_200_000 },
  auth: {
    mode: 'x509',
    lane: 'x509',
    state: 'active',
    certificate,
    key: { path: '/var/lib/iot-device-agent/credentials/gen-0001/key.pem', mode: '0600', kind: 'ec-p256' },
  },
  telemetry: {
    intervalSeconds: 60,
    acknowledged: 120,
    lastAcknowledgedAtMs: atMs - 12_000,
    buffered: 0,
    bufferedBytes: 0,
    dropped: { full: 0, expired: 0, refused: 0, torn: 0 },
  },
  warnings: [],
}

function warningsOf(...codes: readonly WarningCode[]): readonly Warning[] {
  return track(
    [],
    codes.map((code) => ({ code, text: `text of ${code}` })),
    atMs,
  ).warnings
}

const away: Status['connection'] = {
  state: 'disconnected',
  sinceMs: atMs - 65_000,
  doing: 'waiting',
  retryAtMs: atMs + 4000,
  failure: { code: 'NETWORK_DNS', message: 'global.example: ENOTFOUND', advice: 'getent hosts global.example' },
}

const verdicts: readonly (readonly [what: string, change: Partial<Status>, safe: string, exitCode: number])[] = [
  ['all is well', {}, 'yes', 0],
  ['a note asks for nothing', { warnings: warningsOf('LEGACY_KEY_PAIR') }, 'yes', 0],
  ['something will need attention', { warnings: warningsOf('CERTIFICATE_EXPIRES_SOON') }, 'soon not', 4],
  [
    'what is wrong now counts before what will be',
    { warnings: warningsOf('TELEMETRY_DROPPED', 'KEY_EXPOSED') },
    'not as wanted',
    3,
  ],
  ['no connection counts before all', { connection: away, warnings: warningsOf('KEY_EXPOSED') }, 'no', 1],
]

for (const [what, change, safe, exitCode] of verdicts) {
  test(`verdict: ${what}`, () => {
    const verdict = judge({ ...good, ...change })
    assert.deepEqual([verdict.safe, verdict.exitCode], [safe, exitCode])
  })
}

test('one look shows connection, hub, IDs, lane, both thumbprints, dates, key and its mode, and telemetry', () => {
  const shown = formatStatus(good).join('\n')
  for (const fact of [
    /^Safe +yes: /,
    /contoso\.azure-devices\.net, connected for 2 h, since 2026-01-05T10:00:00Z/,
    /press-07 \(registration ID and device ID\)/,
    /x509 on lane x509, active/,
    new RegExp(`SHA-1 +${'CD'.repeat(20)}`),
    new RegExp(`SHA-256 +${'AB'.repeat(32)}`),
    /CN=Factory Intermediate/,
    /2026-04-05T12:00:00\.000Z, 90 days left/,
    /key\.pem, mode 0600, ec-p256/,
    /120 acknowledged \(last 12 s ago\), 0 waiting, 0 dropped; every 60 s/,
  ]) {
    assert.match(shown, fact)
  }
})

test('a device that is away says for how long, what it does, why, and what to type', () => {
  const shown = formatStatus({ ...good, connection: away }).join('\n')
  assert.match(shown, /^Safe +no: global\.example: ENOTFOUND/)
  assert.match(shown, /not connected for 1 min 5 s.*waiting before the next attempt \(in 4 s\)/)
  assert.match(shown, /NETWORK_DNS: global\.example: ENOTFOUND\n +next: getent hosts global\.example/)
})

test('a device without hub, certificate and key says so', () => {
  const status: Status = {
    ...good,
    device: { registrationId: 'press-07', idScope: '0ne' },
    connection: { state: 'disconnected', sinceMs: atMs, doing: 'awaitingCertificate' },
    auth: { mode: 'x509', lane: 'x509', state: 'awaitingCertificate' },
  }
  const shown = formatStatus(status).join('\n')
  assert.match(shown, /none assigned yet, not connected for 0 s.*waiting for the certificate/)
  assert.match(shown, /Certificate +none/)
  assert.match(shown, /Key +none/)
})

test('a device that is not connected and has no failure yet says what is wrong with it', () => {
  const connection: Status['connection'] = { state: 'disconnected', sinceMs: atMs, doing: 'awaitingCertificate' }
  const shown = formatStatus({ ...good, connection, warnings: warningsOf('AWAITING_CERTIFICATE') }).join('\n')
  assert.match(shown, /^Safe +no: text of AWAITING_CERTIFICATE/)
})

test('each warning stands with its next command, and at most 20 lines are shown', () => {
  const one = formatStatus({ ...good, warnings: warningsOf('CERTIFICATE_EXPIRES_SOON') })
  const at = one.findIndex((line) => line.includes('CERTIFICATE_EXPIRES_SOON: text of'))
  assert.match(one[at + 1] ?? '', /next: \S/)

  const many = formatStatus({
    ...good,
    connection: away,
    warnings: warningsOf(
      ...(['HUB_DISCONNECTED', 'KEY_EXPOSED', 'DESIRED_REFUSED', 'CERTIFICATE_EXPIRED', 'TELEMETRY_DROPPED'] as const),
    ),
  })
  assert.ok(many.length <= MAX_LINES, `${many.length} lines`)
  assert.equal(MAX_LINES, 20)
  const shown = many.filter((line) => line.startsWith('Warning')).length
  assert.match(many.at(-1) ?? '', new RegExp(`and ${5 - shown} more: iot-device-agent status --json`))
})

/** The status of a device whose certificate is this one. */
function showCertificate(change: Partial<CertificateStatus>): string {
  return formatStatus({ ...good, auth: { ...good.auth, certificate: { ...certificate, ...change } } }).join('\n')
}

test('nothing in a name or a reason can steer the terminal', () => {
  const shown = showCertificate({ subject: 'CN=\u001b[2J\u009b31m\u202e\r\nSafe yes' })
  for (const steering of ['\u001b', '\u009b', '\u202e', '\r']) assert.equal(shown.includes(steering), false)
  assert.equal(shown.split('\n').length, formatStatus(good).length)
})

const durations: readonly (readonly [ms: number, text: string])[] = [
  [-5, '0 s'],
  [999, '0 s'],
  [59_999, '59 s'],
  [60_000, '1 min'],
  [3_599_000, '59 min 59 s'],
  [3_601_000, '1 h'],
  [90_061_000, '1 d 1 h'],
  [86_400_000 + 60_000, '1 d'],
]

for (const [ms, text] of durations) test(`${ms} ms are shown as ${text}`, () => assert.equal(duration(ms), text))

test('days are whole days that are left', () => {
  assert.equal(daysLeft('2026-01-06T12:00:00Z', atMs), 1)
  assert.equal(daysLeft('2026-01-06T11:59:59Z', atMs), 0)
  assert.equal(daysLeft('2026-01-05T11:59:59Z', atMs), -1)
})

test('a certificate on its last day, and one beyond it, are shown as such', () => {
  assert.match(showCertificate({ notAfter: '2026-01-06T11:59:59Z' }), /less than a day left/)
  assert.match(showCertificate({ notAfter: '2026-01-06T12:00:00Z' }), /1 day left/)
  assert.match(showCertificate({ notAfter: '2026-01-05T11:59:59Z' }), /EXPIRED/)
})

test('a status that went over the socket is known as one, and another form is not', () => {
  const { telemetry, ...without } = good
  assert.equal(isStatus(JSON.parse(JSON.stringify(good))), true)
  assert.equal(telemetry.buffered, 0)
  for (const bad of [
    undefined,
    null,
    [],
    'fine',
    {},
    { ...good, format: 2 },
    without,
    { ...good, connection: { state: 'connected' } },
    { ...good, warnings: {} },
    { ...good, auth: null },
  ]) {
    assert.equal(isStatus(bad), false)
  }
})
