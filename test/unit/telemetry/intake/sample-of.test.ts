import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { Failure } from '../../../../agent/failure.ts'
import { readHead } from '../../../../agent/telemetry/intake/request.ts'
import { makeSample, sampleOfText, samplesOfText } from '../../../../agent/telemetry/intake/sample-of.ts'
import type { Given } from '../../../../agent/telemetry/intake/sample-of.ts'
import { PLAIN_LABEL } from '../../../../agent/telemetry/sample.ts'

const unsure = { bootId: 'b', uptimeMs: 4 }

function given(): Given {
  let made = 0
  const newId = () => {
    made += 1
    return `id-${made}`
  }
  return { newId, stamp: { createdAtMs: 7, unsure } }
}

function wanted(query: string, contentType = 'application/json') {
  const head = readHead({ query, contentType })
  if (head.ok) return head.value
  assert.fail(head.problems.join('; '))
}

function reading(text: string, query = ''): () => unknown {
  return () => samplesOfText(text, wanted(query), given())
}

function arrayOf(count: number): string {
  return `[${Array.from({ length: count }, () => '1').join(',')}]`
}

function refusal(code: string, said: RegExp): (error: unknown) => boolean {
  return (error) => error instanceof Failure && error.code === code && said.test(error.message)
}

test('one JSON text is one sample, as it was written, with the time of the agent', () => {
  const expected = { id: 'id-1', stream: 'local', priority: 'telemetry', createdAtMs: 7, unsure, label: PLAIN_LABEL }
  assert.deepEqual(samplesOfText(' {"a": 1.0}\n', wanted(''), given()), [{ ...expected, body: '{"a": 1.0}' }])
  for (const text of ['5', '"x"', 'null', '12345678901234567890']) {
    assert.equal(sampleOfText(text, wanted(''), given()).body, text)
  }
})

test('whoever says the time is believed, whatever the clock', () => {
  const [sample] = samplesOfText('{}', wanted('time=1782907200000&id=x'), given())
  assert.equal(sample?.createdAtMs, 1_782_907_200_000)
  assert.equal(sample.unsure, undefined)
  assert.equal(sample.id, 'x')
})

test('each element of an array is a sample, in order and as written; an empty one has none', () => {
  const samples = samplesOfText('[ {"a":1.0}, [1,2] ,"x"]', wanted(''), given())
  assert.deepEqual(
    samples.map(({ id, body }) => [id, body]),
    [
      ['id-1', '{"a":1.0}'],
      ['id-2', '[1,2]'],
      ['id-3', '"x"'],
    ],
  )
  assert.deepEqual(samplesOfText('[ ]', wanted(''), given()), [])
})

test('whatever is JSON is kept, and what is not is refused', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.json(),
        fc.string(),
        fc.json().map((text) => text.slice(1)),
      ),
      (text) => {
        const value = parse(text)
        const read = () =>
          samplesOfText(text, wanted(''), given()).map(({ body }) => JSON.parse(String(body)) as unknown)
        if (value === undefined) return assert.throws(read, refusal('TELEMETRY_INVALID', /JSON/))
        assert.deepEqual(read(), Array.isArray(value) ? value : [value])
      },
    ),
  )
})

test('all elements that are wrong are told, up to ten, by their place', () => {
  assert.throws(reading('[1,x,2,]'), refusal('TELEMETRY_INVALID', /^element 2: not JSON: "x?".*; element 4: not JSON/))
  const ten = /^(?:(?!element).)*(?:element(?:(?!element).)*){10}$/
  assert.throws(reading(`[${'x,'.repeat(50)}1]`), refusal('TELEMETRY_INVALID', ten))
})

test('an array has at most 10000 samples, and an ID is for one', () => {
  assert.equal(samplesOfText(arrayOf(10_000), wanted(''), given()).length, 10_000)
  assert.throws(
    () => samplesOfText(arrayOf(10_001), wanted(''), given()),
    refusal('TELEMETRY_TOO_LARGE', /more than 10000/),
  )
  assert.throws(() => samplesOfText('[1,2]', wanted('id=a'), given()), refusal('TELEMETRY_INVALID', /id is for one/))
  assert.equal(samplesOfText('[1]', wanted('id=a'), given())[0]?.id, 'a')
})

test('what nobody gave a type for says how to write it when it is no JSON', () => {
  const guess = wanted('', 'application/x-www-form-urlencoded')
  assert.throws(() => samplesOfText('a=1', guess, given()), refusal('TELEMETRY_INVALID', /Content-Type: text\/plain/))
})

test('body, ID, label and 1 KiB together are no more than the 256 KiB of the hub', () => {
  const said = { stream: 's', priority: 'telemetry', id: 'x'.repeat(10) } as const
  const label = { contentType: 'a/b', contentEncoding: 'utf-8', component: 'c12', properties: { nä: 'wert' } }
  // 10 of the ID; 3, 5, 3, 3 and 4 of the label.
  const room = 256 * 1024 - 1024 - 10 - 18
  assert.equal(makeSample({ ...said, label }, 'x'.repeat(room), given()).body.length, room)
  assert.throws(
    () => makeSample({ ...said, label }, 'x'.repeat(room + 1), given()),
    refusal('TELEMETRY_TOO_LARGE', /./),
  )
  assert.throws(
    () => makeSample({ ...said, label }, `${'x'.repeat(room - 1)}ä`, given()),
    refusal('TELEMETRY_TOO_LARGE', /./),
  )
  assert.throws(
    () => makeSample({ ...said, label }, Buffer.alloc(room + 1), given()),
    refusal('TELEMETRY_TOO_LARGE', /./),
  )
})

test('an envelope says more of its sample, and its body stays as written', () => {
  const text = `{"id":"m-1","time":"2026-07-01T12:00:00Z","stream":"s2","severity":"critical","component":"motor",
    "properties":{"line":"4"}, "body" : {"a": 1.0}}`
  assert.deepEqual(sampleOfText(text, wanted('envelope=true&stream=s1&property.site=N'), given()), {
    id: 'm-1',
    stream: 's2',
    priority: 'alarm',
    createdAtMs: Date.UTC(2026, 6, 1, 12),
    cameUnsure: true,
    label: {
      contentType: 'application/json',
      contentEncoding: 'utf-8',
      component: 'motor',
      properties: { site: 'N', line: '4', severity: 'critical' },
    },
    body: '{"a": 1.0}',
  })
  assert.equal(sampleOfText('{"body":1}', wanted('envelope=true&stream=s1'), given()).stream, 's1')
})

test('an envelope may hold text of another type', () => {
  const { body, label } = sampleOfText(
    '{"body":"a;b\\n1;2","contentType":"text/csv"}',
    wanted('envelope=true'),
    given(),
  )
  assert.equal(body, 'a;b\n1;2')
  assert.deepEqual(label, { contentType: 'text/csv', contentEncoding: 'utf-8' })
  const text = sampleOfText('{"body":"x","contentType":"application/json"}', wanted('envelope=true'), given())
  assert.deepEqual([text.body, text.label], ['"x"', PLAIN_LABEL])
})

test('everything that is wrong with an envelope is told at once', () => {
  assert.throws(reading('{"a":1}', 'envelope=true'), refusal('TELEMETRY_INVALID', /no "a".*has no body/))
  assert.throws(reading('5', 'envelope=true'), refusal('TELEMETRY_INVALID', /object with a body/))
  assert.throws(
    reading('{"body":1,"contentType":"text/csv"}', 'envelope=true'),
    refusal('TELEMETRY_INVALID', /must be a string/),
  )
  assert.throws(
    reading('{"body":1,"contentType":5}', 'envelope=true'),
    refusal('TELEMETRY_INVALID', /contentType must/),
  )
  const wrong = '{"body":1,"stream":"device","id":5,"time":"x","properties":[],"severty":"info"}'
  const all =
    /no "severty": did you mean severity\?; stream "device" is reserved.*; id must.*; time must.*; properties must/
  assert.throws(reading(wrong, 'envelope=true'), refusal('TELEMETRY_INVALID', all))
})

function streamAt(createdAtMs: number, query: string): string {
  return sampleOfText('{}', wanted(query), { newId: () => 'a', stamp: { createdAtMs } }).stream
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

test('alarms that name no stream go by the hour in which they come, others into one stream', () => {
  const hour = 3_600_000
  assert.equal(streamAt(10 * hour, 'severity=critical'), streamAt(11 * hour - 1, 'priority=alarm'))
  assert.notEqual(streamAt(10 * hour, 'priority=alarm'), streamAt(11 * hour, 'priority=alarm'))
  assert.equal(streamAt(10 * hour, 'priority=audit'), 'local')
  assert.equal(streamAt(11 * hour, ''), 'local')
  assert.equal(streamAt(11 * hour, 'priority=alarm&stream=press'), 'press')
})

test('a text of some MiB is refused before anybody reads what is in it', (t) => {
  const parse = t.mock.method(JSON, 'parse')
  const bytes = 8 * 1024 * 1024
  const million = 'x,'.repeat(bytes / 2 - 1)
  assert.throws(() => samplesOfText(`[${million}x]`, wanted(''), given()), refusal('TELEMETRY_TOO_LARGE', /more than/))
  const nested = '['.repeat(bytes / 2) + ']'.repeat(bytes / 2)
  assert.throws(() => samplesOfText(nested, wanted(''), given()), refusal('TELEMETRY_TOO_LARGE', /more than/))
  const long = `{"a":[${'{},'.repeat(bytes / 4)}{}]}`
  assert.throws(() => samplesOfText(long, wanted(''), given()), refusal('TELEMETRY_TOO_LARGE', /more than/))
  assert.equal(parse.mock.callCount(), 0)
})
