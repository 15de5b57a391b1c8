import { isSameRef, nameOf } from '../../../agent/credential/credential-ref.ts'
import { calmed, knows } from './cloud.ts'
import { boot, standing } from './device.ts'
import type { Device, Setting } from './device.ts'
import { holds } from './disk.ts'
import type { Scenario } from './scenarios.ts'
import { readable } from './trace.ts'
import { calm } from './troubles.ts'
import type { Trouble } from './troubles.ts'
import type { CutPoint, World } from './world.ts'

/** What a device may take from a boot with a cloud that behaves until it is at home. */
export interface Bounds {
  readonly homeWithinMs: number
  /** Registrations and connections together. */
  readonly attempts: number
}

/** What was seen over many runs of one transition with one cloud. */
export interface Findings {
  /** At which the power can go in an undisturbed run. */
  readonly moments: number
  readonly runs: number
  /** From the last boot until the device was at home. */
  readonly longestMs: number
  /** Since the last boot. */
  readonly mostAttempts: number
  /** Each with all steps that led to it. */
  readonly failures: readonly string[]
}

/** Says of each run of a transition whether it may be so. */
export interface Judge {
  /** A run whose end says nothing, since the power goes again. */
  onTheWay(device: Device, cuts: readonly CutPoint[]): void
  /** Boots for the last time, with a cloud that behaves, and watches the device find home. */
  atTheEnd(world: World, cuts: readonly CutPoint[], bounds: Bounds): Promise<void>
  findings(moments: number): Findings
}

const MINUTE_MS = 60_000

/** From home to where the wish leads; most of it is the pause before an interrupted move is tried again. */
const SETTLED_WITHIN_MS = 6 * 60 * MINUTE_MS

export function createJudge(scenario: Scenario, trouble: Trouble, setting: Setting): Judge {
  const failures: string[] = []
  let runs = 0
  let longestMs = 0
  let mostAttempts = 0

  const fail = (device: Device, cuts: readonly CutPoint[], what: string) => {
    const world = device.machine.world()
    const where = cuts.map(({ name }) => name).join('; then ')
    failures.push(
      `${scenario.name}, and the cloud ${trouble.name}; power cut ${where}\n` +
        `  ${what}; ${standing(world)}\n${readable(world.trace)}`,
    )
  }
  const onTheWay: Judge['onTheWay'] = (device, cuts) => {
    runs += 1
    if (device.invariants.violations.length > 0) fail(device, cuts, device.invariants.violations.join('; '))
  }
  /** In the end the wish is fulfilled, since nobody has refused it. */
  const arrive = async (device: Device, cuts: readonly CutPoint[]) => {
    const hasArrived = () => device.isSettled() && reaches(activeName(device), scenario.goal)
    if (!(await device.runUntil(hasArrived, SETTLED_WITHIN_MS)))
      fail(device, cuts, `it is on ${activeName(device)} and not on ${scenario.goal}`)
    if (device.invariants.violations.length > 0) fail(device, cuts, device.invariants.violations.join('; '))
    for (const what of wrongAtHome(device, setting)) fail(device, cuts, what)
  }

  return {
    onTheWay,
    findings: (moments) => ({ moments, runs, longestMs, mostAttempts, failures }),
    async atTheEnd(world, cuts, { homeWithinMs, attempts: mayTake }) {
      const device = await boot({ ...world, cloud: calmed(world.cloud) }, setting)
      const isHome = await findsHome(device, homeWithinMs)
      const attempts = attemptsOf(device.machine.world()) - attemptsOf(world)
      longestMs = Math.max(longestMs, device.machine.clock.monotonicMs())
      mostAttempts = Math.max(mostAttempts, attempts)
      onTheWay(device, cuts)
      if (!isHome) fail(device, cuts, `not at home after ${homeWithinMs / MINUTE_MS} minutes`)
      else if (attempts > mayTake) fail(device, cuts, `at home only after ${attempts} attempts`)
      else for (const what of wrongAtHome(device, setting)) fail(device, cuts, what)
      if (isHome && trouble === calm && scenario.order === undefined) await arrive(device, cuts)
      device.powerOff()
    },
  }
}

/** At home for good: nothing that DPS still has in hand can change it, and a new session is let in as well. */
async function findsHome(device: Device, withinMs: number): Promise<boolean> {
  const { machine, network } = device
  const isQuiet = () => device.isHome() && machine.world().cloud.late.length === 0
  if (!(await device.runUntil(isQuiet, withinMs))) return false
  if (knows(machine.world().cloud, activeName(device))) return true
  network.session()?.end('NETWORK_RESET', 'the connection is cut')
  return device.runUntil(isQuiet, withinMs)
}

/** What does not fit together on a device that is at home. */
function wrongAtHome(device: Device, setting: Setting): readonly string[] {
  const { disk, cloud } = device.machine.world()
  const { lifecycle } = device.rotation.record()
  if (!('active' in lifecycle)) return ['at home without a credential']
  const { active } = lifecycle
  return [
    ...(holds(disk, active, setting.policy) ? [] : [`${nameOf(active)} is not on the device`]),
    ...(knows(cloud, nameOf(active)) ? [] : [`the cloud accepts ${cloud.identity}, and not ${nameOf(active)}`]),
    ...(disk.pointer === undefined || isSameRef(disk.pointer, active) ? [] : ['record and pointer disagree']),
  ]
}

/** A later generation than the goal is as good: a wish whose fulfilment was forgotten is fulfilled again. */
function reaches(active: string, goal: string): boolean {
  return active === goal || (goal !== 'sas' && active !== 'sas' && active > goal)
}

function activeName(device: Device): string {
  const { lifecycle } = device.rotation.record()
  return 'active' in lifecycle ? nameOf(lifecycle.active) : 'nothing'
}

function attemptsOf({ tally }: World): number {
  return tally.registrations + tally.connections
}
