import { workerData } from 'node:worker_threads'
import { tellOutcome } from './apart.ts'
import { boundsOf } from './bounds.ts'
import type { Setting } from './device.ts'
import type { Findings } from './judge.ts'
import { mutants } from './mutants.ts'
import type { Fault } from './mutants.ts'
import { cutTwice } from './power-cuts.ts'
import { scenarios } from './scenarios.ts'
import { calm, troubles } from './troubles.ts'

/** All pairs of power cuts of one transition, with every cloud; with a fault, until it is found out. */
export interface PowerCutsAsked {
  readonly scenario: string
  readonly seed: number
  readonly fault?: Fault
}

export type PowerCutsFound = readonly (Findings & { readonly cloud: string })[]

const limits = { registerMs: 600_000, proveMs: 300_000 }

tellOutcome(await cutEverywhere(workerData as PowerCutsAsked))

async function cutEverywhere({ scenario: name, seed, fault }: PowerCutsAsked): Promise<PowerCutsFound> {
  const scenario = scenarios.find((each) => each.name === name)
  if (scenario === undefined) throw new Error(`there is no transition ${name}`)
  const setting: Setting = { ...scenario, limits, seed, ...(fault && { spoil: mutants[fault] }) }
  const found = []
  for (const trouble of scenario.isLocal === true ? [calm] : troubles) {
    const findings = await cutTwice(scenario, trouble, setting, (cuts) => boundsOf(scenario, trouble, cuts))
    found.push({ ...findings, cloud: trouble.name })
    if (fault !== undefined && findings.failures.length > 0) break
  }
  return found
}
