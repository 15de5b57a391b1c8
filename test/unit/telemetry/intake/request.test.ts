import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readHead } from '../../../../agent/telemetry/intake/request.ts'
import type { Form, Head, Wanted } from '../../../../agent/telemetry/intake/request.ts'
import { PLAIN_LABEL } from '../../../../agent/telemetry/sample.ts'

function wantedOf(head: Partial<Head>): Wanted {
  const read = readHead({ query: '', contentType: 'application/json', ...head })
  if (read.ok) return read.value
  assert.fail(read.problems.join('; '))
}

function problemsOf(head: Partial<Head>): readonly string[] {
  const read = readHead({ query: '', contentType: 'application/json', ...head })
  return read.ok ? [] : read.problems
}

function priorityOf(query: string): string {
  return wantedOf({ query }).said.priority
}

function labelled(contentType: string, contentEncoding?: string): object {
  const { said, isText } = wantedOf({ contentType, contentEncoding })
  return { ...said.label, isText }
}

test('who says nothing gets telemetry, a plain label, and an answer when it is on disk', () => {
  const { said, durability, envelope } = wantedOf({})
  assert.deepEqual(said, { priority: 'telemetry', label: PLAIN_LABEL })
  assert.equal(said.label, PLAIN_LABEL, 'the very label that costs nothing on disk')
  assert.deepEqual([durability, envelope], ['synced', false])
})

test('each parameter says one thing of the samples', () => {
  const query =
    'durability=relaxed&stream=press.7_a-b&priority=audit&severity=error&component=motor1&id=a-1:2' +
    '&time=2026-07-01T12:00:00Z&property.site=N%C3%BCrnberg&property.line=4'
  const { said, durability } = wantedOf({ query })
  assert.equal(durability, 'relaxed')
  assert.deepEqual(said, {
    stream: 'press.7_a-b',
    priority: 'audit',
    id: 'a-1:2',
    createdAtMs: Date.UTC(2026, 6, 1, 12),
    label: {
      contentType: 'application/json',
      contentEncoding: 'utf-8',
      component: 'motor1',
      properties: { site: 'Nürnberg', line: '4', severity: 'error' },
    },
  })
})

test('error and critical mean an alarm, unless another priority is asked for', () => {
  const severities = ['debug', 'info', 'warning', 'error', 'critical'].map((severity) => `severity=${severity}`)
  assert.deepEqual(severities.map(priorityOf), ['telemetry', 'telemetry', 'telemetry', 'alarm', 'alarm'])
  assert.equal(priorityOf('severity=critical&priority=telemetry'), 'telemetry')
})

test('the content type says how a body is read', () => {
  const forms: readonly (readonly [string | undefined, Form])[] = [
    ['application/json', 'json'],
    ['Application/JSON; charset=UTF-8', 'json'],
    ['application/x-ndjson', 'lines'],
    ['application/ndjson', 'lines'],
    ['application/jsonl; charset=utf-8', 'lines'],
    [undefined, 'guess'],
    ['application/x-www-form-urlencoded', 'guess'],
    ['text/plain', 'opaque'],
    ['application/octet-stream', 'opaque'],
    ['application/cloudevents+json', 'opaque'],
  ]
  for (const [contentType, form] of forms) assert.equal(wantedOf({ contentType }).form, form, contentType)
})

test('an opaque body keeps its type; text in UTF-8 is said to be so', () => {
  const csv = { contentType: 'text/csv', contentEncoding: 'utf-8', isText: true }
  assert.deepEqual(labelled('text/csv; charset=UTF-8'), csv)
  assert.deepEqual(labelled('text/csv', 'utf-8'), csv)
  assert.deepEqual(labelled('text/csv'), { contentType: 'text/csv', isText: false })
  const latin = 'text/csv; charset=iso-8859-1'
  assert.deepEqual(labelled(latin), { contentType: latin, isText: false })
  const packed = { contentType: 'application/json', contentEncoding: 'gzip', isText: false }
  assert.deepEqual(labelled('application/json', 'GZIP'), packed)
})

test('a packed stream of lines, JSON that is not UTF-8 and types that are none are refused', () => {
  assert.match(problemsOf({ contentType: 'application/x-ndjson', contentEncoding: 'gzip' }).join(), /Content-Encoding/)
  assert.match(problemsOf({ contentType: 'application/json; charset=latin1' }).join(), /UTF-8.*latin1/)
  assert.match(problemsOf({ contentType: 'nonsense' }).join(), /media type.*nonsense/)
  assert.match(problemsOf({ contentType: `a/${'b'.repeat(300)}` }).join(), /media type/)
  assert.match(problemsOf({ contentType: 'a/b', contentEncoding: 'br, gzip' }).join(), /one word/)
})

test('all problems are told at once, each with the name of what it is about', () => {
  const query =
    'durability=now&stream=a%20b&priority=high&severity=bad&component=1a&id=a%20b&time=soon&envelope=yes' +
    '&property.a%20b=1&property.iotAgentBatch=1&property.iothub-x=1&property.%24mid=1&property.c=%00&strem=x'
  const problems = problemsOf({ query })
  const about = [
    'stream must',
    'priority must',
    'severity must',
    'component must',
    'id must',
    'time must',
    'durability must',
  ]
  const more = [
    'envelope must',
    '"a b" has a char',
    '"iotAgentBatch" is res',
    '"iothub-x" is res',
    '"$mid" is res',
    '"c" must',
  ]
  for (const start of [...about, ...more]) assert.ok(problems.join('\n').includes(start), start)
  assert.ok(problems.some((problem) => problem === 'there is no parameter "strem": did you mean stream?'))
  assert.equal(problems.length, 14)
})

test('a parameter that comes twice is refused, and so is severity beside a property of that name', () => {
  assert.deepEqual(problemsOf({ query: 'stream=a&stream=b' }), ['stream comes twice'])
  assert.deepEqual(problemsOf({ query: 'property.a=1&property.a=1' }), ['property.a comes twice'])
  assert.match(problemsOf({ query: 'severity=info&property.severity=info' }).join(), /is there already/)
  assert.deepEqual(problemsOf({ query: 'property.severity=own' }), [])
})

test('the streams of the agent itself are reserved', () => {
  for (const stream of ['device', 'iotAgentHealth', 'IOTAGENT']) {
    assert.match(problemsOf({ query: `stream=${stream}` }).join(), /reserved/)
  }
  assert.deepEqual(problemsOf({ query: 'stream=device2' }), [])
})

test('names have their longest: 64 of a stream, 128 of an ID', () => {
  assert.deepEqual(problemsOf({ query: `stream=${'s'.repeat(64)}&id=${'i'.repeat(128)}` }), [])
  assert.equal(problemsOf({ query: `stream=${'s'.repeat(65)}&id=${'i'.repeat(129)}` }).length, 2)
})

test('properties may take 16 KiB as they travel, which is three bytes for one that is encoded', () => {
  assert.deepEqual(problemsOf({ query: `property.a=${'x'.repeat(16_383)}` }), [])
  assert.match(problemsOf({ query: `property.a=${'x'.repeat(16_384)}` }).join(), /16385 bytes.*16384/)
  assert.match(problemsOf({ query: `property.a=${'%20'.repeat(5462)}` }).join(), /16387 bytes/)
})

test('an envelope is for JSON, and an ID is for one sample', () => {
  assert.match(problemsOf({ query: 'envelope=true', contentType: 'text/plain' }).join(), /envelope/)
  assert.match(problemsOf({ query: 'id=a', contentType: 'application/x-ndjson' }).join(), /id is for one/)
  assert.equal(wantedOf({ query: 'envelope=true', contentType: 'application/x-ndjson' }).envelope, true)
})
