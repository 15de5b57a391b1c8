import type { Failure } from '../../failure.ts'
import type { Parcel } from '../outbox/port.ts'

/** How the sending of one parcel ended. */
export type Outcome = { readonly end: 'acknowledged' } | { readonly end: 'refused'; readonly failure: Failure }

/** A parcel on its way. */
export interface Flight {
  readonly parcel: Parcel
  readonly sentAtMs: number
  outcome?: Outcome
}

/** What is on its way, by stream in its order. */
export interface Flights {
  count(): number
  /** Number of the newest sample of the stream that was sent; undefined when none was. */
  sentUpTo(stream: number): number | undefined
  /** The one that was sent first of those without an outcome. */
  oldest(): Flight | undefined
  add(flight: Flight): void
  /** Notes the outcome; those at the head of their stream that have theirs by now leave it, and come back in order. */
  land(flight: Flight, outcome: Outcome): readonly Required<Flight>[]
}

export function createFlights(): Flights {
  const byStream = new Map<number, Flight[]>()
  const sentUpTo = new Map<number, number>()
  const open = new Set<Flight>()

  return {
    count: () => open.size,
    sentUpTo: (stream) => sentUpTo.get(stream),
    oldest: () => open.values().next().value,
    add(flight) {
      const { stream, last } = flight.parcel
      open.add(flight)
      sentUpTo.set(stream, last)
      const line = byStream.get(stream)
      if (line === undefined) byStream.set(stream, [flight])
      else line.push(flight)
    },
    land(flight, outcome) {
      open.delete(flight)
      flight.outcome = outcome
      const line = byStream.get(flight.parcel.stream) ?? []
      const waiting = line.findIndex((one) => one.outcome === undefined)
      return line.splice(0, waiting < 0 ? line.length : waiting) as Required<Flight>[]
    },
  }
}
