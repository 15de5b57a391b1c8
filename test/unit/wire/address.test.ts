import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseAddress } from '../../../agent/wire/address.ts'

test('a name without a port is reached on 8883', () => {
  assert.deepEqual(parseAddress('Hub-1.azure-devices.net'), { host: 'hub-1.azure-devices.net', port: 8883 })
})

test('an explicit port is honoured and is no part of the name', () => {
  assert.deepEqual(parseAddress('dps.localhost:40123'), { host: 'dps.localhost', port: 40123 })
})

for (const text of [
  '',
  'a b',
  'hub/../x',
  'hub:0',
  'hub:65536',
  'hub:',
  'hub:1:2',
  'https://hub',
  '-hub.net',
  'hub-.net',
  'hub..net',
  'hub\u0000.net',
  'hüb.net',
  `${'a'.repeat(64)}.net`,
  `${'a.'.repeat(127)}net`,
]) {
  test(`${JSON.stringify(text).slice(0, 40)} is no address`, () => {
    assert.equal(parseAddress(text), undefined)
  })
}
