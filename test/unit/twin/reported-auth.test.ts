import assert from 'node:assert/strict'
import { test } from 'node:test'
import { viewAuth } from '../../../agent/credential/auth-view.ts'
import type { AuthFacts } from '../../../agent/credential/auth-view.ts'
import { readDesired } from '../../../agent/twin/desired.ts'
import { difference } from '../../../agent/twin/difference.ts'
import type { JsonObject } from '../../../agent/twin/json.ts'
import { reportedAuth } from '../../../agent/twin/reported-auth.ts'
import type { AuthReportFacts } from '../../../agent/twin/reported-auth.ts'
import { authFacts, authNowMs, onSas, onX509, refusedAttempt, wishedMove } from '../../kit/auth-facts.ts'

/** What the twin wishes, read a minute ago. */
function desired(auth: object, readAtMs = authNowMs - 60_000): NonNullable<AuthReportFacts['desired']> {
  const read = readDesired({ auth, $version: 7 })
  assert.ok(read.ok)
  return { ...read.value, readAtMs }
}

function report(facts: AuthFacts, wishes?: AuthReportFacts['desired']): JsonObject {
  return reportedAuth({ view: viewAuth(facts), desired: wishes })
}

const refused = {
  ...{ to: 'x509', cause: 'twin', version: 7, result: 'refused', code: 'DPS_UNAUTHORIZED' },
  reason: 'DPS answered 401: CA certificate not found',
  at: '2026-11-23T11:55:00.000Z',
}

test('a move under way is reported with its step, who wants it, and what was requested', () => {
  const lifecycle = { phase: 'proving', active: onSas, candidate: onX509, move: wishedMove } as const
  const { mode, state, requested, move } = report(authFacts(lifecycle), desired({ mode: 'x509' }))
  assert.deepEqual([mode, state], ['sas', 'proving'])
  assert.deepEqual(requested, { mode: 'x509', version: 7 })
  assert.deepEqual(move, {
    ...{ to: 'x509', cause: 'twin', version: 7, candidate: 'gen-0002', since: '2026-11-23T11:59:50.000Z' },
  })
})

test('a certificate that is awaited is reported with the time since when', () => {
  const lifecycle = { phase: 'preparing', active: onSas, move: wishedMove } as const
  const { state, awaitingSince } = report(authFacts(lifecycle, {}, { awaitingSinceMs: authNowMs }))
  assert.deepEqual([state, awaitingSince], ['awaitingCertificate', '2026-11-23T12:00:00.000Z'])
})

test('the last attempt and the history have version, result, code, reason and time', () => {
  const done = { to: 'sas', cause: 'command', result: 'active', atMs: authNowMs - 600_000 } as const
  const { lastAttempt, history } = report(authFacts(undefined, { history: [done, refusedAttempt] }))
  assert.deepEqual(lastAttempt, refused)
  assert.deepEqual(history, [
    { to: 'sas', cause: 'command', result: 'active', at: '2026-11-23T11:50:00.000Z' },
    refused,
  ])
})

test('the history is replaced as a whole, and what is over is taken out of the twin', () => {
  const before = report(
    authFacts({ phase: 'preparing', active: onSas, move: wishedMove }, { history: [refusedAttempt] }),
    desired({ mode: 'x509' }),
  )
  const after = report(authFacts(undefined, { history: [refusedAttempt, refusedAttempt] }), desired({}))
  assert.deepEqual(difference(before, after), {
    state: 'active',
    move: null,
    requested: null,
    history: [refused, refused],
  })
})

test('a wish that waits says why and until when', () => {
  const untilMs = authNowMs + 3_600_000
  const waiting = { code: 'AUTH_MOVES_SPENT', reason: '12 moves in 24 hours are the limit', untilMs } as const
  assert.deepEqual(report(authFacts(undefined, {}, { waiting }))['waiting'], {
    code: 'AUTH_MOVES_SPENT',
    reason: '12 moves in 24 hours are the limit',
    until: '2026-11-23T13:00:00.000Z',
  })
})

test('a fallback is reported with its cause, its start and the next return', () => {
  const fallenBack = {
    from: onX509,
    cause: 'HUB_REFUSED_CREDENTIAL',
    returnsFailed: 0,
    sinceMs: authNowMs - 60_000,
    returnAtMs: authNowMs + 60_000,
  } as const
  assert.deepEqual(report(authFacts(undefined, { fallenBack, fallbacks: [authNowMs - 60_000] }))['fallback'], {
    ...{ enabled: true, until: '2027-01-31T00:00:00.000Z', active: true, leftToday: 1 },
    cause: 'HUB_REFUSED_CREDENTIAL',
    since: '2026-11-23T11:59:00.000Z',
    returnAt: '2026-11-23T12:01:00.000Z',
  })
})

test('retired is said when the secret is destroyed, and copies that are left are named', () => {
  const atMs = authNowMs
  const steady = { phase: 'steady', active: onX509 } as const
  const sasOf = (done: boolean, left: readonly string[]) =>
    report(authFacts(steady, { retirement: { atMs, done, left } }, { sasSecret: undefined }))['sas']
  const retiredAt = '2026-11-23T12:00:00.000Z'
  assert.deepEqual(sasOf(false, []), { available: false, retired: false, retiredAt })
  assert.deepEqual(sasOf(true, ['/etc/k is not ours']), {
    ...{ available: false, retired: true, retiredAt, left: ['/etc/k is not ours'] },
  })
})

test('the head of the audit trail is in the cloud as well', () => {
  const audit = { seq: 12, head: 'ab'.repeat(32), intact: true }
  assert.deepEqual(report(authFacts(undefined, {}, { audit }))['audit'], { seq: 12, head: 'ab'.repeat(32) })
})

test('a mode that cannot be understood is the last attempt, rejected, under its version', () => {
  const { lastAttempt, refused: keys, requested } = report(authFacts(), desired({ mode: 'X509' }))
  const reason = 'must be one of x509, sas, is "X509"'
  assert.deepEqual(lastAttempt, {
    ...{ version: 7, result: 'rejected', code: 'AUTH_WISH_INVALID', reason: `auth.mode ${reason}` },
    at: '2026-11-23T11:59:00.000Z',
  })
  assert.deepEqual(keys, [{ key: 'auth.mode', version: 7, reason }])
  assert.equal(requested, undefined)
})

test('of a wish that cannot be understood and a move, the later one is the last attempt', () => {
  const facts = authFacts(undefined, { history: [refusedAttempt] })
  const resultWhenReadAt = (readAtMs: number) =>
    (report(facts, desired({ mode: 'X509' }, readAtMs))['lastAttempt'] as JsonObject)['result']
  assert.equal(resultWhenReadAt(refusedAttempt.atMs + 1), 'rejected')
  assert.equal(resultWhenReadAt(refusedAttempt.atMs - 1), 'refused')
})

test('another bad key is refused by name, and is no attempt to move', () => {
  const { lastAttempt, refused: keys } = report(authFacts(), desired({ sasRetired: 'yes', mod: 'x509' }))
  assert.equal(lastAttempt, undefined)
  assert.deepEqual(
    (keys as readonly JsonObject[]).map(({ key }) => key),
    ['auth.mod', 'auth.sasRetired'],
  )
})
