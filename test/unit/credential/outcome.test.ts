import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { CredentialRef } from '../../../agent/credential/credential-ref.ts'
import type { Cause, Move, Setback, Verdict } from '../../../agent/credential/lifecycle.ts'
import { emptyMemory } from '../../../agent/credential/memory.ts'
import type { Attempt, FallenBack, Memory } from '../../../agent/credential/memory.ts'
import { afterMove, afterSetback } from '../../../agent/credential/outcome.ts'
import type { Ending } from '../../../agent/credential/outcome.ts'
import { DAY, gen, HOUR, MINUTE, NOW, policy, sas } from './policy-facts.ts'

const files: CredentialRef = { lane: 'x509', generation: 'files' }
const wish = { version: 7, renew: 'spring' }
const settled = { settledVersion: 7, settledTo: 'x509', settledRenew: 'spring' } as const
const fallenBack: FallenBack = {
  from: gen(1),
  cause: 'DPS_DISABLED',
  sinceMs: NOW - DAY,
  returnAtMs: NOW - HOUR,
  returnsFailed: 1,
}

const causes: Readonly<Record<Cause, Omit<Move, 'atMs'>>> = {
  twin: { to: 'x509', fresh: true, cause: 'twin', ...wish },
  command: { to: 'x509', fresh: true, cause: 'command' },
  method: { to: 'x509', fresh: true, cause: 'method' },
  fallback: { to: 'sas', candidate: sas, fresh: false, cause: 'fallback', because: 'DPS_UNAUTHORIZED' },
  return: { to: 'x509', fresh: false, cause: 'return', because: 'DPS_DISABLED' },
  rescue: { to: 'x509', candidate: gen(2), fresh: false, cause: 'rescue', because: 'DPS_UNAUTHORIZED' },
  expiry: { to: 'x509', fresh: true, cause: 'expiry' },
  renewal: { to: 'x509', fresh: true, cause: 'renewal' },
}
const all = Object.keys(causes) as readonly Cause[]

/** How a move ends: where each cause usually leads from and to. Half of chance, so that each pause has its nominal length. */
const endingOf = (cause: Cause, part: Partial<Ending> = {}): Ending => ({
  move: { ...causes[cause], atMs: NOW - HOUR },
  active: cause === 'return' ? sas : gen(1),
  candidate: cause === 'fallback' ? sas : gen(2),
  nowMs: NOW,
  policy,
  random: () => 0.5,
  ...part,
})

/** Before it: the cloud refused what is in use, an older try of the wish failed, X.509 had proved itself for a day. */
const before: Memory = {
  ...emptyMemory,
  moves: [NOW - HOUR],
  refusals: { of: gen(1), count: 3, firstAtMs: NOW - HOUR, lastAtMs: NOW, code: 'DPS_UNAUTHORIZED' },
  retry: { move: { ...causes.twin, atMs: NOW - DAY }, notBeforeMs: NOW - HOUR, failed: 1 },
  x509ProvenSinceMs: NOW - DAY,
}
const onSas: Memory = (({ x509ProvenSinceMs: _none, refusals: _either, ...others }) => ({ ...others, fallenBack }))(
  before,
)
const beforeOf = (cause: Cause) => (cause === 'return' ? onSas : before)

const attempt = (cause: Cause, result: Omit<Attempt, 'to' | 'cause' | 'atMs'>): Attempt => ({
  to: causes[cause].to,
  cause,
  ...(cause === 'twin' && { version: 7 }),
  ...result,
  atMs: NOW,
})

/** What is there after a success beside what every success leaves. */
const successes: Readonly<Record<Cause, Partial<Memory>>> = {
  twin: { ...settled, x509ProvenSinceMs: NOW - DAY },
  command: { x509ProvenSinceMs: NOW - DAY },
  method: { x509ProvenSinceMs: NOW - DAY },
  fallback: {
    fallenBack: {
      ...{ from: gen(1), cause: 'DPS_UNAUTHORIZED', sinceMs: NOW, returnAtMs: NOW + 4 * HOUR, returnsFailed: 0 },
    },
  },
  return: {},
  rescue: { x509ProvenSinceMs: NOW - DAY },
  expiry: { x509ProvenSinceMs: NOW - DAY },
  renewal: { x509ProvenSinceMs: NOW - DAY },
}

for (const cause of all) {
  test(`a move by ${cause} that reached its aim leaves just what belongs to it`, () => {
    const history = [attempt(cause, { result: 'active' })]
    const expected = { ...emptyMemory, moves: [NOW - HOUR], history, ...successes[cause] }
    const { retry: _ofAWish, ...withoutRetry } = beforeOf(cause)
    const isOwn = cause === 'fallback' || cause === 'return' || cause === 'rescue'
    assert.deepEqual(afterMove(isOwn ? withoutRetry : beforeOf(cause), endingOf(cause)), expected)
  })
}

test('the time of X.509 is one without a break: a move from SAS leaves none', () => {
  assert.equal(afterMove(before, endingOf('twin', { active: sas })).x509ProvenSinceMs, undefined)
})

test('a credential that was only registered again ends neither a fallback nor the time of X.509', () => {
  const again: Move = { to: 'sas', candidate: sas, fresh: false, cause: 'command', atMs: NOW }
  const after = afterMove(onSas, endingOf('command', { move: again, active: sas, candidate: sas }))
  const history: readonly Attempt[] = [{ to: 'sas', cause: 'command', result: 'active', atMs: NOW }]
  const { retry: _over, ...others } = onSas
  assert.deepEqual(after, { ...others, history })
  const onX509 = afterMove(before, endingOf('command', { candidate: gen(1) }))
  assert.deepEqual([onX509.x509ProvenSinceMs, onX509.refusals], [NOW - DAY, undefined])
})

test('SAS by a wish is no fallback, ends one, and ends the time of X.509', () => {
  const toSas: Move = { to: 'sas', fresh: false, cause: 'twin', version: 8, atMs: NOW }
  const after = afterMove({ ...before, fallenBack }, endingOf('twin', { move: toSas, candidate: sas }))
  assert.deepEqual([after.fallenBack, after.x509ProvenSinceMs], [undefined, undefined])
  assert.deepEqual([after.settledVersion, after.settledTo], [8, 'sas'])
})

test('X.509 by whatever cause ends a fallback', () => {
  for (const cause of all.filter((each) => causes[each].to === 'x509'))
    assert.equal(afterMove({ ...before, fallenBack }, endingOf(cause, { active: sas })).fallenBack, undefined, cause)
})

const departures: readonly (readonly [from: CredentialRef, to: CredentialRef, isLeft: true | undefined])[] = [
  [files, gen(1), true],
  [files, files, undefined],
  [gen(1), gen(2), undefined],
  [gen(1), files, undefined],
  [sas, gen(1), undefined],
]

for (const [active, candidate, isLeft] of departures) {
  const [from, to] = [active, candidate].map((ref) => (ref.lane === 'sas' ? 'SAS' : ref.generation))
  test(`a move from ${from} to ${to} is ${isLeft ? 'remembered as one' : 'none'} that has left the pair of files`, () => {
    assert.equal(afterMove(before, endingOf('twin', { active, candidate })).leftFiles, isLeft)
  })
}

const besidePair = (candidate: CredentialRef) =>
  afterMove(emptyMemory, { ...endingOf('twin', { active: sas, candidate }), hasPair: true }).leftFiles

test('a move from SAS to the vault passes over a pair that is configured, and one back to the pair does not', () => {
  assert.equal(besidePair(gen(1)), true)
  assert.equal(besidePair(files), undefined)
  assert.equal(besidePair(sas), undefined)
})

test('that the pair of files was left is not forgotten by a later move', () => {
  assert.equal(afterMove({ ...before, leftFiles: true }, endingOf('twin')).leftFiles, true)
})

const verdicts: Readonly<Record<Setback, Verdict>> = {
  refused: { result: 'refused', code: 'HUB_REFUSED_CREDENTIAL', reason: 'CONNACK 5' },
  rejected: { result: 'rejected', code: 'CHAIN_BROKEN', reason: 'a link is missing' },
  rolledBack: { result: 'rolledBack', code: 'AUTH_PROOF_LATE', reason: 'it did not prove itself in time' },
  unreachable: { result: 'unreachable', code: 'DPS_NO_ANSWER', reason: 'nothing came' },
}
const results = Object.keys(verdicts) as readonly Setback[]

/** Three quarters of the ceiling, since half of chance lies in the middle of its upper half. */
const firstPauseMs = 0.75 * 15 * MINUTE
const secondPauseMs = 0.75 * 30 * MINUTE
const retryOf = (cause: Cause, failed: 1 | 2): Partial<Memory> => ({
  retry: {
    ...{ move: endingOf(cause).move, failed },
    notBeforeMs: NOW + (failed === 1 ? firstPauseMs : secondPauseMs),
  },
})
const over = { retry: undefined }
const marked = { refusedGenerations: ['gen-0002'] }
const unchanged = {}
/** Those of its own have schedules of their own. */
const returnLater = { fallenBack: { ...fallenBack, returnAtMs: NOW + 16 * HOUR, returnsFailed: 2 } }

const renewLater = { renewal: { of: gen(1), failed: 1, lastAtMs: NOW } }

/** What changes with a setback, beside the history. */
const setbacks: Readonly<Record<Cause, Readonly<Record<Setback, Partial<Record<keyof Memory, unknown>>>>>> = {
  twin: {
    refused: { ...settled, ...over, ...marked },
    rejected: { ...settled, ...over },
    rolledBack: retryOf('twin', 2),
    unreachable: retryOf('twin', 2),
  },
  command: {
    refused: { ...over, ...marked },
    rejected: over,
    rolledBack: retryOf('command', 1),
    unreachable: retryOf('command', 1),
  },
  method: {
    refused: { ...over, ...marked },
    rejected: over,
    rolledBack: retryOf('method', 1),
    unreachable: retryOf('method', 1),
  },
  fallback: { refused: unchanged, rejected: unchanged, rolledBack: unchanged, unreachable: unchanged },
  return: { refused: returnLater, rejected: returnLater, rolledBack: returnLater, unreachable: returnLater },
  rescue: { refused: unchanged, rejected: unchanged, rolledBack: unchanged, unreachable: unchanged },
  // A certificate that has expired stays so: another is asked for, whatever came of this one.
  expiry: {
    refused: { ...retryOf('expiry', 1), ...marked },
    rejected: retryOf('expiry', 1),
    rolledBack: retryOf('expiry', 1),
    unreachable: retryOf('expiry', 1),
  },
  renewal: {
    refused: { ...renewLater, ...marked },
    rejected: renewLater,
    rolledBack: renewLater,
    unreachable: renewLater,
  },
}

for (const cause of all)
  for (const result of results)
    test(`a move by ${cause} that was ${result} leaves just what belongs to it`, () => {
      const history = [attempt(cause, verdicts[result])]
      const expected: Record<string, unknown> = { ...beforeOf(cause), history, ...setbacks[cause][result] }
      if (expected['retry'] === undefined) delete expected['retry']
      assert.deepEqual(afterSetback(beforeOf(cause), verdicts[result], endingOf(cause)), expected)
    })

const marks = (ending: Ending) => afterSetback(before, verdicts.refused, ending).refusedGenerations

test('a certificate that is not new is never marked as refused, nor is SAS', () => {
  const known: Move = { to: 'x509', fresh: false, cause: 'twin', version: 8, atMs: NOW }
  assert.deepEqual(marks(endingOf('twin', { move: known })), [])
  assert.deepEqual(marks(endingOf('fallback')), [])
})

test('the 32 newest marks are kept', () => {
  const names = Array.from({ length: 32 }, (_, index) => `gen-${String(index + 101).padStart(4, '0')}`)
  const after = afterSetback({ ...before, refusedGenerations: names }, verdicts.refused, endingOf('twin'))
  assert.deepEqual(after.refusedGenerations, [...names.slice(1), 'gen-0002'])
})

test('a rollback leaves the time of X.509 and the count of refusals as they are', () => {
  const { refusals, x509ProvenSinceMs } = afterSetback(before, verdicts.unreachable, endingOf('twin'))
  assert.deepEqual([refusals, x509ProvenSinceMs], [before.refusals, NOW - DAY])
})

test('a return without a fallback to return from leaves only its history', () => {
  const history = [attempt('return', verdicts.refused)]
  assert.deepEqual(afterSetback(before, verdicts.refused, endingOf('return')), { ...before, history })
})
