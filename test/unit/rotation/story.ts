import { nameOf } from '../../../agent/credential/credential-ref.ts'
import type { AuthOrder, AuthWishes } from '../../../agent/credential/rotation-ports.ts'
import { calmed } from './cloud.ts'
import type { Cloud } from './cloud.ts'
import { boot } from './device.ts'
import type { Device, Setting } from './device.ts'
import { nextGeneration } from './disk.ts'
import { readable } from './trace.ts'
import { calm } from './troubles.ts'
import type { Trouble } from './troubles.ts'
import { withTornRecord } from './world.ts'
import type { World } from './world.ts'

/** What can befall a device, as data: a story that fails is a test when it is written down. */
export type Deed =
  | { readonly deed: 'wish'; readonly wishes: Omit<AuthWishes, 'version'> }
  | { readonly deed: 'order'; readonly order: AuthOrder['order'] }
  | { readonly deed: 'pass'; readonly ms: number }
  /** At one of the moments since the last deed, counted in hundredths of them. */
  | { readonly deed: 'cut'; readonly at: number; readonly torn: boolean }
  | { readonly deed: 'disconnect' }
  /** `about`: the credential that the trouble is about. */
  | { readonly deed: 'trouble'; readonly trouble: Trouble; readonly about: 'sas' | 'next' | 'active' }
  | { readonly deed: 'calm' }
  | { readonly deed: 'revoke'; readonly lane: 'sas' | 'x509' }
  | { readonly deed: 'forget' }
  | { readonly deed: 'setClock'; readonly aheadMs: number; readonly knows: boolean }
  | { readonly deed: 'fillDisk' }
  | { readonly deed: 'freeDisk' }

export interface Ending {
  readonly violations: readonly string[]
  readonly isHome: boolean
  /** From the moment on from which everything behaved. */
  readonly homeAfterMs: number
  readonly trace: string
}

/** Plays a story; then cloud, clock and disk behave, and the device has `homeWithinMs` to find home. */
export async function play(
  start: World,
  setting: Setting,
  deeds: readonly Deed[],
  homeWithinMs: number,
): Promise<Ending> {
  let device = await boot(start, setting, true)
  let seen = 0
  const violations: string[] = []
  for (const deed of deeds) {
    const before = device.machine.points.length
    const after = await act(device, setting, deed, seen)
    if (after !== device) {
      violations.push(...device.invariants.violations)
      seen = 0
    } else if (deed.deed !== 'cut') seen = before
    device = after
  }
  const { machine, network } = device
  machine.note('from here on everything behaves')
  behave(device)
  const sinceMs = machine.clock.monotonicMs()
  const isQuiet = () => device.isHome() && machine.world().cloud.late.length === 0
  let isHome = await device.runUntil(isQuiet, homeWithinMs)
  if (isHome && !isAccepted(device)) {
    network.session()?.end('NETWORK_RESET', 'the connection is cut')
    isHome = await device.runUntil(isQuiet, homeWithinMs)
  }
  violations.push(...device.invariants.violations)
  if (isHome && !isAccepted(device)) violations.push('the cloud does not accept what is active')
  const homeAfterMs = machine.clock.monotonicMs() - sinceMs
  return { violations, isHome, homeAfterMs, trace: readable(device.powerOff().trace) }
}

async function act(device: Device, setting: Setting, deed: Deed, seen: number): Promise<Device> {
  const { machine, network, rotation } = device
  const { disk } = machine.world()
  if (deed.deed !== 'pass') machine.note(`--- ${JSON.stringify(deed)}`)
  switch (deed.deed) {
    case 'wish':
      network.changeCloud((cloud) => ({ ...cloud, desired: { ...deed.wishes, version: cloud.desired.version + 1 } }))
      if (network.session()?.twinRead === true) rotation.wish(machine.world().cloud.desired)
      break
    case 'order':
      void rotation.order({ order: deed.order, cause: 'command', rehearse: false })
      break
    case 'pass':
      await device.runUntil(() => false, deed.ms)
      return device
    case 'cut':
      return cut(device, setting, deed, seen)
    case 'disconnect':
      network.session()?.end('NETWORK_RESET', 'the connection is cut')
      break
    case 'trouble':
      network.changeCloud((cloud) => troubled(device, cloud, deed))
      break
    case 'calm':
      network.changeCloud((cloud) => ({ ...calmed(cloud), trouble: calm, revoked: [] }))
      break
    case 'revoke': {
      const names = deed.lane === 'sas' ? ['sas'] : disk.certificates.map(({ ref }) => ref.generation)
      network.changeCloud((cloud) => ({ ...cloud, revoked: [...cloud.revoked, ...names] }))
      break
    }
    case 'forget':
      network.changeCloud((cloud) => ({ ...cloud, identity: undefined, tookLast: undefined }))
      break
    case 'setClock':
      setClock(device, deed.aheadMs, deed.knows)
      break
    case 'fillDisk':
      machine.change({ disk: { ...disk, isFull: true } })
      break
    case 'freeDisk':
      machine.change({ disk: { ...disk, isFull: false } })
      break
  }
  await device.runUntil(() => false, 10)
  return device
}

function cut(
  device: Device,
  setting: Setting,
  { at, torn }: Extract<Deed, { deed: 'cut' }>,
  seen: number,
): Promise<Device> {
  const moments = device.machine.points.slice(seen)
  const moment = moments[Math.floor((moments.length * at) / 100)]
  const world = moment?.world ?? device.machine.world()
  device.powerOff()
  return boot(torn ? withTornRecord(world) : world, setting, true)
}

function troubled(device: Device, cloud: Cloud, { trouble, about }: Extract<Deed, { deed: 'trouble' }>): Cloud {
  const { disk } = device.machine.world()
  const { lifecycle } = device.rotation.record()
  const active = 'active' in lifecycle ? nameOf(lifecycle.active) : 'sas'
  const candidate = about === 'sas' ? 'sas' : about === 'active' ? active : nextGeneration(disk).generation
  return { ...cloud, trouble, candidate, troubleSinceMs: device.machine.trueMs(), forgotten: false }
}

function setClock({ machine }: Device, aheadMs: number, knowsClock: boolean): void {
  machine.stepWall(aheadMs - machine.world().wallAheadMs, knowsClock)
  const { tally } = machine.world()
  machine.change({ tally: { ...tally, upsets: [...tally.upsets, machine.trueMs()] } })
}

function behave(device: Device): void {
  const { machine, network } = device
  network.changeCloud((cloud) => ({ ...cloud, trouble: calm, revoked: [] }))
  machine.stepWall(-machine.world().wallAheadMs, true)
  machine.change({ disk: { ...machine.world().disk, isFull: false } })
}

function isAccepted({ machine, rotation }: Device): boolean {
  const { lifecycle } = rotation.record()
  return 'active' in lifecycle && machine.world().cloud.identity === nameOf(lifecycle.active)
}
