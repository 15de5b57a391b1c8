import assert from 'node:assert/strict'
import { test } from 'node:test'
import { asOfNow } from '../../../agent/credential/as-of-now.ts'
import { judgeMove } from '../../../agent/credential/judge-wish.ts'
import { emptyMemory } from '../../../agent/credential/memory.ts'
import type { Memory } from '../../../agent/credential/memory.ts'
import { DAY, gen, HOUR, NOW, onSas, sas } from './policy-facts.ts'

const YEARS = 3650 * DAY
const ahead: Memory = {
  ...emptyMemory,
  moves: [NOW - HOUR, NOW + YEARS, NOW + YEARS],
  fallbacks: [NOW + YEARS],
  refusals: { of: gen(1), count: 2, firstAtMs: NOW - HOUR, lastAtMs: NOW + YEARS, code: 'DPS_UNAUTHORIZED' },
  lastRegistration: { of: sas, atMs: NOW + YEARS },
  x509ProvenSinceMs: NOW + YEARS,
}

test('what a clock that was ahead has stamped counts as of now, once the clock is trusted', () => {
  assert.deepEqual(asOfNow(ahead, 'trusted', NOW), {
    ...emptyMemory,
    moves: [NOW - HOUR, NOW, NOW],
    fallbacks: [NOW],
    refusals: { of: gen(1), count: 2, firstAtMs: NOW - HOUR, lastAtMs: NOW, code: 'DPS_UNAUTHORIZED' },
    lastRegistration: { of: sas, atMs: NOW },
    x509ProvenSinceMs: NOW,
  })
})

test('a budget that such a clock has spent is free within a day, and not after years', () => {
  const memory = asOfNow(ahead, 'trusted', NOW)
  const wanted = { to: 'x509', fresh: false, cause: 'twin' } as const
  assert.equal(judgeMove(wanted, { ...onSas, memory, nowMs: NOW + 23 * HOUR - 1 }).verdict, 'wait')
  assert.equal(judgeMove(wanted, { ...onSas, memory, nowMs: NOW + 23 * HOUR }).verdict, 'go')
})

test('a clock that is not trusted rewrites nothing: it may be the one that is wrong', () => {
  assert.equal(asOfNow(ahead, 'plausible', NOW), ahead)
  assert.equal(asOfNow(ahead, 'wrong', NOW), ahead)
})

test('a memory in which nothing lies ahead is the same object, so that nothing is saved', () => {
  const memory = asOfNow(ahead, 'trusted', NOW)
  assert.equal(asOfNow(memory, 'trusted', NOW), memory)
  assert.equal(asOfNow(emptyMemory, 'trusted', NOW), emptyMemory)
})

test('each stamp that lies ahead is noticed by itself', () => {
  const stamps: readonly Partial<Memory>[] = [
    { moves: [NOW + 1] },
    { fallbacks: [NOW + 1] },
    { lastRegistration: { of: sas, atMs: NOW + 1 } },
    { x509ProvenSinceMs: NOW + 1 },
    { refusals: { of: sas, count: 1, firstAtMs: NOW + 1, lastAtMs: NOW + 1, code: 'DPS_DISABLED' } },
  ]
  for (const stamp of stamps) {
    const memory = { ...emptyMemory, ...stamp }
    assert.notEqual(asOfNow(memory, 'trusted', NOW), memory)
  }
})
