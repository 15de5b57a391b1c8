import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Move } from '../../../agent/credential/lifecycle.ts'
import {
  emptyMemory,
  lastDay,
  MAX_HISTORY,
  withAttempt,
  withMove,
  withSettled,
} from '../../../agent/credential/memory.ts'
import type { Memory } from '../../../agent/credential/memory.ts'
import { DAY, HOUR, MINUTE, NOW } from './policy-facts.ts'

const move: Move = { to: 'x509', fresh: true, cause: 'twin', version: 7, renew: 'spring', atMs: NOW - HOUR }
const command: Move = { to: 'sas', fresh: false, cause: 'command', atMs: NOW - HOUR }
const fallback: Move = { to: 'sas', fresh: false, cause: 'fallback', because: 'DPS_DISABLED', atMs: NOW }
const before: Memory = {
  ...emptyMemory,
  moves: [NOW - 25 * HOUR, NOW - HOUR],
  fallbacks: [NOW - 25 * HOUR, NOW - HOUR],
  x509ProvenSinceMs: NOW - DAY,
}

test('a move counts when its registration begins, and what is older than a day is forgotten', () => {
  assert.deepEqual(withMove(before, move, NOW), { ...before, moves: [NOW - HOUR, NOW] })
})

test('a fallback counts as a move and as a fallback', () => {
  const expected = { ...before, moves: [NOW - HOUR, NOW], fallbacks: [NOW - HOUR, NOW] }
  assert.deepEqual(withMove(before, fallback, NOW), expected)
})

const days: readonly (readonly [sentence: string, instants: readonly number[], expected: readonly number[]])[] = [
  ['nothing is of the last day where nothing was', [], []],
  ['an instant of just now is of the last day', [NOW], [NOW]],
  ['an instant a millisecond short of a day is of the last day', [NOW - DAY + 1], [NOW - DAY + 1]],
  ['an instant that is a day old is over', [NOW - DAY], []],
  ['an instant that lies ahead counts as of now', [NOW + 9 * DAY, NOW - MINUTE], [NOW, NOW - MINUTE]],
]

for (const [sentence, instants, expected] of days) {
  test(sentence, () => {
    assert.deepEqual(lastDay(instants, NOW), expected)
  })
}

test('an attempt that reached its aim is told as active, with the version that asked for it', () => {
  assert.deepEqual(withAttempt(before, move, undefined, NOW), {
    ...before,
    history: [{ to: 'x509', cause: 'twin', version: 7, result: 'active', atMs: NOW }],
  })
})

test('an attempt that failed is told in the words of its verdict, without a version where nobody gave one', () => {
  const verdict = { result: 'refused', code: 'DPS_UNAUTHORIZED', reason: 'DPS says 401' } as const
  const expected = { to: 'sas', cause: 'command', ...verdict, atMs: NOW }
  assert.deepEqual(withAttempt(before, command, verdict, NOW).history, [expected])
})

test('the history keeps the eight newest attempts, the newest last', () => {
  let memory: Memory = emptyMemory
  for (let at = 1; at <= 11; at += 1) memory = withAttempt(memory, move, undefined, at)
  assert.equal(MAX_HISTORY, 8)
  assert.deepEqual(
    memory.history.map(({ atMs }) => atMs),
    [4, 5, 6, 7, 8, 9, 10, 11],
  )
})

const retrying: Memory = { ...before, retry: { move, notBeforeMs: NOW + HOUR, failed: 2 } }
const settledBefore: Memory = { ...retrying, settledVersion: 3, settledTo: 'sas', settledRenew: 'winter' }

test('a settled wish is remembered by its version, its lane and its renewal, and has no retry any more', () => {
  const settled = { settledVersion: 7, settledTo: 'x509', settledRenew: 'spring' }
  assert.deepEqual(withSettled(retrying, move), { ...before, ...settled })
  assert.deepEqual(withSettled(settledBefore, move), { ...before, ...settled })
})

test('a wish without a version or a renewal leaves those that were settled before', () => {
  const { retry: _over, ...expected } = settledBefore
  assert.deepEqual(withSettled(settledBefore, command), expected)
  const { renew: _none, ...plain } = move
  assert.deepEqual(withSettled(settledBefore, plain), { ...expected, settledVersion: 7, settledTo: 'x509' })
})

test('what was remembered is never changed in place', () => {
  const frozen = structuredClone(settledBefore)
  withMove(settledBefore, fallback, NOW)
  withAttempt(settledBefore, move, undefined, NOW)
  withSettled(settledBefore, move)
  assert.deepEqual(settledBefore, frozen)
  assert.deepEqual(emptyMemory, { history: [], moves: [], fallbacks: [], refusedGenerations: [] })
})
