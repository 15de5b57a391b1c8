import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { cleanWords } from '../../../../agent/system/run-program.ts'
import { readOutput } from '../../../../agent/telemetry/sources/command-output.ts'

const limits = { maxSamples: 10, maxSampleBytes: 100 }
const read = (output: string | Uint8Array) => readOutput(Buffer.from(output), limits)
const bodies = (output: string) => {
  const result = read(output)
  return result.ok ? result.bodies : result.problem
}
const problem = (output: string | Uint8Array) => {
  const result = read(output)
  return result.ok ? 'none' : result.problem
}

test('an object is one sample and keeps the digits of its numbers', () => {
  assert.deepEqual(bodies(' {"serial": 12345678901234567890,\n "v": 1.50}\n'), [
    '{"serial": 12345678901234567890,\n "v": 1.50}',
  ])
})

test('an array is a sample for each of its objects', () => {
  assert.deepEqual(bodies('[{"a":1}, {"a":2}]'), ['{"a":1}', '{"a":2}'])
})

test('an object in each line is a sample for each line, whatever ends the lines', () => {
  assert.deepEqual(bodies('{"a":1}\r\n\n  {"a":12345678901234567890}\n'), ['{"a":1}', '{"a":12345678901234567890}'])
})

test('nothing, blank lines, an empty array and a byte order mark alone are no sample and no failure', () => {
  for (const nothing of ['', '\n \r\n', '[]', '\ufeff']) assert.deepEqual(bodies(nothing), [])
})

test('a byte order mark before an object does no harm', () => {
  assert.deepEqual(bodies('\ufeff{"a":1}'), ['{"a":1}'])
})

test('what is no object is named by its place, never by what it says', () => {
  assert.equal(problem('password=hunter2'), 'printed something that is no JSON object')
  assert.equal(problem('{"a":1}\n\nhunter2\n'), 'printed something that is no JSON object in line 3')
  assert.equal(problem('{"a":1}\n17\n'), 'printed something that is no JSON object in line 2')
  assert.equal(problem('[{"a":1}, 2]'), 'printed an array whose item 2 is no object')
  for (const scalar of ['17', 'null', '"text"', 'true']) {
    assert.equal(problem(scalar), 'printed JSON that is neither an object nor an array')
  }
  assert.equal(problem(Uint8Array.of(0x7b, 0xff, 0x7d)), 'printed something that is not UTF-8')
})

/** So many samples, and a sample of so many bytes. */
const lines = (count: number) => '{}\n'.repeat(count)
const large = (bytes: number) => `{"é":"${'x'.repeat(bytes - 9)}"}`

test('too many samples and one that is too large are refused at the limit, not before', () => {
  assert.equal(bodies(lines(10)).length, 10)
  assert.equal(problem(lines(11)), 'printed 11 samples, at most 10 are taken')
  assert.equal(bodies(large(100)).length, 1)
  assert.equal(problem(large(101)), 'printed a sample of 101 bytes, at most 100 are taken')
})

test('any objects come out as they went in, as lines and as an array', () => {
  const objects = fc.array(fc.dictionary(fc.string(), fc.jsonValue()), { minLength: 1, maxLength: 50 })
  const unlimited = { maxSamples: 100, maxSampleBytes: 1_000_000 }
  const parsed = (text: string) => {
    const result = readOutput(Buffer.from(text), unlimited)
    assert.ok(result.ok)
    return result.bodies.map((body) => JSON.parse(body) as unknown)
  }
  fc.assert(
    fc.property(objects, (list) => {
      const texts = list.map((object) => JSON.stringify(object))
      const expected = texts.map((text) => JSON.parse(text) as unknown)
      assert.deepEqual(parsed(texts.join('\n')), expected)
      assert.deepEqual(parsed(`[${texts.join(',')}]`), expected)
    }),
  )
})

test('words of a program lose everything that moves a cursor, turns text around or ends a line', () => {
  assert.equal(
    cleanWords(Buffer.from('one\x1b[31mred\n\ttwo\u202ethree\u2028four\x00 \x7f ü ')),
    'one [31mred two three four ü',
  )
})
