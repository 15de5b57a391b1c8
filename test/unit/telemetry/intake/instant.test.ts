import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseTime } from '../../../../agent/telemetry/intake/instant.ts'

const NOON = Date.UTC(2026, 6, 1, 12)

test('a time is ISO 8601 with a zone, or milliseconds since 1970', () => {
  const same = [
    '2026-07-01T12:00:00Z',
    '2026-07-01T14:00:00+02:00',
    '2026-07-01 12:00Z',
    '2026-07-01T12:00:00.000z',
    NOON,
  ]
  for (const written of [...same, String(NOON)]) assert.equal(parseTime(written), NOON, String(written))
  assert.equal(parseTime('2026-07-01T12:00:00,25Z'), NOON + 250)
  assert.equal(parseTime(NOON + 0.4), NOON)
})

test('a plus sign that nobody encoded is meant in a zone', () => {
  assert.equal(parseTime('2026-07-01T14:00:00 02:00'), NOON)
})

test('what is no time is refused: without zone, on a day that is not, of seconds, of years beyond the hub', () => {
  const wrong = [
    '',
    'now',
    '2026-07-01',
    '2026-07-01T12:00:00',
    '2026-02-30T12:00:00Z',
    '2026-07-01T25:00:00Z',
    null,
    {},
    -5,
  ]
  for (const written of wrong) assert.equal(typeof parseTime(written), 'string', JSON.stringify(written))
  assert.match(String(parseTime(NOON / 1000)), /seconds/)
  assert.match(String(parseTime('999999999999999')), /1970 to 9999/)
  assert.match(String(parseTime('1969-12-31T23:59:59Z')), /1970 to 9999/)
  assert.equal(parseTime('9999-12-31T23:59:59Z'), Date.UTC(9999, 11, 31, 23, 59, 59))
})
