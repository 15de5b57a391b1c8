/** The judge of the story of a long night: it must notice what it is there for. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { judgeArrivals } from '../../scripts/story/judge-arrivals.ts'
import type { Arrival, Arrivals } from '../../scripts/story/judge-arrivals.ts'

function arrival(stream: string, n: number): Arrival {
  return { id: `${stream}-${n}`, stream, n }
}

const [a1, a2, a3, b1, b2] = [arrival('a', 1), arrival('a', 2), arrival('a', 3), arrival('b', 1), arrival('b', 2)]
const sent = [a1, b1, a2, b2, a3]

const complete: Arrivals = { sent: 5, received: 5, missing: 0, foreign: 0, duplicates: 0, outOfOrder: 0 }

test('what arrives once each and in order has nothing to be said against it', () => {
  assert.deepEqual(judgeArrivals(sent, sent), complete)
})

test('how streams mix on their way is no matter', () => {
  assert.deepEqual(judgeArrivals(sent, [b1, b2, a1, a2, a3]), complete)
})

test('what was sent and did not come is missing', () => {
  assert.deepEqual(judgeArrivals(sent, [a1, b1, a2, a3]), { ...complete, received: 4, missing: 1 })
  assert.deepEqual(judgeArrivals(sent, []), { ...complete, received: 0, missing: 5 })
})

test('what comes again is counted, each time, and is not out of order', () => {
  assert.deepEqual(judgeArrivals(sent, [a1, b1, a2, a1, a2, b2, a3, a1]), { ...complete, duplicates: 3 })
})

test('a sample that comes again does not make up for one that is missing', () => {
  const { received, missing, duplicates } = judgeArrivals(sent, [a1, a1, b1, b2, a3])
  assert.deepEqual({ received, missing, duplicates }, { received: 4, missing: 1, duplicates: 1 })
})

test('what comes for the first time after a later one of its stream is out of order, once each', () => {
  assert.deepEqual(judgeArrivals(sent, [a1, b1, a3, a2, b2]), { ...complete, outOfOrder: 1 })
  assert.deepEqual(judgeArrivals(sent, [a3, a1, a2, b2, b1]), { ...complete, outOfOrder: 3 })
})

test('a gap that is filled by a later repeat of what came before is still out of order', () => {
  assert.deepEqual(judgeArrivals(sent, [a1, a3, a1, a2, a3, b1, b2]), { ...complete, duplicates: 2, outOfOrder: 1 })
})

test('what nobody has sent is foreign, and not received', () => {
  const stranger = arrival('c', 1)
  assert.deepEqual(judgeArrivals(sent, [...sent, stranger]), { ...complete, foreign: 1 })
})

test('another content under the ID of a sample is foreign, also when it comes second', () => {
  assert.equal(judgeArrivals(sent, [a1, { ...a2, n: 7 }, a3, b1, b2]).foreign, 1)
  assert.equal(judgeArrivals(sent, [...sent, { ...a2, stream: 'b' }]).foreign, 1)
  assert.equal(judgeArrivals(sent, [...sent, { ...b1, n: 2 }]).foreign, 1)
})

test('a sample that was sent twice under its ID counts as one', () => {
  assert.deepEqual(judgeArrivals([...sent, a1, a2], sent), complete)
})

test('nothing sent and nothing received is complete', () => {
  assert.deepEqual(judgeArrivals([], []), { ...complete, sent: 0, received: 0 })
})
