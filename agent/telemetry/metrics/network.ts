import type { NetworkInterface } from '../device-message.ts'
import { present } from './reading.ts'
import { readInteger } from './tree.ts'
import type { Tree } from './tree.ts'

/** Interfaces of one message at most: each takes about 130 bytes of it. */
const MAX_INTERFACES = 16

/**
 * What container engines, virtual machines and the kernel itself make, as opposed to what an operator set up: their
 * traffic is counted once more at the interface through which it leaves.
 */
const INTERNAL =
  /^(lo$|veth|docker|br-|virbr|vnet|tap|cni|flannel|cali|cilium|lxc|podman|kube|ifb|dummy|tunl|sit|gre|ip6)/

type Counters = Omit<NetworkInterface, 'up' | 'signalDbm'>

/** Reads the network interfaces that stand for a connection of the machine; none are left out as a whole. */
export async function readNetwork(tree: Tree): Promise<Readonly<Record<string, NetworkInterface>> | undefined> {
  const counters = [...parseInterfaces(await tree.read('proc/net/dev'))].slice(0, MAX_INTERFACES)
  if (counters.length === 0) return undefined
  const signals = parseSignals(await tree.read('proc/net/wireless'))
  const interfaces = new Map<string, NetworkInterface>()
  for (const [name, counts] of counters) {
    const up = await readUp(tree, name)
    interfaces.set(name, { ...present({ up }), ...counts, ...present({ signalDbm: signals.get(name) }) })
  }
  return Object.fromEntries(interfaces)
}

/**
 * Counters of /proc/net/dev by interface: bytes packets errs drop fifo frame compressed multicast of what came in, and
 * from the ninth on bytes packets errs drop of what went out. Source: kernel, net/core/net-procfs.c.
 */
export function parseInterfaces(text: string | undefined): ReadonlyMap<string, Counters> {
  const found = new Map<string, Counters>()
  for (const line of (text ?? '').split('\n')) {
    const [, name = '', rest = ''] = /^\s*([^\s:]+):\s*(.*)$/.exec(line) ?? []
    if (name === '' || INTERNAL.test(name)) continue
    const numbers = rest.trim().split(/\s+/).map(readInteger)
    const [rxBytes, , rxErrors, rxDropped, , , , , txBytes, , txErrors, txDropped] = numbers
    if (rxBytes === undefined || rxErrors === undefined || rxDropped === undefined) continue
    if (txBytes === undefined || txErrors === undefined || txDropped === undefined) continue
    found.set(name, { rxBytes, txBytes, rxErrors, txErrors, rxDropped, txDropped })
  }
  return found
}

/**
 * Signal levels of /proc/net/wireless by interface. A driver that measures in dBm gives a negative number, which is
 * -256 when it has none; any other is on a scale of the driver's own. Source: kernel, net/wireless/wext-proc.c.
 */
export function parseSignals(text: string | undefined): ReadonlyMap<string, number> {
  const found = new Map<string, number>()
  for (const line of (text ?? '').split('\n')) {
    const [, name = '', level] = /^\s*([^\s:]+):\s+[0-9a-f]{4}\s+-?\d+\.?\s+(-\d{1,3})\.?\s/.exec(line) ?? []
    const dbm = readInteger(level)
    if (dbm !== undefined && dbm > -256) found.set(name, dbm)
  }
  return found
}

/**
 * RFC 2863's state; `unknown` is that of a driver which does not keep it, where the carrier tells, and reading the
 * carrier of an interface that is off is EINVAL. Source: kernel, Documentation/networking/operstates.rst.
 */
async function readUp(tree: Tree, name: string): Promise<boolean | undefined> {
  const state = await tree.read(`sys/class/net/${name}/operstate`)
  if (state !== 'unknown') return state === undefined ? undefined : state === 'up'
  return (await tree.read(`sys/class/net/${name}/carrier`)) === '1'
}
