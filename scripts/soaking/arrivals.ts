/** What came to the cloud of the soak: its own numbered samples, and the metrics of the agent. */
import { jsonOf } from '../../test/cloud/body.ts'
import type { Cloud } from '../../test/cloud/cloud.ts'
import { createTally } from '../../test/cloud/tally.ts'

export interface Arrivals {
  /** Messages of all kinds, repeats included. */
  readonly messages: number
  /** Numbered samples that came, each counted once. */
  readonly came: number
  /** Messages with metrics, each counted once. */
  readonly metrics: number
  /** Samples and messages that came again. */
  readonly duplicates: number
  /** Numbered samples that came after a younger one. */
  readonly outOfOrder: number
  /** Numbers up to `count` (exclusive), among those that `wanted` names, that did not come. */
  missing(count: number, wanted: (number: number) => boolean): readonly number[]
}

/** More than a sample a second for a week. */
const MAX_NUMBER = 1_000_000

/** Takes the messages out of the record of the cloud from now on. */
export function watchArrivals(cloud: Cloud): Arrivals {
  const tally = createTally(MAX_NUMBER)
  const metrics = new Set<string>()
  let messages = 0
  let otherDuplicates = 0
  cloud.record.divert((message) => {
    messages += 1
    const body = jsonOf(message)
    const samples = Array.isArray(body) ? (body as unknown[]) : [body]
    const numbers = samples.map(numberOf)
    for (const number of numbers) if (number !== undefined) tally.add(number)
    if (!numbers.includes(undefined)) return
    const id = message.system['message-id'] ?? ''
    if (metrics.has(id)) otherDuplicates += 1
    metrics.add(id)
  })
  return {
    get messages() {
      return messages
    },
    get came() {
      return tally.distinct
    },
    get metrics() {
      return metrics.size
    },
    get duplicates() {
      return tally.arrivals - tally.distinct + otherDuplicates
    },
    get outOfOrder() {
      return tally.late
    },
    missing: (count, wanted) => tally.missing(0, count, count).filter(wanted),
  }
}

function numberOf(sample: unknown): number | undefined {
  if (typeof sample !== 'object' || sample === null || !('soak' in sample)) return undefined
  return typeof sample.soak === 'number' ? sample.soak : undefined
}
