import { asFailure } from '../../failure.ts'
import type { Failure } from '../../failure.ts'
import type { Sample } from '../sample.ts'
import { conclude, refusalOf } from './answer.ts'
import { trimBlank } from './cut.ts'
import { linesOf } from './lines.ts'
import { given, noteRefusal, readBody, store, utf8Of } from './receive.ts'
import type { Arriving } from './receive.ts'
import { sampleOfText } from './sample-of.ts'

/** Samples that are stored together. */
const MAX_GROUP = 1000

/** A failure with the first line that was not stored because of it. */
export interface LineFailure {
  readonly failure: Failure
  readonly line: number
}

/**
 * Stores the lines of a body as they come, and says after each group how many are stored. No more is read while a group
 * is being stored, and none of it is kept.
 *
 * @returns the failure, while nothing has been stored and answered; every later one is the last line of the answer
 */
export async function receiveLines(arriving: Arriving): Promise<LineFailure | undefined> {
  const { response, door } = arriving
  let stored = 0
  let told: number | undefined
  let failed: LineFailure | undefined
  for await (const outcome of storeLines(arriving)) {
    if ('failure' in outcome) failed = outcome
    else {
      stored += outcome.stored
      told = tell(arriving, stored) ? stored : told
    }
  }
  if (failed !== undefined && stored === 0) return failed
  if (failed !== undefined) noteRefusal(door, failed.failure)
  start(arriving)
  if (failed !== undefined) response.write(jsonLine(refusalOf({ ...failed, stored })))
  else if (told !== stored) response.write(jsonLine({ stored }))
  await conclude(arriving, door.options.clock)
  return undefined
}

type Outcome = { readonly stored: number } | LineFailure

/** What became of each group; nothing comes after a failure. */
async function* storeLines(arriving: Arriving): AsyncGenerator<Outcome> {
  let line = 1
  let isPatient = false
  try {
    for await (const lines of linesOf(readBody(arriving))) {
      for (const group of groupsOf(lines, arriving)) {
        await store(arriving, group.samples, isPatient)
        line += group.lines
        if (group.samples.length > 0) {
          isPatient = true
          yield { stored: group.samples.length }
        }
        if (group.failure !== undefined) throw group.failure
      }
    }
  } catch (error) {
    yield { failure: asFailure(error), line }
  }
}

interface Group {
  readonly samples: readonly Sample[]
  /** How many lines they take, with the empty ones. */
  readonly lines: number
  /** What is wrong with the line behind them. */
  readonly failure?: Failure
}

function* groupsOf(lines: readonly Buffer[], { wanted, door }: Arriving): Generator<Group> {
  const common = given(door)
  for (let from = 0; from < lines.length; from += MAX_GROUP) {
    const group = lines.slice(from, from + MAX_GROUP)
    yield groupOf(group, (text) => sampleOfText(text, wanted, common))
  }
}

function groupOf(lines: readonly Buffer[], toSample: (text: string) => Sample): Group {
  const samples: Sample[] = []
  for (const [at, line] of lines.entries()) {
    try {
      const text = trimBlank(utf8Of(line))
      if (text !== '') samples.push(toSample(text))
    } catch (error) {
      return { samples, lines: at, failure: asFailure(error) }
    }
  }
  return { samples, lines: lines.length }
}

/** A client that does not read its answers is told less often, and still what counts: how many in all. */
function tell(arriving: Arriving, stored: number): boolean {
  start(arriving)
  if (arriving.response.writableNeedDrain) return false
  arriving.response.write(jsonLine({ stored }))
  return true
}

function start({ response }: Arriving): void {
  if (!response.headersSent) response.writeHead(200, { 'Content-Type': 'application/x-ndjson' })
}

function jsonLine(value: object): string {
  return `${JSON.stringify(value)}\n`
}
