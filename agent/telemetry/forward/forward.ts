import { asFailure, Failure } from '../../failure.ts'
import type { FailureCode } from '../../failure.ts'
import type { Bell } from '../bell.ts'
import type { Outgoing } from '../message.ts'
import type { Parcel, StreamView } from '../outbox/port.ts'
import type { Sample } from '../sample.ts'
import { createAllowance } from './allowance.ts'
import { backlogDepth, gatheredBy } from './backlog.ts'
import type { Backlog } from './backlog.ts'
import { createFlights } from './flights.ts'
import type { Flight, Flights, Outcome } from './flights.ts'
import { createMeter } from './meter.ts'
import { choose, noShares, serve, serviceOf } from './order.ts'
import type { Candidate } from './order.ts'
import { acknowledged, begin, newPace, rejected } from './pace.ts'
import { BLAMED_WITHIN_MS, cleared, isPoison, suspectAfterClose, travelsAlone } from './poison.ts'
import type { Place, Suspect } from './poison.ts'
import type { Forwarder, ForwarderOptions, Send } from './port.ts'
import { createWake } from './wake.ts'

/** A session that was away for less is taken up where it was: the backlog does not wait once more. */
const BRIEF_MS = 60_000

/** Ends of a session that may be the hub's answer to what was sent. */
const PERHAPS_AN_ANSWER: ReadonlySet<FailureCode> = new Set(['HUB_CLOSED', 'HUB_NO_ANSWER', 'NETWORK_RESET'])

/** Of what is not in the outbox. */
const NO_STREAM = -1

/** A message that could be next. */
interface Next extends Candidate {
  readonly after: number
}

/** What goes on in one session. */
interface Trip {
  readonly send: Send
  readonly beganAtMs: number
  flights: Flights
  /** Messages that were acknowledged. */
  acknowledged: number
  /** A suspect that is on its way: nothing else is sent before it has its answer. */
  alone: Parcel | undefined
  askedForWitness: boolean
  /** Why it ended, as the first send says that failed. */
  failure: Failure | undefined
}

export function createForwarder(options: ForwarderOptions): Forwarder {
  const { outbox, clock, random, limits } = options
  const now = () => clock.monotonicMs()
  const wake = createWake(clock)
  const drain = createAllowance(now())
  const paced = createAllowance(now())
  const samples = createMeter(now())
  const messages = createMeter(now())
  let pace = newPace(now())
  let shares = noShares
  let suspect: Suspect | undefined
  let backlog: Backlog = new Map()
  let drainFromMs = 0
  let endedAtMs: number | undefined
  let epoch = outbox.epoch()
  let present: Trip | undefined
  let beside: Sample | undefined

  const beginTrip = (send: Send): Trip => {
    const nowMs = now()
    const wasAway = endedAtMs === undefined || nowMs - endedAtMs >= BRIEF_MS
    backlog = gatheredBy(outbox.streams(), backlog)
    if (wasAway) drainFromMs = nowMs + limits.drainJitterMs * random()
    pace = begin(pace, nowMs)
    const flights = createFlights()
    const nothingYet = { acknowledged: 0, alone: undefined, askedForWitness: false, failure: undefined }
    present = { send, beganAtMs: nowMs, flights, ...nothingYet }
    return present
  }

  const isGathered = ({ key }: StreamView, seq: number) => seq <= (backlog.get(key) ?? 0)

  const candidatesOf = (trip: Trip): readonly Next[] =>
    outbox.streams().flatMap((stream) => {
      const { key, priority, head, closed, tailAtMs } = stream
      const after = Math.max(head - 1, trip.flights.sentUpTo(key) ?? 0)
      if (after >= closed) return []
      return [{ key, priority, newestAtMs: tailAtMs, after, gathered: isGathered(stream, after + 1) }]
    })

  /** Milliseconds for which a candidate has to wait. */
  const heldForMs = (candidate: Next, nowMs: number): number => {
    if (isSuspect(candidate)) return Number.POSITIVE_INFINITY
    const jitterMs = serviceOf(candidate) === 'backlog' ? drainFromMs - nowMs : 0
    const drainMs = candidate.gathered && limits.drainPerSecond > 0 ? drain.waitMs(limits.drainPerSecond, nowMs) : 0
    const paceMs = pace.perSecond === undefined ? 0 : paced.waitMs(pace.perSecond, nowMs)
    return Math.max(0, jitterMs, drainMs, paceMs)
  }

  const isSuspect = ({ key, after }: Next) => travelsAlone(suspect, { epoch, stream: key, first: after + 1 })

  const launch = (parcel: Parcel, trip: Trip, over: AbortController) => {
    const flight: Flight = { parcel, sentAtMs: now() }
    trip.flights.add(flight)
    sendOne(trip.send, parcel).then(
      (outcome) => land(flight, outcome, trip),
      (error: unknown) => {
        judgeEnd(trip, asFailure(error))
        over.abort(error)
      },
    )
  }

  const landBeside = (parcel: Parcel, trip: Trip) => {
    trip.acknowledged += 1
    options.onAcknowledged?.(parcel)
    wake.ring()
  }

  /** Nothing of the outbox hangs on it: a refusal is of no further interest, any other failure ends the session. */
  const launchBeside = (sample: Sample, trip: Trip, over: AbortController) => {
    beside = undefined
    const parcel: Parcel = { epoch, stream: NO_STREAM, first: 0, last: 0, samples: [sample], bytes: 0 }
    sendOne(trip.send, parcel).then(
      ({ end }) => (end === 'acknowledged' ? landBeside(parcel, trip) : undefined),
      (error: unknown) => over.abort(error),
    )
  }

  /** What cannot be made a message today cannot tomorrow. */
  const builtFrom = (parcel: Parcel): Outgoing | Failure => {
    try {
      return options.build(parcel)
    } catch (cause) {
      return new Failure('MESSAGE_REFUSED', `no message can be made of it: ${asFailure(cause).message}`, { cause })
    }
  }

  /** A refusal is an outcome like any other, since it ends nothing. */
  const sendOne = async (send: Send, parcel: Parcel): Promise<Outcome> => {
    const message = builtFrom(parcel)
    if (message instanceof Failure) return { end: 'refused', failure: message }
    try {
      await send(message)
      return { end: 'acknowledged' }
    } catch (error) {
      const failure = asFailure(error)
      if (failure.code === 'MESSAGE_REFUSED') return { end: 'refused', failure }
      throw failure
    }
  }

  const land = (flight: Flight, outcome: Outcome, trip: Trip) => {
    const nowMs = now()
    suspect = cleared(suspect, placeOf(flight.parcel))
    if (trip.alone === flight.parcel) trip.alone = undefined
    if (outcome.end === 'acknowledged') {
      trip.acknowledged += 1
      pace = acknowledged(pace, nowMs - flight.sentAtMs, limits.window, nowMs)
      messages.add(1, nowMs)
      samples.add(flight.parcel.samples.length, nowMs)
    }
    for (const landed of trip.flights.land(flight, outcome)) settle(landed)
    wake.ring()
  }

  const settle = ({ parcel, outcome }: Required<Flight>) => {
    if (outcome.end === 'acknowledged') {
      outbox.acknowledge(parcel)
      options.onAcknowledged?.(parcel)
    } else {
      outbox.setAside(parcel, outcome.failure)
      options.onSetAside?.(parcel, outcome.failure)
    }
  }

  /** Sends all that may go now. @returns milliseconds until more may; undefined when only a ring can change that */
  const sendAll = (trip: Trip, over: AbortController): number | undefined => {
    for (;;) {
      const nowMs = now()
      const due = outbox.closeBatches()
      if (beside !== undefined && trip.alone === undefined) launchBeside(beside, trip, over)
      if (trip.flights.count() >= pace.window || trip.alone !== undefined) return undefined
      const candidates = candidatesOf(trip)
      const suspected = candidates.find(isSuspect)
      if (suspected !== undefined && trip.acknowledged > 0) return sendAlone(suspected, trip, over)
      const held = candidates.map((candidate) => heldForMs(candidate, nowMs))
      const ready = candidates.filter((_, at) => held[at] === 0)
      const chosen = choose(ready, shares)
      const parcel = chosen && outbox.next(chosen.key, chosen.after)
      if (chosen === undefined || parcel === undefined) {
        if (suspected !== undefined && candidates.length === 1) askForWitness(trip)
        return soonest([...held, due === undefined ? Number.POSITIVE_INFINITY : Math.max(1, due - nowMs)])
      }
      shares = serve(chosen, ready, shares)
      if (chosen.gathered && limits.drainPerSecond > 0) drain.take(limits.drainPerSecond, nowMs)
      if (pace.perSecond !== undefined) paced.take(pace.perSecond, nowMs)
      launch(parcel, trip, over)
    }
  }

  /** The hub takes messages: what it does now with the suspect alone on its way is about the suspect. */
  const sendAlone = ({ key, after }: Next, trip: Trip, over: AbortController): undefined => {
    if (trip.flights.count() > 0) return
    trip.alone = outbox.next(key, after)
    if (trip.alone !== undefined) launch(trip.alone, trip, over)
  }

  /** When nothing but a suspect is left and the hub has taken nothing yet, nobody could tell whose fault a close is. */
  const askForWitness = (trip: Trip) => {
    if (trip.askedForWitness || trip.acknowledged > 0) return
    trip.askedForWitness = true
    options.askForWitness?.()
  }

  /** What the end of a session, told by the first send that failed, says about pace and message. */
  const judgeEnd = (trip: Trip, failure: Failure) => {
    if (trip.failure !== undefined) return
    trip.failure = failure
    const oldest = trip.flights.oldest()
    if (!PERHAPS_AN_ANSWER.has(failure.code) || oldest === undefined) return
    const nowMs = now()
    const reached = (trip.acknowledged * 1000) / Math.max(1000, nowMs - trip.beganAtMs)
    pace = rejected(pace, Math.max(reached, messages.perSecond(nowMs)), nowMs)
    if (failure.code === 'HUB_NO_ANSWER') return
    const blamed = nowMs - oldest.sentAtMs < BLAMED_WITHIN_MS ? placeOf(oldest.parcel) : undefined
    suspect = suspectAfterClose(suspect, blamed, trip.alone === oldest.parcel)
    if (!isPoison(suspect)) return
    suspect = undefined
    const never = 'the hub has closed three sessions when this message was sent alone, though it took others'
    const outcome: Outcome = { end: 'refused', failure: new Failure('MESSAGE_REFUSED', never, { cause: failure }) }
    for (const landed of trip.flights.land(oldest, outcome)) settle(landed)
  }

  /** Numbers of before mean nothing in an outbox that was made anew: what was on its way is sent again. */
  const followEpoch = (trip: Trip) => {
    if (outbox.epoch() === epoch) return
    epoch = outbox.epoch()
    backlog = gatheredBy(outbox.streams(), new Map())
    suspect = undefined
    trip.alone = undefined
    trip.flights = createFlights()
  }

  const passOn = async (bell: Bell, signal: AbortSignal): Promise<never> => {
    for (;;) {
      await bell.next(signal)
      wake.ring()
    }
  }

  return {
    async run(send, signal) {
      const over = new AbortController()
      const stop = AbortSignal.any([signal, over.signal])
      const trip = beginTrip(send)
      // The loop below reports the end; this one only passes rings on until then.
      passOn(outbox.arrived, stop).catch(over.abort.bind(over))
      try {
        for (;;) {
          followEpoch(trip)
          await wake.wait(sendAll(trip, over), stop)
        }
      } finally {
        over.abort()
        endedAtMs = now()
        if (present === trip) present = undefined
      }
    },
    sendBeside(sample) {
      beside = sample
      wake.ring()
    },
    facts() {
      const nowMs = now()
      const left = backlogDepth(outbox.streams(), backlog)
      const beginsInMs = drainFromMs - nowMs
      return {
        inFlight: present?.flights.count() ?? 0,
        window: pace.window,
        samplesPerSecond: samples.perSecond(nowMs),
        backlog: left,
        ...(left > 0 && beginsInMs > 0 && { drainBeginsInMs: beginsInMs }),
        ...(pace.perSecond !== undefined && { paceLimitPerSecond: pace.perSecond }),
      }
    },
  }
}

function placeOf({ epoch, stream, first }: Parcel): Place {
  return { epoch, stream, first }
}

/** The least of them; undefined when none is finite. */
function soonest(delaysMs: readonly number[]): number | undefined {
  const least = Math.min(...delaysMs)
  return Number.isFinite(least) ? least : undefined
}
