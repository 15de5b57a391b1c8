import { boot } from './device.ts'
import type { Setting } from './device.ts'
import { createJudge } from './judge.ts'
import type { Bounds, Findings } from './judge.ts'
import type { Scenario } from './scenarios.ts'
import { calm } from './troubles.ts'
import type { Trouble } from './troubles.ts'
import { withTornRecord } from './world.ts'
import type { CutPoint, World } from './world.ts'

/** A run is left after this when it does not come to rest by itself. */
const HORIZON_MS = 90 * 60_000

/**
 * Cuts the power at every pair of moments of one transition: the second is counted from the boot after the first. Then
 * the cloud behaves, and the device has to find home.
 */
export async function cutTwice(
  scenario: Scenario,
  trouble: Trouble,
  setting: Setting,
  boundsOf: (cuts: readonly CutPoint[]) => Bounds,
): Promise<Findings> {
  const start = { ...scenario.start, cloud: { ...scenario.start.cloud, trouble } }
  const judge = createJudge(scenario, trouble, setting)
  const momentsFrom = async (world: World, cuts: readonly CutPoint[]) => {
    const device = await boot(world, setting, true)
    await device.runUntil(() => device.isSettled(), HORIZON_MS)
    judge.onTheWay(device, cuts)
    device.powerOff()
    return momentsIn(device.machine.points, trouble === calm)
  }
  const firsts = await momentsFrom(start, [])
  for (const first of firsts)
    for (const second of await momentsFrom(first.world, [first]))
      await judge.atTheEnd(second.world, [first, second], boundsOf([first, second]))
  return judge.findings(firsts.length)
}

/**
 * The moments that differ: every one with a cloud that accepts; else those between which disk or cloud have changed,
 * since between the others only time has passed. A record that was being written may also be torn.
 */
function momentsIn(points: readonly CutPoint[], all: boolean): readonly CutPoint[] {
  const differ = points.filter((point, at) => all || !isSameState(point.world, points[at - 1]?.world))
  return differ.flatMap((point) => (point.mayTear ? [point, torn(point)] : [point]))
}

function torn({ name, world, mayTear }: CutPoint): CutPoint {
  return { name: `${name}, which is torn`, world: withTornRecord(world), mayTear, isTorn: true }
}

function isSameState(one: World, other: World | undefined): boolean {
  if (other === undefined) return false
  const { identity, hub, late, forgotten } = one.cloud
  return (
    one.disk === other.disk &&
    identity === other.cloud.identity &&
    hub === other.cloud.hub &&
    late === other.cloud.late &&
    forgotten === other.cloud.forgotten
  )
}
