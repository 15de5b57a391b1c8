import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createLiveConfig } from '../../agent/config/live.ts'
import { livePolicyOf, policyOf } from '../../agent/policy.ts'
import { configOf, loadText } from './config/folder.ts'

test('a policy that was handed on follows the configuration in force, in every part', async () => {
  const live = createLiveConfig(configOf(await loadText('')))
  const policy = livePolicyOf(live.config)
  const change = configOf(
    await loadText(
      '[auth]\nmode = "sas"\nallowDowngrade = false\nmovesPerDay = 1\nsoakSeconds = 60\n[auth.x509]\nenabled = false\n' +
        '[auth.sas]\nkeyFile = "/k"\n[auth.fallback]\nenabled = true\nuntil = "2027-01-31"\nretireAfterDays = 2\n',
    ),
  )
  live.replace(change.written)
  assert.deepEqual({ ...policy }, policyOf(change))
  assert.deepEqual(
    [policy.downgradeAllowed, policy.movesPerDay, policy.soakMs, policy.fallback.retireAfterMs],
    [false, 1, 60_000, 172_800_000],
  )
})
