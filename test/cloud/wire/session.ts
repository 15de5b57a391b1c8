/** The state of one client that may outlive its connection: subscriptions, and QoS 1 messages it has not acknowledged. */
import { covers } from './topics.ts'

/** One message on its way to a client. */
export interface Flight {
  readonly topic: string
  readonly payload: Buffer
  readonly acknowledged: () => void
  /** The session that held it is gone, and it was not acknowledged. */
  readonly lost: () => void
}

export interface Session {
  readonly subscriptions: Map<string, 0 | 1>
  /** By packet identifier, oldest first. */
  readonly flights: Map<number, Flight>
  /** Highest granted QoS among the filters that cover `topic`; undefined when none does. */
  grantedFor(topic: string): 0 | 1 | undefined
  takeOff(flight: Flight): number
  /** Ends the session; every flight is lost. */
  end(): void
}

export function createSession(): Session {
  const subscriptions = new Map<string, 0 | 1>()
  const flights = new Map<number, Flight>()
  let lastId = 0
  return {
    subscriptions,
    flights,
    grantedFor(topic) {
      const granted = [...subscriptions].filter(([filter]) => covers(filter, topic)).map(([, qos]) => qos)
      if (granted.length === 0) return undefined
      return granted.includes(1) ? 1 : 0
    },
    takeOff(flight) {
      do lastId = (lastId % 65_535) + 1
      while (flights.has(lastId))
      flights.set(lastId, flight)
      return lastId
    },
    end() {
      const lost = [...flights.values()]
      flights.clear()
      for (const flight of lost) flight.lost()
    },
  }
}
