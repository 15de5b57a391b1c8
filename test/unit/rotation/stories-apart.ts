import { workerData } from 'node:worker_threads'
import * as fc from 'fast-check'
import { tellOutcome } from './apart.ts'
import { mutants } from './mutants.ts'
import type { Fault } from './mutants.ts'
import { stories } from './stories.ts'
import type { Story } from './stories.ts'
import { play } from './story.ts'
import type { Ending } from './story.ts'

export interface StoriesAsked {
  readonly seed: number
  readonly numRuns: number
  /** What is not told by then, in milliseconds, stays untold. */
  readonly withinMs: number
  readonly homeWithinMs: number
  readonly fault?: Fault
}

export interface StoriesTold {
  readonly told: number
  /** The shortest story that fails: what is wrong, how it would be written down, and what happened in it. */
  readonly failure: string | undefined
}

tellOutcome(await tell(workerData as StoriesAsked))

async function tell({ seed, numRuns, withinMs, homeWithinMs, fault }: StoriesAsked): Promise<StoriesTold> {
  const spoiled = fault && { spoil: mutants[fault] }
  const playOut = ({ start, setting, deeds }: Story) => play(start, { ...setting, ...spoiled }, deeds, homeWithinMs)
  const told = await fc.check(
    fc.asyncProperty(stories, async (story) => faultOf(await playOut(story)) === undefined),
    { seed, numRuns, interruptAfterTimeLimit: withinMs, endOnFailure: fault !== undefined },
  )
  if (told.counterexample === null) return { told: told.numRuns, failure: undefined }
  const [story] = told.counterexample
  const failure = `path ${told.counterexamplePath}: ${written(story, await playOut(story))}`
  return { told: told.numRuns, failure }
}

function faultOf({ violations, isHome }: Ending): string | undefined {
  if (violations.length > 0) return violations.join('; ')
  return isHome ? undefined : 'the device does not find home'
}

function written({ start, setting, deeds }: Story, ending: Ending): string {
  const { disk, cloud } = start
  const begins = { active: cloud.identity, hasSas: disk.hasSas, certificates: disk.certificates.length, setting }
  const lines = deeds.map((deed) => `  ${JSON.stringify(deed)}`).join('\n')
  return `${faultOf(ending)}\n${JSON.stringify(begins)}\n${lines}\n${ending.trace}`
}
