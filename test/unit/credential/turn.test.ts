import assert from 'node:assert/strict'
import { test } from 'node:test'
import { firstTurn, isTurnOver, otherTurn } from '../../../agent/credential/turn.ts'
import type { Turn } from '../../../agent/credential/turn.ts'
import { HOUR, MINUTE } from './policy-facts.ts'

/** Monotonic time, which has nothing to do with the clock on the wall. */
const START = 5 * HOUR
const judged: Turn = { of: 'active', sinceMs: START, refusals: 0, failures: 0, mayBeCached: false }
const cached: Turn = { ...judged, mayBeCached: true }
const candidate: Turn = { ...judged, of: 'candidate' }
const refusals = (count: number) => ({ refusals: count, failures: count })

test('a rollback begins with the turn of the old credential', () => {
  assert.deepEqual(firstTurn(START, true), cached)
  assert.deepEqual(firstTurn(START, false), judged)
})

type Row = readonly [sentence: string, turn: Turn, lastedMs: number, isRefused: boolean, isOver: boolean]

const rows: readonly Row[] = [
  // The cloud judges.
  ['a first refusal may be an answer to what was on its way', { ...judged, ...refusals(1) }, MINUTE, true, false],
  ['a second refusal may be the last of it', { ...judged, ...refusals(2) }, MINUTE, true, false],
  ['a third refusal ends the turn', { ...judged, ...refusals(3) }, MINUTE, true, true],
  ['a third refusal ends the turn of the candidate', { ...candidate, ...refusals(3) }, 1, true, true],
  ['without a refusal at this moment refusals end no turn', { ...judged, ...refusals(9) }, MINUTE, false, false],

  // DPS may remember the candidate.
  ['refusals say nothing while DPS may remember the other', { ...cached, ...refusals(9) }, MINUTE, true, false],
  ['nor do they just before 36 minutes', { ...cached, ...refusals(9) }, 36 * MINUTE - 1, true, false],
  ['after 36 minutes they say enough', { ...cached, ...refusals(1) }, 36 * MINUTE, true, true],
  ['after 36 minutes of silence nothing was said', { ...cached, failures: 9 }, 36 * MINUTE, false, false],
  [
    'the candidate was the one that DPS took, and is not waited for',
    ...([{ ...candidate, ...refusals(3), mayBeCached: true }, MINUTE, true, true] as const),
  ],

  // Nobody answers.
  ['a turn of which nothing was heard goes on', judged, 24 * HOUR, false, false],
  [
    'an outage leaves the old credential its turn for 90 minutes',
    { ...judged, failures: 9 },
    90 * MINUTE - 1,
    false,
    false,
  ],
  ['after 90 minutes the other has its turn', { ...judged, failures: 9 }, 90 * MINUTE, false, true],
  ['also where DPS may remember the other', { ...cached, failures: 9 }, 90 * MINUTE, false, true],
  [
    'an outage leaves the candidate its turn for 15 minutes',
    { ...candidate, failures: 1 },
    15 * MINUTE - 1,
    false,
    false,
  ],
  ['after 15 minutes the old one has its turn', { ...candidate, failures: 1 }, 15 * MINUTE, false, true],
]

for (const [sentence, turn, lastedMs, isRefused, isOver] of rows) {
  test(`${sentence} (${turn.of}, ${lastedMs} ms)`, () => {
    assert.equal(isTurnOver(turn, START + lastedMs, isRefused), isOver)
  })
}

const later = START + HOUR

test('after the memory of DPS is over the old credential is judged once more', () => {
  assert.deepEqual(otherTurn({ ...cached, ...refusals(4) }, later), { ...judged, sinceMs: later })
})

test('after the old credential was judged the candidate has its turn, counted anew', () => {
  assert.deepEqual(otherTurn({ ...judged, ...refusals(3) }, later), { ...candidate, sinceMs: later })
})

test('after the candidate the old credential has its turn, and DPS may remember the candidate if it took it', () => {
  assert.deepEqual(otherTurn({ ...candidate, ...refusals(3) }, later), { ...judged, sinceMs: later })
  assert.deepEqual(otherTurn({ ...candidate, mayBeCached: true }, later), { ...cached, sinceMs: later })
})

test('no turn lasts for ever, whoever has it and whatever is heard, and both have theirs again and again', () => {
  for (const isRefused of [true, false]) {
    let turn = firstTurn(0, true)
    const seen: Turn['of'][] = []
    for (let nowMs = 0; nowMs <= 24 * HOUR; nowMs += MINUTE) {
      turn = { ...turn, failures: turn.failures + 1, refusals: turn.refusals + (isRefused ? 1 : 0) }
      if (!isTurnOver(turn, nowMs, isRefused)) continue
      seen.push(turn.of)
      turn = otherTurn(turn, nowMs)
    }
    assert.ok(seen.filter((of) => of === 'active').length > 8, seen.join())
    assert.ok(seen.filter((of) => of === 'candidate').length > 8, seen.join())
  }
})
