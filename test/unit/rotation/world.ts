import type { Cloud } from './cloud.ts'
import type { Disk } from './disk.ts'
import type { Trace } from './trace.ts'

/** Everything that outlives a power cut, as one value that is never changed: to keep it is to be able to go back. */
export interface World {
  /** What every other clock should show. Milliseconds since 1970, as all true times. */
  readonly trueMs: number
  /** How far the wall clock of the device is ahead of it. */
  readonly wallAheadMs: number
  /** Whether the device knows that its clock is wrong. */
  readonly knowsClock: boolean
  readonly disk: Disk
  readonly cloud: Cloud
  readonly tally: Tally
  readonly boots: number
  readonly trace: Trace | undefined
}

/** What is counted since the world began. */
export interface Tally {
  readonly registrations: number
  readonly connections: number
  /** Credentials that have read the twin and had a message acknowledged. */
  readonly proven: readonly string[]
  /** When registrations with another credential began; true time. */
  readonly moves: readonly number[]
  /** When the device lost count of those: its clock was set, or its record was lost. */
  readonly upsets: readonly number[]
}

export const nothingCounted: Tally = { registrations: 0, connections: 0, proven: [], moves: [], upsets: [] }

/** A moment at which the power can go: what was before it is done, what comes after it never happens. */
export interface CutPoint {
  readonly name: string
  readonly world: World
  /** The record was being written: it may also be unreadable afterwards. */
  readonly mayTear: boolean
  /** It is: with it has gone what the device remembered. */
  readonly isTorn: boolean
}

/** The world as a power cut leaves it whose record cannot be read any more; the real adapter sets such a one aside. */
export function withTornRecord(world: World): World {
  const { disk, tally, trueMs } = world
  return { ...world, disk: { ...disk, record: undefined }, tally: { ...tally, upsets: [...tally.upsets, trueMs] } }
}
