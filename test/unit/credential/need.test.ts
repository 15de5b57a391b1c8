import assert from 'node:assert/strict'
import test from 'node:test'
import { certificateNeed } from '../../../agent/credential/need.ts'

const facts = { commonName: 'edge-0042', notAfter: '2026-06-01T00:00:00.000Z' }
const end = Date.parse(facts.notAfter)

test('a certificate is requested when there is none, when it has expired, or when it is for another device', () => {
  assert.equal(certificateNeed(undefined, 'edge-0042', end), 'none')
  assert.equal(certificateNeed(facts, 'edge-0042', end), undefined)
  assert.equal(certificateNeed(facts, 'edge-0042', end + 1), 'expired')
  assert.equal(certificateNeed(facts, 'edge-0043', end), 'otherDevice')
})
