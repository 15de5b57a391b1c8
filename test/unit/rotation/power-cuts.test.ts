import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runApart } from './apart.ts'
import { reckless } from './mutants.ts'
import type { PowerCutsAsked, PowerCutsFound } from './power-cuts-apart.ts'
import { scenarios } from './scenarios.ts'

/** Another seed is another choice of every pause. */
const seed = Number(process.env['ROTATION_SEED'] ?? 1)

function cutEverywhere(asked: PowerCutsAsked): Promise<PowerCutsFound> {
  return runApart<PowerCutsFound>('./power-cuts-apart.ts', asked)
}

for (const { name } of scenarios)
  test(`wherever the power is cut twice, the device finds home: ${name}`, async (t) => {
    const found = await cutEverywhere({ scenario: name, seed })
    for (const { cloud, moments, runs, longestMs, mostAttempts } of found)
      t.diagnostic(
        `the cloud ${cloud}: ${moments} moments, ${runs} runs; ` +
          `at home within ${Math.ceil(longestMs / 60_000)} min and ${mostAttempts} attempts`,
      )
    const failures = found.flatMap((each) => each.failures)
    assert.equal(failures.length, 0, `seed ${seed}: ${failures.length} runs fail; the first: ${failures[0]}`)
  })

for (const fault of Object.keys(reckless) as readonly (keyof typeof reckless)[])
  test(`a rotation is found out that ${fault}`, async () => {
    const found = await cutEverywhere({ scenario: 'X.509 to SAS, born on X.509', seed, fault })
    assert.ok(found.some(({ failures }) => failures.length > 0))
  })
