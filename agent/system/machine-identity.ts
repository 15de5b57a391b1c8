import { readdirSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { errorCode } from './error-code.ts'
import { lookAtLine, lookAtSerial, nothingAt } from './machine-files.ts'
import type { Look, MachineRoot } from './machine-files.ts'
import type { MachineIdentity, MachineKind } from './machine-kind.ts'

/** The machine that this process runs on. */
export const thisMachine: MachineRoot = { root: '/', hostname }

/** Both are one file; older kernels have only the second. Source: Documentation/ABI/testing/sysfs-firmware-ofw. */
const DEVICE_TREE_SERIALS = ['/sys/firmware/devicetree/base/serial-number', '/proc/device-tree/serial-number'] as const

/** Source: Documentation/ABI/testing/sysfs-devices-soc. */
const SOC_SERIAL = '/sys/devices/soc0/serial_number'

const INTERFACES = '/sys/class/net'

/** Reads what this machine shows to the user of this process. Never throws for what is not there. */
export function readMachineIdentity(machine: Pick<MachineRoot, 'root'>): MachineIdentity {
  const found: Readonly<Record<MachineKind, readonly string[]>> = {
    deviceTreeSerial: valuesOf(lookAtDeviceTree(machine)).slice(0, 1),
    socSerial: valuesOf([lookAtSerial(machine, SOC_SERIAL)]),
    productUuid: valuesOf([lookAtDmi(machine, 'product_uuid')]),
    productSerial: valuesOf([lookAtDmi(machine, 'product_serial')]),
    macs: physicalMacs(machine),
  }
  return Object.fromEntries(Object.entries(found).filter(([, values]) => values.length > 0))
}

/** The serial number of the board, wherever a device tree may have it. */
export function lookAtDeviceTree(machine: Pick<MachineRoot, 'root'>): readonly Look[] {
  return DEVICE_TREE_SERIALS.map((place) => lookAtSerial(machine, place))
}

/** One name of the firmware of a PC. Source: Documentation/ABI/testing/sysfs-class-dmi; drivers/firmware/dmi-id.c. */
export function lookAtDmi(machine: Pick<MachineRoot, 'root'>, name: string): Look {
  return lookAtSerial(machine, `/sys/class/dmi/id/${name}`)
}

/** The address that a network interface has from its maker, as `b8:27:eb:12:34:56`; none if it was given another one. */
export function lookAtMac(machine: Pick<MachineRoot, 'root'>, name: string): Look {
  const folder = `${INTERFACES}/${name}`
  const look = lookAtLine(machine, `${folder}/address`)
  if (look.value === undefined) return look
  const assigned = lookAtLine(machine, `${folder}/addr_assign_type`).value
  if (assigned !== PERMANENT) return nothingAt(look.place, 'is not the address from its maker (addr_assign_type)')
  const mac = look.value.toLowerCase()
  return isUnicast(mac) ? { place: look.place, value: mac } : nothingAt(look.place, 'is no address of one interface')
}

/** NET_ADDR_PERM. Source: Documentation/ABI/testing/sysfs-class-net, addr_assign_type. */
const PERMANENT = '0'

/**
 * Of the interfaces that are hardware: those of bridges, tunnels and containers have no device. An address that is
 * administered locally may be the same in many machines, or another one at each start.
 */
function physicalMacs(machine: Pick<MachineRoot, 'root'>): readonly string[] {
  const names = namesIn(join(machine.root, INTERFACES))
  const hardware = names.filter((name) => namesIn(join(machine.root, INTERFACES, name)).includes('device'))
  const macs = valuesOf(hardware.map((name) => lookAtMac(machine, name)))
  return [...new Set(macs.filter((mac) => !isLocal(mac)))].toSorted()
}

/** Six bytes, not all zero, and no group address: the lowest bit of the first byte (IEEE 802). */
function isUnicast(mac: string): boolean {
  return /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(mac) && !/^[0:]+$/.test(mac) && (firstByte(mac) & 1) === 0
}

/** The second lowest bit of the first byte (IEEE 802). */
function isLocal(mac: string): boolean {
  return (firstByte(mac) & 2) !== 0
}

function firstByte(mac: string): number {
  return Number.parseInt(mac.slice(0, 2), 16)
}

function valuesOf(looks: readonly Look[]): readonly string[] {
  return looks.flatMap(({ value }) => (value === undefined ? [] : [value]))
}

/** None where there is no such folder, or where this user may not look. */
function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder)
  } catch (error) {
    if (errorCode(error) === undefined) throw error
    return []
  }
}
