import assert from 'node:assert/strict'
import { test } from 'node:test'
import { choose, noShares, serve } from '../../../../agent/telemetry/forward/order.ts'
import type { Candidate } from '../../../../agent/telemetry/forward/order.ts'

const telemetry = { priority: 'telemetry', gathered: false, newestAtMs: 0 } as const
const alarm = { priority: 'alarm', gathered: true } as const

/** The keys of the streams in the order in which they would be served while all of them always have more. */
function served(candidates: readonly Candidate[], count: number): readonly number[] {
  let shares = noShares
  return Array.from({ length: count }, () => {
    const chosen = choose(candidates, shares)
    assert.ok(chosen)
    shares = serve(chosen, candidates, shares)
    return chosen.key
  })
}

test('nothing that waits is nothing to send', () => {
  assert.equal(choose([], noShares), undefined)
})

test('an alarm is sent before anything else', () => {
  const all: readonly Candidate[] = [
    { key: 1, ...telemetry },
    { key: 2, ...telemetry, priority: 'audit' },
    { key: 3, ...alarm, newestAtMs: 5 },
    { key: 4, ...telemetry, gathered: true },
  ]
  assert.equal(choose(all, noShares)?.key, 3)
})

test('of several streams of alarms the one with the newest is first, however often it was served', () => {
  const all: readonly Candidate[] = [
    { key: 1, ...alarm, newestAtMs: 100 },
    { key: 2, ...alarm, newestAtMs: 300 },
    { key: 3, ...alarm, newestAtMs: 200 },
  ]
  assert.deepEqual(served(all, 3), [2, 2, 2])
})

test('while all kinds wait, 17 messages are 8 alarms, 4 of audit, 4 live and 1 of the backlog', () => {
  const all: readonly Candidate[] = [
    { key: 1, ...alarm, newestAtMs: 1 },
    { key: 2, ...telemetry, priority: 'audit' },
    { key: 3, ...telemetry },
    { key: 4, ...telemetry, gathered: true },
  ]
  const keys = served(all, 17 * 10)
  const count = (key: number) => keys.filter((one) => one === key).length
  assert.deepEqual([1, 2, 3, 4].map(count), [80, 40, 40, 10])
})

test('in a round the alarms go first, then audit, then live data, then one of the backlog', () => {
  const all: readonly Candidate[] = [
    { key: 1, ...alarm, newestAtMs: 1 },
    { key: 2, ...telemetry, priority: 'audit' },
    { key: 3, ...telemetry },
    { key: 4, ...telemetry, gathered: true },
  ]
  const inOrder = [
    [1, 8],
    [2, 4],
    [3, 4],
    [4, 1],
    [1, 1],
  ] as const
  assert.deepEqual(
    served(all, 18),
    inOrder.flatMap(([key, times]) => Array.from({ length: times }, () => key)),
  )
})

test('streams of one kind take turns', () => {
  const all: readonly Candidate[] = [1, 2, 3].map((key) => ({ key, ...telemetry }))
  assert.deepEqual(served(all, 6), [1, 2, 3, 1, 2, 3])
})

test('the backlog has all of the room while nothing else waits', () => {
  const only: readonly Candidate[] = [{ key: 4, ...telemetry, gathered: true }]
  assert.deepEqual(served(only, 5), [4, 4, 4, 4, 4])
})

test('a kind that had nothing to send for long does not push the others aside when it comes back', () => {
  const live: Candidate = { key: 3, ...telemetry }
  const backlog: Candidate = { key: 4, ...telemetry, gathered: true }
  let shares = noShares
  for (let count = 0; count < 1000; count += 1) shares = serve(backlog, [backlog], shares)
  const keys: number[] = []
  for (let count = 0; count < 100; count += 1) {
    const chosen = choose([live, backlog], shares)
    assert.ok(chosen)
    keys.push(chosen.key)
    shares = serve(chosen, [live, backlog], shares)
  }
  // What was left of the round that was under way comes to at most 4 more.
  const times = keys.filter((key) => key === 3).length
  assert.ok(times >= 80 && times <= 84, String(times))
})
