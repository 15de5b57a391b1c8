import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { OutboxFacts } from '../../../agent/health/telemetry-findings.ts'
import { track } from '../../../agent/health/tracker.ts'
import { findWarnings } from '../../../agent/health/warnings.ts'
import type { HealthFacts } from '../../../agent/health/warnings.ts'

const DAY_MS = 86_400_000
const nowMs = Date.UTC(2026, 5, 1)
const outbox: OutboxFacts = { depth: 3, bytes: 10, maxBytes: 1000, aside: 0, place: 'disk' }

function warningsOf(facts: Partial<HealthFacts>) {
  return track([], findWarnings({ nowMs, hub: { state: 'connected' }, outbox, ...facts }), nowMs).warnings
}

function codesOf(facts: Partial<HealthFacts>): readonly string[] {
  return warningsOf(facts).map(({ code }) => code)
}

const diskFull = { code: 'DISK_FULL', message: 'no space left', advice: 'df -h /state' }
const noFile = { code: 'OUTBOX_IN_MEMORY', message: 'read-only file system', advice: 'mount' }

test('an outbox that holds samples on disk is as it should be', () => {
  assert.deepEqual(warningsOf({}), [])
})

test('what refuses new samples is said with its code, and with what to type against it', () => {
  const [found] = warningsOf({ outbox: { ...outbox, trouble: diskFull } })
  assert.deepEqual(
    [found?.code, found?.severity, found?.text, found?.advice],
    ['OUTBOX_REFUSING', 'wrong', 'new samples are refused: DISK_FULL: no space left', 'df -h /state'],
  )
})

test('samples in memory are wrong, and one cause is one warning', () => {
  const [found, ...others] = warningsOf({ outbox: { ...outbox, place: 'memory', trouble: noFile } })
  assert.deepEqual([found?.code, found?.severity, others], ['OUTBOX_IN_MEMORY', 'wrong', []])
  assert.match(found?.text ?? '', /^3 samples in memory only.*read-only file system$/)
  const both = codesOf({ outbox: { ...outbox, place: 'memory', trouble: diskFull } })
  assert.deepEqual(both, ['OUTBOX_REFUSING', 'OUTBOX_IN_MEMORY'])
  assert.deepEqual(codesOf({ outbox: { ...outbox, place: 'memory' } }), ['OUTBOX_IN_MEMORY'])
})

test('four fifths of the room are nearly all of it', () => {
  assert.deepEqual(codesOf({ outbox: { ...outbox, bytes: 799 } }), [])
  const [found] = warningsOf({ outbox: { ...outbox, bytes: 800, oldestAtMs: Date.UTC(2026, 4, 30) } })
  assert.deepEqual([found?.code, found?.severity], ['OUTBOX_NEARLY_FULL', 'soon'])
  assert.match(found?.text ?? '', /^80 % .*3 samples, the oldest since 2026-05-30/)
  assert.match(found?.advice ?? '', /^Nothing while it drains.*telemetry\.outbox\.maxMegabytes/)
  const hub = { state: 'disconnected', sinceMs: nowMs } as const
  assert.match(warningsOf({ hub, outbox: { ...outbox, bytes: 800 } })[0]?.advice ?? '', /^Bring the device back/)
})

const counts = { full: 4, expired: 2, refused: 0, torn: 0 }

test('samples that were given up are a warning for a day, with their causes', () => {
  const found = (lastMs: number) => warningsOf({ drops: { counts, lastMs: { expired: lastMs } } })
  const [warning] = found(nowMs - DAY_MS)
  assert.deepEqual([warning?.code, warning?.severity], ['TELEMETRY_DROPPED', 'soon'])
  assert.match(warning?.text ?? '', /^6 samples given up \(full 4, expired 2\), the last on 2026-05-31T00:00:00/)
  assert.deepEqual(found(nowMs - DAY_MS - 1), [])
  assert.deepEqual(warningsOf({ drops: { counts, lastMs: {} } }), [])
})

test('of several causes the newest counts, and what to do is about that one', () => {
  const lastMs = { full: nowMs - 9 * DAY_MS, torn: nowMs - 1000, expired: nowMs - 3 * DAY_MS }
  const [warning] = warningsOf({ drops: { counts, lastMs } })
  assert.match(warning?.text ?? '', /the last on 2026-05-31T23:59:59/)
  assert.match(warning?.advice ?? '', /journalctl -k/)
  const [older] = warningsOf({ drops: { counts, lastMs: { ...lastMs, torn: nowMs - 10 * DAY_MS, expired: nowMs } } })
  assert.match(older?.advice ?? '', /maxDays/)
})

test('what the hub refused is a note of its own, as long as it is kept or for a day, and nothing else', () => {
  const refused = { counts: { ...counts, full: 0, expired: 0, refused: 5 }, lastMs: { refused: nowMs - DAY_MS } }
  const [note, ...others] = warningsOf({ drops: refused })
  assert.deepEqual([note?.code, note?.severity, others], ['MESSAGE_SET_ASIDE', 'note', []])
  assert.match(note?.text ?? '', /^5 samples refused by the hub, 0 messages kept/)
  assert.match(note?.advice ?? '', /iot-device-agent outbox/)
  const before = { ...refused, lastMs: { refused: nowMs - DAY_MS - 1 } }
  assert.deepEqual(codesOf({ drops: before }), [])
  assert.deepEqual(codesOf({ drops: before, outbox: { ...outbox, aside: 1 } }), ['MESSAGE_SET_ASIDE'])
})

test('a damaged outbox is said while it is mended, and for a day after', () => {
  for (const facts of [{ outbox: { ...outbox, place: 'mending' as const } }, { tornAtMs: nowMs - DAY_MS }]) {
    const [found] = warningsOf(facts)
    assert.deepEqual(
      [found?.code, found?.severity, found?.advice.includes('journalctl -k')],
      ['OUTBOX_TORN', 'soon', true],
    )
  }
  assert.deepEqual(codesOf({ tornAtMs: nowMs - DAY_MS - 1 }), [])
})

test('a program that has failed three times in a row is named with its failure, one that failed twice is not', () => {
  const lastFailure = { code: 'SOURCE_FAILED', message: 'it printed no JSON', advice: 'run it' }
  const sources = [
    { name: 'well', failedInARow: 0 },
    { name: 'unlucky', failedInARow: 2, lastFailure },
    { name: 'weather', failedInARow: 3, lastFailure },
  ]
  const [found] = warningsOf({ sources })
  assert.deepEqual(
    [found?.code, found?.severity, found?.text],
    ['SOURCE_FAILING', 'wrong', 'weather failed 3 times in a row (it printed no JSON)'],
  )
  assert.deepEqual(warningsOf({ sources: sources.slice(0, 2) }), [])
})

test('of many programs that fail three are named and the others counted', () => {
  const sources = ['a', 'b', 'c', 'd', 'e'].map((name) => ({ name, failedInARow: 7 }))
  assert.match(warningsOf({ sources })[0]?.text ?? '', /^a failed.*; b failed.*; c failed [^;]*; 2 more fail$/)
})
