import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  applyDesiredPatch,
  mergePatch,
  parseDesiredPatch,
  parseTwin,
  parseTwinError,
} from '../../../agent/hub/twin-document.ts'
import type { JsonObject } from '../../../agent/system/json.ts'

const parse = (text: string) => JSON.parse(text) as JsonObject

// The examples of RFC 7396, appendix A, whose target and patch are objects.
for (const [target, patch, result] of [
  ['{"a":"b"}', '{"a":"c"}', '{"a":"c"}'],
  ['{"a":"b"}', '{"b":"c"}', '{"a":"b","b":"c"}'],
  ['{"a":"b"}', '{"a":null}', '{}'],
  ['{"a":"b","b":"c"}', '{"a":null}', '{"b":"c"}'],
  ['{"a":["b"]}', '{"a":"c"}', '{"a":"c"}'],
  ['{"a":"c"}', '{"a":["b"]}', '{"a":["b"]}'],
  ['{"a":{"b":"c"}}', '{"a":{"b":"d","c":null}}', '{"a":{"b":"d"}}'],
  ['{"a":[{"b":"c"}]}', '{"a":[1]}', '{"a":[1]}'],
  ['{"e":null}', '{"a":1}', '{"e":null,"a":1}'],
  ['{}', '{"a":{"bb":{"ccc":null}}}', '{"a":{"bb":{}}}'],
] as const) {
  test(`RFC 7396: ${target} with ${patch} is ${result}`, () => {
    assert.deepEqual(mergePatch(parse(target), parse(patch)), parse(result))
  })
}

test('a shorter array replaces a longer one', () => {
  assert.deepEqual(mergePatch({ list: [1, 2, 3] }, { list: [9] }), { list: [9] })
})

test('a key named __proto__ is a key like any other and touches no prototype', () => {
  const merged = mergePatch({}, parse('{"__proto__":{"polluted":1}}'))
  assert.equal(({} as Record<string, unknown>).polluted, undefined)
  assert.ok(Object.hasOwn(merged, '__proto__'))
  assert.equal(Object.getPrototypeOf(merged), Object.prototype)
})

test('merging leaves the old document as it was', () => {
  const held = parse('{"a":{"b":1}}')
  mergePatch(held, { a: { b: 2 } })
  assert.deepEqual(held, { a: { b: 1 } })
})

test('only the next version is applied; an older one is stale, a later one shows a gap', () => {
  const held = { $version: 5, mode: 'sas' }
  assert.deepEqual(applyDesiredPatch(held, { $version: 6, mode: 'x509' }), {
    patched: 'applied',
    desired: { $version: 6, mode: 'x509' },
  })
  assert.deepEqual(applyDesiredPatch(held, { $version: 5, mode: 'x509' }), { patched: 'stale' })
  assert.deepEqual(applyDesiredPatch(held, { $version: 4, mode: 'x509' }), { patched: 'stale' })
  assert.deepEqual(applyDesiredPatch(held, { $version: 7, mode: 'x509' }), { patched: 'gap' })
})

test('a twin has both parts, each with its version', () => {
  const text = '{"desired":{"a":1,"$version":2},"reported":{"$version":3}}'
  assert.deepEqual(parseTwin(text), { desired: { a: 1, $version: 2 }, reported: { $version: 3 } })
})

for (const text of ['', '{', 'null', '[]', '"x"', '{}', '{"desired":{"$version":1}}', '{"desired":[],"reported":{}}']) {
  test(`${JSON.stringify(text)} is no twin`, () => assert.equal(parseTwin(text), undefined))
}

for (const text of ['', '{', 'null', '[1]', '{}', '{"$version":"1"}', '{"$version":1.5}']) {
  test(`${JSON.stringify(text)} is no desired patch`, () => assert.equal(parseDesiredPatch(text), undefined))
}

/** A document of so many levels, as text: what nests the most would not survive being made as objects. */
const nested = (levels: number) => `${'{"a":'.repeat(levels - 1)}{}${'}'.repeat(levels - 1)}`
const push = (levels: number) => `{"$version":2,"x":${nested(levels - 1)}}`

test('a document as deep as the hub keeps is taken, one of thousands of levels is not, and nothing overflows', () => {
  assert.ok(parseDesiredPatch(push(10)))
  assert.ok(parseDesiredPatch(push(32)))
  for (const levels of [33, 5_000, 200_000]) {
    assert.equal(parseDesiredPatch(push(levels)), undefined)
    assert.equal(parseTwin(`{"desired":${push(levels)},"reported":{"$version":1}}`), undefined)
    assert.equal(parseTwin(`{"desired":{"$version":1},"reported":${push(levels)}}`), undefined)
  }
  const list = `{"$version":2,"x":${'['.repeat(200_000)}${']'.repeat(200_000)}}`
  assert.equal(parseDesiredPatch(list), undefined)
})

test('of an error body only what is of the right type is taken', () => {
  assert.deepEqual(parseTwinError('{"errorCode":429001,"message":"slow down"}'), {
    errorCode: 429001,
    message: 'slow down',
  })
  assert.deepEqual(parseTwinError('{"errorCode":"429","message":{}}'), {})
  assert.deepEqual(parseTwinError(''), {})
})
