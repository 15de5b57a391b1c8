import type { Clock } from '../system/clock.ts'
import { MEASUREMENT_HOLDS_MS } from './trust.ts'
import type { ClockFacts, MeasuredSkew } from './trust.ts'

/** What speaks for the clock and against it, and how long each word of it counts. */
export interface Evidence {
  /** Takes the present instant, and voids what a movement of the clock has voided. */
  look(): Sight
  /** What the system says of the clock. A movement that came while it was asked is found by the next `look`. */
  takeSynchronised(answer: boolean | undefined): void
  takeMeasured(skewMs: number, verified: boolean): void
}

export interface Sight {
  readonly wallMs: number
  readonly movement: Movement | undefined
  readonly facts: Omit<ClockFacts, 'nowMs' | 'floors'>
}

/** What moved the wall clock otherwise than by time that passed. */
export interface Movement {
  readonly event: 'the clock was set' | 'the machine slept'
  /** Negative when it was set back. */
  readonly byMs: number
}

/** Less than this is slewing, a leap second, or the time between two readings. */
const STEP_MS = 5_000

interface Instants {
  readonly wallMs: number
  readonly upMs: number
  readonly monotonicMs: number
}

/** The time of a server at an instant that nobody can set: a step of the wall clock moves the skew with it. */
interface Anchor {
  readonly serverMs: number
  readonly atUpMs: number
  readonly verified: boolean
}

/** @param uptimeMs time since the start of the machine, its sleep included */
export function createEvidence(clock: Clock, uptimeMs: () => number): Evidence {
  const read = (): Instants => ({ wallMs: clock.now(), upMs: uptimeMs(), monotonicMs: clock.monotonicMs() })
  let mark = read()
  let synchronised: boolean | undefined
  let sinceUpMs = mark.upMs
  let anchor: Anchor | undefined

  return {
    look() {
      const at = read()
      const movement = movementBetween(mark, at)
      if (movement !== undefined) synchronised = undefined
      else if (isUptimeBroken(mark, at)) anchor = undefined
      mark = at
      const synchronisedForMs = synchronised === true ? at.upMs - sinceUpMs : 0
      return { wallMs: at.wallMs, movement, facts: { synchronised, synchronisedForMs, measured: skewAt(anchor, at) } }
    },
    takeSynchronised(answer) {
      if (answer !== synchronised) sinceUpMs = uptimeMs()
      synchronised = answer
    },
    takeMeasured(skewMs, verified) {
      anchor = { serverMs: clock.now() + skewMs, atUpMs: uptimeMs(), verified }
    },
  }
}

/** A machine that sleeps moves wall clock and uptime together, whoever sets the clock moves only the one. */
function movementBetween(before: Instants, at: Instants): Movement | undefined {
  const wallMs = at.wallMs - before.wallMs
  const aheadMs = wallMs - (at.monotonicMs - before.monotonicMs)
  if (Math.abs(aheadMs) <= STEP_MS) return undefined
  const setByMs = wallMs - (at.upMs - before.upMs)
  return Math.abs(setByMs) > STEP_MS
    ? { event: 'the clock was set', byMs: setByMs }
    : { event: 'the machine slept', byMs: aheadMs }
}

/** Uptime alone moved: a container whose /proc was exchanged. What hangs on it is worth nothing. */
function isUptimeBroken(before: Instants, at: Instants): boolean {
  return Math.abs(at.upMs - before.upMs - (at.monotonicMs - before.monotonicMs)) > STEP_MS
}

function skewAt(anchor: Anchor | undefined, at: Instants): MeasuredSkew | undefined {
  if (anchor === undefined) return undefined
  const ageMs = at.upMs - anchor.atUpMs
  const skewMs = anchor.serverMs + ageMs - at.wallMs
  return ageMs < MEASUREMENT_HOLDS_MS ? { skewMs, ageMs, verified: anchor.verified } : undefined
}
