import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runApart } from './apart.ts'
import { lawless } from './mutants.ts'
import type { StoriesAsked, StoriesTold } from './stories-apart.ts'

const asked: StoriesAsked = {
  seed: Number(process.env['ROTATION_SEED'] ?? 20_260_115),
  numRuns: Number(process.env['ROTATION_STORIES'] ?? 800),
  withinMs: 25_000,
  // A device that was refused for hours waits up to half an hour before it asks again, by turns DPS and hub, and DPS may
  // remember another credential for as long.
  homeWithinMs: 120 * 60_000,
}

test('whatever befalls a device, it keeps to its policy, says what is true, and finds home', async (t) => {
  const { told, failure } = await runApart<StoriesTold>('./stories-apart.ts', asked)
  t.diagnostic(`${told} stories with seed ${asked.seed}`)
  assert.equal(failure, undefined, `seed ${asked.seed}, ${failure}`)
})

for (const fault of Object.keys(lawless) as readonly (keyof typeof lawless)[])
  test(`a rotation is found out that ${fault}`, async () => {
    const { failure } = await runApart<StoriesTold>('./stories-apart.ts', { ...asked, fault })
    assert.match(failure ?? '', /WRONG: /)
  })
