import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { parseJson } from '../../../../agent/system/json.ts'
import { elementsOf, isArrayText, membersOf, trimBlank } from '../../../../agent/telemetry/intake/cut.ts'

const blank = fc.string({ unit: fc.constantFrom(' ', '\t', '\r', '\n'), maxLength: 3 })

/** A JSON text with white space wherever it may be, and the value that the runtime's own parser finds in it. */
const spacedJson = fc
  .tuple(fc.jsonValue(), fc.constantFrom('', ' ', '\n', '\t'), blank, blank)
  .map(([value, indent, before, after]) => before + JSON.stringify(value, undefined, indent) + after)

test('the elements of an array are those that the parser finds, as they are written', () => {
  fc.assert(
    fc.property(fc.array(spacedJson), blank, (texts, inside) => {
      const text = texts.length === 0 ? `[${inside}]` : `[${texts.join(',')}]`
      const elements = elementsOf(text)
      assert.deepEqual(elements, texts.map(trimBlank))
      assert.deepEqual(
        elements?.map((element) => JSON.parse(element) as unknown),
        JSON.parse(text),
      )
    }),
  )
})

test('a text is taken for an array of JSON exactly when the parser takes it for one', () => {
  const pieces = fc.constantFrom(
    '[',
    ']',
    '{',
    '}',
    ',',
    ':',
    '"',
    '\\',
    '"a"',
    '1',
    'null',
    ' ',
    '\u00A0',
    '{"a":[1]}',
  )
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 12 }), (parts) => {
      const text = `[${parts.join('')}`
      const elements = elementsOf(text)
      const isTaken = elements !== undefined && elements.every((element) => parseJson(element) !== undefined)
      assert.equal(isTaken, isArrayOf(text), text)
    }),
    { numRuns: 3000 },
  )
})

test('numbers keep what a number of the runtime would lose', () => {
  assert.deepEqual(elementsOf('[1.0, 12345678901234567890 ,{"a":1e2}]'), ['1.0', '12345678901234567890', '{"a":1e2}'])
  assert.equal(membersOf('{ "body" : 1.00, "id": "x" }').get('body'), '1.00')
})

test('an element that is no JSON keeps its place', () => {
  assert.deepEqual(elementsOf('[1,,{"a"},2]'), ['1', '', '{"a"}', '2'])
})

test('the members of an object are those that the parser finds; of two with one name the last', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), spacedJson), blank, (members, space) => {
      const text = `{${Object.entries(members)
        .map(([name, value]) => `${space}${JSON.stringify(name)}${space}:${value}`)
        .join(',')}}`
      const found = [...membersOf(text)].map(([name, value]) => [name, JSON.parse(value) as unknown] as const)
      assert.deepEqual(new Map(found), new Map(Object.entries(JSON.parse(text) as object)))
    }),
  )
  assert.equal(membersOf('{"body":1,"body":2}').get('body'), '2')
})

test('only what begins with a bracket can be an array', () => {
  assert.deepEqual(['[1]', ' \n[', '{"a":[]}', '"["', ''].map(isArrayText), [true, true, false, false, false])
})

function isArrayOf(text: string): boolean {
  try {
    return Array.isArray(JSON.parse(text))
  } catch {
    return false
  }
}
