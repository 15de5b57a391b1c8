import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { JsonObject } from '../../../agent/twin/json.ts'
import { isNews } from '../../../agent/twin/news.ts'

const OLDEST = '2026-01-01T00:00:00.000Z'

/** A reported part with so many samples in the outbox. */
function reported(depth: number, others: JsonObject = {}, warnings: readonly string[] = []): JsonObject {
  const outbox = { depth, bytes: depth * 100, dropped: 0, droppedBy: { full: 0 }, place: 'disk', ...others }
  return { outbox: depth === 0 ? outbox : { ...outbox, oldest: OLDEST }, warnings }
}

const cases: readonly (readonly [what: string, known: JsonObject, next: JsonObject, news: boolean])[] = [
  ['nothing has changed', reported(5), reported(5), false],
  ['samples are under way', reported(0), reported(3), false],
  ['more wait', reported(3), reported(300_000), false],
  ['another is the oldest', reported(3), reported(3, { oldest: '2026-01-02T00:00:00.000Z' }), false],
  ['fewer wait', reported(3), reported(2), false],
  ['the outbox has run empty', reported(3), reported(0), true],
  ['it was empty and is', reported(0), reported(0), false],
  ['a backlog has gone down to a tenth', reported(1000), reported(100), true],
  ['a backlog has not gone down to a tenth', reported(1000), reported(101), false],
  ['what was no backlog has gone down', reported(999), reported(1), false],
  ['a sample was given up', reported(3), reported(4, { dropped: 1, droppedBy: { full: 1 } }), true],
  ['one cause stands for another', reported(3), reported(3, { droppedBy: { full: 1 } }), true],
  ['no file can be had', reported(3), reported(3, { place: 'memory' }), true],
  ['a warning was raised', reported(3), reported(5, {}, ['x']), true],
  ['the hub has never heard of an outbox', {}, reported(3), true],
]

for (const [what, known, next, news] of cases) {
  test(`${what}: ${news ? 'news' : 'no news'}`, () => assert.equal(isNews(known, next), news))
}
