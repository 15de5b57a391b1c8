import { isSameRef, nameOf } from '../../../agent/credential/credential-ref.ts'
import { createRotation } from '../../../agent/credential/rotation.ts'
import type { AuthPolicy } from '../../../agent/credential/policy.ts'
import type { AuthOrder, Rotation, RotationPorts, StepLimits } from '../../../agent/credential/rotation-ports.ts'
import { settled } from '../../kit/virtual-clock.ts'
import { createInvariants } from './invariants.ts'
import type { Invariants } from './invariants.ts'
import { createMachine } from './machine.ts'
import type { Machine } from './machine.ts'
import { createNetwork } from './network.ts'
import type { Network } from './network.ts'
import { createStorage } from './storage.ts'
import type { Issuing } from './storage.ts'
import type { World } from './world.ts'

/** What is the same for every boot of a device. */
export interface Setting extends Issuing {
  readonly policy: AuthPolicy
  readonly limits: StepLimits
  readonly seed: number
  /** Given once, when the device is connected for the first time after its first boot. */
  readonly order?: AuthOrder
  /** Something that is done wrong on purpose, to see whether it is noticed. */
  readonly spoil?: (ports: RotationPorts) => RotationPorts
}

/** A device under power. */
export interface Device {
  readonly machine: Machine
  readonly network: Network
  readonly rotation: Rotation
  readonly invariants: Invariants
  /** Lives on until `done`, or until nothing more happens in the time given; answers with `done`. */
  runUntil(done: () => boolean, withinMs: number): Promise<boolean>
  /** Connected with the active credential, and the twin is read. */
  isHome(): boolean
  /** At home, and nothing is under way or to be tried again. */
  isSettled(): boolean
  powerOff(): World
}

/** @param keepsPoints whether the moments at which the power can go are kept, each with its world */
export async function boot(start: World, setting: Setting, keepsPoints = false): Promise<Device> {
  const world = { ...start, boots: start.boots + 1 }
  const machine = createMachine(world, setting.seed, keepsPoints)
  machine.note(`boot ${world.boots}`)
  const invariants = createInvariants(machine, setting.policy)
  const network = createNetwork(machine, setting.policy, {
    onUse: (ref, where) => invariants.using(ref, where),
    onTwin: () => {
      rotation.wish(machine.world().cloud.desired)
      if (setting.order !== undefined && world.boots === 1 && !ordered) {
        ordered = true
        void rotation.order(setting.order)
      }
    },
    onWrong: (what) => invariants.wrong(what),
  })
  const storage = createStorage(machine, setting)
  const ports: RotationPorts = {
    ...storage,
    activate: (ref) => {
      invariants.activating(ref)
      return storage.activate(ref)
    },
    clock: machine.clock,
    random: machine.random,
    policy: setting.policy,
    limits: setting.limits,
    clockTrust: () => clockTrust(machine.world()),
    link: network.link,
    sendSomething: network.sendSomething,
    onChange: (change) => invariants.changed(change),
    onTrouble: (failure) => machine.note(`trouble: ${failure.code} ${failure.message}`),
  }
  let ordered = false
  const rotation = await createRotation(setting.spoil?.(ports) ?? ports)
  void rotation.run(new AbortController().signal).then(
    () => invariants.wrong('the rotation has ended'),
    (error: unknown) => invariants.wrong(`the rotation has ended: ${String(error)}`),
  )
  await settled()

  const isHome = () => {
    const { lifecycle } = rotation.record()
    const session = network.session()
    if (lifecycle.phase !== 'steady' && lifecycle.phase !== 'preparing') return false
    return session?.twinRead === true && isSameRef(session.ref, lifecycle.active)
  }
  return {
    machine,
    network,
    rotation,
    invariants,
    isHome,
    isSettled() {
      const { lifecycle, memory } = rotation.record()
      if (!isHome() || lifecycle.phase !== 'steady' || memory.retry !== undefined) return false
      return (memory.fallenBack?.returnAtMs ?? Infinity) > machine.clock.now() && isAsWished(rotation, machine)
    },
    async runUntil(done, withinMs) {
      const untilMs = machine.clock.monotonicMs() + withinMs
      while (!done()) {
        if (machine.clock.monotonicMs() >= untilMs) return false
        await machine.clock.step(untilMs)
        invariants.resting(rotation.record())
      }
      return true
    },
    powerOff() {
      machine.clock.stop()
      return machine.world()
    },
  }
}

/** Nothing of what the twin wishes is still to be begun. */
function isAsWished(rotation: Rotation, machine: Machine): boolean {
  const { desired } = machine.world().cloud
  const { lifecycle, memory } = rotation.record()
  if (lifecycle.phase !== 'steady') return false
  if (desired.sasRetired === true && memory.retirement?.done !== true) return false
  if (memory.settledVersion === desired.version) return true
  const renewed = desired.renew === undefined || desired.renew === memory.settledRenew
  return renewed && (desired.mode === undefined || desired.mode === lifecycle.active.lane)
}

/** Off by five minutes is wrong; whether the device knows that is chance. */
function clockTrust({ wallAheadMs, knowsClock }: World): ReturnType<RotationPorts['clockTrust']> {
  if (Math.abs(wallAheadMs) < 300_000) return 'trusted'
  return knowsClock ? 'wrong' : 'plausible'
}

/** What stands on the disk and in the cloud at an instant, in one line. */
export function standing({ disk, cloud }: World): string {
  const pointer = disk.pointer === undefined ? 'nothing' : nameOf(disk.pointer)
  return `pointer ${pointer}, the cloud accepts ${cloud.identity ?? 'nothing'} at ${cloud.hub}`
}
