import type { Priority } from '../sample.ts'

/** A stream with something that may be sent. */
export interface Candidate {
  readonly key: number
  readonly priority: Priority
  /** What is next in it had gathered before this session. */
  readonly gathered: boolean
  /** Wall time at which its newest sample came in. */
  readonly newestAtMs: number
}

/** What a stream is served as. */
export type Service = 'alarm' | 'audit' | 'live' | 'backlog'

/** How the sending was shared so far. */
export interface Shares {
  /** Messages that each kind may still send in this round. */
  readonly left: Readonly<Record<Service, number>>
  /** When each stream was served last, counted in messages. */
  readonly served: ReadonlyMap<number, number>
  readonly count: number
}

/**
 * Messages of each kind in one round, in the order in which the kinds are served. Alarms come first, but a flood of them
 * must not hide what the device measures now, nor may old measurements.
 */
const round: Readonly<Record<Service, number>> = { alarm: 8, audit: 4, live: 4, backlog: 1 }

const services = Object.keys(round) as readonly Service[]

export const noShares: Shares = { left: round, served: new Map(), count: 0 }

export function serviceOf({ priority, gathered }: Pick<Candidate, 'priority' | 'gathered'>): Service {
  if (priority !== 'telemetry') return priority
  return gathered ? 'backlog' : 'live'
}

/** The stream whose next message goes out: of alarms the one with the newest, else the one that has waited longest. */
export function choose<T extends Candidate>(candidates: readonly T[], shares: Shares): T | undefined {
  const next = nextService(candidates, shares)
  const fit = candidates.filter((one) => serviceOf(one) === next)
  const lastServed = ({ key }: T) => shares.served.get(key) ?? -1
  const before = (a: T, b: T) =>
    (next === 'alarm' ? b.newestAtMs - a.newestAtMs : 0) || lastServed(a) - lastServed(b) || a.key - b.key
  return fit.toSorted(before)[0]
}

/** Notes that a stream was served; a new round begins when none of those that wait has anything left in this one. */
export function serve(chosen: Candidate, candidates: readonly Candidate[], shares: Shares): Shares {
  const service = serviceOf(chosen)
  const left = shares.left[service] > 0 ? shares.left : round
  const waiting = new Set(candidates.map(({ key }) => key))
  const served = new Map([...shares.served].filter(([key]) => waiting.has(key)))
  served.set(chosen.key, shares.count)
  return { left: { ...left, [service]: left[service] - 1 }, served, count: shares.count + 1 }
}

function nextService(candidates: readonly Candidate[], { left }: Shares): Service | undefined {
  const waiting = services.filter((service) => candidates.some((one) => serviceOf(one) === service))
  return waiting.find((service) => left[service] > 0) ?? waiting[0]
}
