import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Failure } from '../../../agent/failure.ts'
import { boot } from './device.ts'
import type { Setting } from './device.ts'
import { policy, worldOf } from './scenarios.ts'

const setting: Setting = {
  policy: { ...policy, born: 'x509' },
  limits: { registerMs: 600_000, proveMs: 300_000 },
  certificateAfterMs: 0,
  seed: 1,
}

test('a rotation that cannot go on ends, so that the service starts anew, and does not wait for ever', async () => {
  const device = await boot(worldOf({ active: undefined, hasSas: false, candidate: '' }), {
    ...setting,
    spoil: (ports) => ({
      ...ports,
      obtain: () => Promise.reject(new Failure('CHAIN_NAME_MISMATCH', 'the certificate is for another device')),
    }),
  })
  await device.runUntil(() => device.invariants.violations.length > 0, 60_000)
  assert.match(device.invariants.violations.join(), /the rotation has ended: Failure: the certificate is for another/)
})
