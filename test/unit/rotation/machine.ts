import { createChance } from '../../kit/chance.ts'
import { createVirtualClock } from '../../kit/virtual-clock.ts'
import type { VirtualClock } from '../../kit/virtual-clock.ts'
import type { CutPoint, World } from './world.ts'

/** One boot of the device, from the moment the power comes until it goes: what it changes of the world. */
export interface Machine {
  readonly clock: VirtualClock
  /** Uniform in [0, 1). */
  readonly random: () => number
  trueMs(): number
  /** The world that a power cut at this moment leaves. */
  world(): World
  change(part: Partial<Pick<World, 'disk' | 'cloud' | 'tally'>>): void
  /** Says in the trace what has just happened. */
  note(what: string): void
  /** A moment at which the power can go. */
  point(name: string, mayTear?: boolean): void
  /** The moments since the boot, if they are kept. */
  readonly points: readonly CutPoint[]
  /** @param knows whether the device can tell that its clock is wrong */
  stepWall(ms: number, knows: boolean): void
}

/** @param keepsPoints whether each cut point is kept with its world */
export function createMachine(start: World, seed: number, keepsPoints: boolean): Machine {
  const clock = createVirtualClock(start.trueMs + start.wallAheadMs)
  const random = createChance(seed * 1_000 + start.boots)
  const points: CutPoint[] = []
  let { disk, cloud, tally, trace, wallAheadMs, knowsClock } = start

  const trueMs = () => start.trueMs + clock.monotonicMs()
  const world = (): World => ({ ...start, trueMs: trueMs(), wallAheadMs, knowsClock, disk, cloud, tally, trace })
  return {
    clock,
    random,
    trueMs,
    world,
    points,
    change(part) {
      disk = part.disk ?? disk
      cloud = part.cloud ?? cloud
      tally = part.tally ?? tally
    },
    note(what) {
      trace = { trueMs: trueMs(), what, before: trace }
    },
    point(name, mayTear = false) {
      if (keepsPoints) points.push({ name, world: world(), mayTear, isTorn: false })
    },
    stepWall(ms, knows) {
      clock.stepWall(ms)
      wallAheadMs += ms
      knowsClock = knows
    },
  }
}
