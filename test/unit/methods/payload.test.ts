import assert from 'node:assert/strict'
import { test } from 'node:test'
import { methodNames as configuredNames } from '../../../agent/config/methods.ts'
import { readPayload } from '../../../agent/methods/payload.ts'
import { methodNames, methodTable } from '../../../agent/methods/table.ts'
import { logLevels } from '../../../agent/system/log.ts'

const problemsOf = (name: Parameters<typeof readPayload>[0], payload: unknown) => {
  const read = readPayload(name, payload)
  return read.ok ? [] : read.problems
}

test('the methods that can be allowed are the methods that there are', () => {
  assert.deepEqual(methodNames, configuredNames)
})

test('the example of every method is taken as it is', () => {
  for (const name of methodNames) {
    const { example } = methodTable[name]
    assert.deepEqual(readPayload(name, example), { ok: true, value: example }, name)
  }
})

test('every level of the log can be set', () => {
  for (const level of logLevels) assert.equal(readPayload('setLogLevel', { level }).ok, true, level)
})

test('no payload, null and an empty one are the same', () => {
  for (const payload of [undefined, null, {}]) {
    assert.deepEqual(readPayload('renewCertificate', payload), { ok: true, value: {} })
  }
})

test('a payload that is no object is refused', () => {
  for (const payload of ['x509', 1, true, [], [{ mode: 'x509' }]]) {
    assert.match(problemsOf('setAuthMode', payload).join(), /must be an object/)
  }
})

test('all problems are said at once, each with its field, its rule and its value', () => {
  assert.deepEqual(problemsOf('setAuthMode', { mode: 'X509', rehearse: 'yes', force: 1 }), [
    'there is no field "force", the fields are mode, rehearse',
    'mode must be one of "x509", "sas", is "X509"',
    'rehearse must be true or false, is "yes"',
  ])
})

test('a field that is missing is said to be', () => {
  assert.deepEqual(problemsOf('setAuthMode', undefined), ['mode is missing: one of "x509", "sas"'])
  assert.deepEqual(problemsOf('setLogLevel', {}), ['level is missing: one of "debug", "info", "warn", "error"'])
})

test('a method that takes nothing says so', () => {
  assert.deepEqual(problemsOf('ping', { a: 1 }), ['there is no field "a", no field is taken'])
})

test('null is no way to leave a field out', () => {
  assert.deepEqual(problemsOf('renewCertificate', { rehearse: null }), ['rehearse must be true or false, is null'])
})

test('names from the prototype are fields that nobody knows, and nothing is inherited', () => {
  assert.equal(problemsOf('setAuthMode', JSON.parse('{"mode":"x509","__proto__":{"rehearse":true}}')).length, 1)
  assert.equal(problemsOf('ping', { constructor: 1 }).length, 1)
  assert.equal(problemsOf('setAuthMode', JSON.parse('{"__proto__":{"mode":"sas"}}')).length, 2)
})

test('what is quoted of a hostile payload is short', () => {
  const fields = Object.fromEntries(Array.from({ length: 5_000 }, (_, at) => [`${'x'.repeat(500)}${at}`, 1]))
  const said = problemsOf('setAuthMode', { ...fields, mode: 'y'.repeat(100_000) }).join('; ')
  assert.ok(said.length < 1_000, `${said.length} characters`)
})
