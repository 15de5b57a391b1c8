import assert from 'node:assert/strict'
import { test } from 'node:test'
import { boot } from './device.ts'
import type { Device } from './device.ts'
import { scenarios } from './scenarios.ts'
import { readable } from './trace.ts'
import { troubles } from './troubles.ts'

const MINUTE_MS = 60_000

/** From the beginning of a rollback: half an hour for which DPS remembers, and what is slow. */
const HOME_WITHIN_MS = 45 * MINUTE_MS

/** More choices of all pauses than one device ever makes. */
const SEEDS = 40

test('a rollback asks DPS again as soon as DPS has forgotten the candidate, whatever the pauses are', async () => {
  for (let seed = 1; seed <= SEEDS; seed += 1) {
    const device = await rollingBack(seed)
    const isHome = await device.runUntil(() => device.isHome(), HOME_WITHIN_MS)
    const { trace } = device.powerOff()
    assert.ok(isHome, `seed ${seed}: not at home after ${HOME_WITHIN_MS / MINUTE_MS} minutes\n${readable(trace)}`)
  }
})

/** A device whose candidate DPS has taken and the hub refuses. */
async function rollingBack(seed: number): Promise<Device> {
  const scenario = scenarios.find(({ name }) => name === 'X.509 to SAS, born on X.509')
  const trouble = troubles.find(({ name }) => name === 'refuses the candidate at the hub and remembers it at DPS')
  assert.ok(scenario !== undefined && trouble !== undefined)
  const start = { ...scenario.start, cloud: { ...scenario.start.cloud, trouble } }
  const device = await boot(start, { ...scenario, limits: { registerMs: 600_000, proveMs: 300_000 }, seed })
  const isRollingBack = () => device.rotation.record().lifecycle.phase === 'rollingBack'
  assert.ok(await device.runUntil(isRollingBack, 10 * MINUTE_MS))
  return device
}
