import assert from 'node:assert/strict'
import { test } from 'node:test'
import { exitCodes } from '../../../agent/commands/exit-codes.ts'
import { formatStatus, MAX_LINES } from '../../../agent/control/status-text.ts'
import { isStatus } from '../../../agent/control/status.ts'
import type { Status } from '../../../agent/control/status.ts'
import { judge } from '../../../agent/control/verdict.ts'
import { viewAuth } from '../../../agent/credential/auth-view.ts'
import type { Lifecycle } from '../../../agent/credential/lifecycle.ts'
import { Failure } from '../../../agent/failure.ts'
import { track } from '../../../agent/health/tracker.ts'
import { authFacts, authNowMs, onSas, onX509, refusedAttempt, wishedMove } from '../../kit/auth-facts.ts'

/** The status of a connected device with these credentials. */
function statusOf(...facts: Parameters<typeof authFacts>): Status {
  return {
    format: 1,
    atMs: authNowMs,
    agent: { version: '0.1.0', pid: 1, startedAtMs: 0 },
    device: { registrationId: 'press-07', idScope: '0ne', deviceId: 'press-07', assignedHub: 'hub.example' },
    connection: { state: 'connected', sinceMs: 0 },
    auth: viewAuth(authFacts(...facts)),
    clock: { trust: 'trusted', skewSeconds: 2 },
    telemetry: { intervalSeconds: 60, acknowledged: 1, buffered: 0, bufferedBytes: 0, dropped: {} },
    warnings: [],
  }
}

const both = { active: onSas, candidate: onX509, move: wishedMove }
const verdict = { result: 'refused', code: 'DPS_UNAUTHORIZED', reason: 'DPS answered 401' } as const
const fallenBack = {
  from: onX509,
  cause: 'DPS_DISABLED' as const,
  sinceMs: authNowMs - 3_600_000,
  returnAtMs: authNowMs + 720_000,
  returnsFailed: 0,
}

const sentences: readonly (readonly [status: Status, exitCode: number, because: RegExp])[] = [
  [statusOf(), 0, /^connected by SAS, and everything is as wanted$/],
  [statusOf({ phase: 'steady', active: onX509 }), 0, /^connected by X\.509, and everything/],
  [
    statusOf({ phase: 'preparing', active: onSas, move: wishedMove }),
    0,
    /^connected by SAS, moving to X\.509 for the device twin, version 7: getting ready since 10 s$/,
  ],
  [
    statusOf({ phase: 'registering', ...both }),
    3,
    /^moving to X\.509 \(gen-0002\) for the device twin, version 7: registering it at DPS since 10 s$/,
  ],
  [statusOf({ phase: 'proving', ...both }), 3, /proving it at the hub since 10 s$/],
  [
    statusOf({ phase: 'rollingBack', ...both, verdict }),
    3,
    /^going back to SAS, because X\.509 \(gen-0002\) for the device twin, version 7 did not work: DPS_UNAUTHORIZED, DPS answered 401$/,
  ],
  [
    statusOf(undefined, { fallenBack }),
    3,
    /^fallen back to SAS 1 h ago because of DPS_DISABLED; X\.509 is tried again in 12 min$/,
  ],
  [
    statusOf(
      {
        ...{ phase: 'preparing', active: onSas },
        move: { to: 'x509', fresh: false, cause: 'return', atMs: authNowMs },
      },
      { fallenBack },
    ),
    3,
    /^moving to X\.509 for the return from a fallback/,
  ],
]

for (const [status, exitCode, because] of sentences) {
  test(`the verdict says ${because.source}, and exits ${exitCode}`, () => {
    const judged = judge(status)
    assert.equal(judged.exitCode, exitCode)
    assert.match(judged.because, because)
    assert.match(formatStatus(status)[0] ?? '', /^Safe {8}\S/)
  })
}

const away: Status['connection'] = {
  state: 'disconnected',
  sinceMs: authNowMs - 5000,
  doing: 'connecting',
  failure: { code: 'NETWORK_DNS', message: 'no such name', advice: 'getent' },
}

test('a device that is away because it moves says that it moves; one that only prepares says why it is away', () => {
  const moving = judge({ ...statusOf({ phase: 'registering', ...both }), connection: away })
  assert.deepEqual([moving.exitCode, moving.because.startsWith('moving to X.509')], [1, true])
  const preparing = { ...statusOf({ phase: 'preparing', active: onSas, move: wishedMove }), connection: away }
  assert.equal(judge(preparing).because, 'no such name')
  assert.match(formatStatus(preparing).join('\n'), /^Move +moving to X\.509 for the device twin/m)
})

test('what is wrong counts before a move that is only prepared', () => {
  const { warnings } = track([], [{ code: 'KEY_EXPOSED', text: 'the key is open' }], authNowMs)
  const status = { ...statusOf({ phase: 'preparing', active: onSas, move: wishedMove }), warnings }
  assert.deepEqual([judge(status).exitCode, judge(status).because], [3, 'the key is open'])
})

test('the exit codes of the verdict are those of the commands', () => {
  assert.deepEqual(
    [exitCodes.fine, exitCodes.failed, exitCodes.notAsWanted, exitCodes.needsAttentionSoon],
    [0, 1, 3, 4],
  )
})

const done = { to: 'sas', cause: 'command', result: 'active', atMs: authNowMs - 7_200_000 } as const

const rows: readonly (readonly [what: string, status: Status, line: RegExp])[] = [
  ['the lane without DPS', statusOf(undefined, {}, direct()), /^Auth +sas on lane sasDirect, active$/m],
  [
    'the last move with its result and reason',
    statusOf(undefined, { history: [done, refusedAttempt] }),
    /^Last move +to X\.509 for the device twin, version 7: refused 5 min ago, DPS_UNAUTHORIZED: DPS answered 401: CA certificate not found$/m,
  ],
  [
    'the moves before',
    statusOf(undefined, { history: [done, refusedAttempt] }),
    /^Before +to SAS for a command: done 2 h ago$/m,
  ],
  [
    'why a wish waits',
    statusOf(undefined, {}, waits()),
    /^Waiting +AUTH_MOVES_SPENT: 12 are the limit; again in 1 h$/m,
  ],
  ['where the SAS secret is', statusOf(), /^SAS +secret available \(\/etc\/iot-device-agent\/secrets\/sas\.key\)$/m],
  ['that there is none', statusOf(undefined, {}, { sas: 'absent', sasSecret: undefined }), /^SAS +no secret$/m],
  [
    'why it cannot be used',
    statusOf(undefined, {}, { sas: new Failure('SAS_GROUP_KEY', 'no') }),
    /^SAS +cannot be used \(.*sas\.key\): SAS_GROUP_KEY$/m,
  ],
  [
    'since when SAS is retired, and what is left of it',
    statusOf({ phase: 'steady', active: onX509 }, retired(['/etc/k is not ours'])),
    /^SAS +retired since 2026-11-22T12:00:00Z; left: \/etc\/k is not ours$/m,
  ],
  ['what a fallback may do', statusOf(), /^Fallbacks +allowed until 2027-01-31T00:00:00Z, 2 left today$/m],
  ['the clock', statusOf(), /^Clock +trusted, 2 s ahead of the servers$/m],
  [
    'the audit trail',
    statusOf(undefined, {}, { audit: { seq: 12, head: '0123456789abcdef'.repeat(4), intact: true } }),
    /^Audit +12 entries, head 0123456789abcdef, intact$/m,
  ],
  [
    'an audit trail that was changed',
    statusOf(undefined, {}, { audit: { seq: 12, head: 'ab', intact: false } }),
    /^Audit .*TAMPERED WITH$/m,
  ],
]

function direct() {
  return { sasSecret: { from: 'credential:connection-string', direct: true } }
}

function waits() {
  const untilMs = authNowMs + 3_600_000
  return { waiting: { code: 'AUTH_MOVES_SPENT', reason: '12 are the limit', untilMs } } as const
}

function retired(left: readonly string[]) {
  return { retirement: { atMs: authNowMs - 86_400_000, done: true, left } }
}

for (const [what, status, line] of rows) {
  test(`the text shows ${what}`, () => assert.match(formatStatus(status).join('\n'), line))
}

test('a device with all that can be said is shown in 20 lines, the gravest warnings among them', () => {
  const lifecycle: Lifecycle = { phase: 'rollingBack', ...both, verdict }
  const history = Array.from({ length: 8 }, () => refusedAttempt)
  const full = statusOf(lifecycle, { history, fallenBack }, { audit: { seq: 1, head: 'ab', intact: true } })
  const codes = ['ROLLING_BACK', 'FALLEN_BACK_TO_SAS', 'CLOCK_WRONG', 'KEY_EXPOSED'] as const
  const { warnings } = track(
    [],
    codes.map((code) => ({ code, text: 'why' })),
    authNowMs,
  )
  const lines = formatStatus({ ...full, connection: away, warnings })
  assert.ok(lines.length <= MAX_LINES, `${lines.length} lines`)
  assert.equal(lines.filter((line) => line.startsWith('Warning')).length, 2)
  assert.match(lines.at(-1) ?? '', /and 2 more/)
  assert.ok(lines.some((line) => line.startsWith('Last move')))
})

test('a reason without end is cut, and nothing in it steers the terminal', () => {
  const history = [{ ...refusedAttempt, reason: `\u001b[2J${'x'.repeat(1000)}` }]
  const shown = formatStatus(statusOf(undefined, { history })).join('\n')
  assert.equal(shown.includes('\u001b'), false)
  assert.ok(shown.split('\n').every((line) => line.length < 320))
})

test('an agent of an earlier version, which tells mode, lane and state only, is understood', () => {
  const { clock: _, ...without } = statusOf()
  const status = { ...without, auth: { mode: 'x509', lane: 'x509', state: 'active' } } as const
  assert.ok(isStatus(status))
  assert.match(formatStatus(status).join('\n'), /^Safe +yes: connected by X\.509/)
})
