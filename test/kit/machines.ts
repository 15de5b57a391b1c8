import type { MachineRoot } from '../../agent/system/machine-files.ts'
import type { KernelFiles } from './kernel-files.ts'
import { plant } from './kernel-files.ts'
import { makeTemporaryFolder } from './openssl.ts'

/** A machine made of files, gone at the end of the block. */
export async function makeMachine(
  files: KernelFiles,
  hostname = 'localhost',
): Promise<MachineRoot & AsyncDisposable & { readonly root: string }> {
  const folder = await makeTemporaryFolder()
  await plant(folder.path, files)
  return { root: folder.path, hostname: () => hostname, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() }
}

/**
 * A network interface as sysfs has it.
 *
 * @param assigned addr_assign_type: 0 from its maker, 1 random, 2 of another interface, 3 set by somebody
 */
export function networkInterface(name: string, address: string, assigned = 0, isHardware = true): KernelFiles {
  const folder = `sys/class/net/${name}`
  return {
    [`${folder}/address`]: `${address}\n`,
    [`${folder}/addr_assign_type`]: `${assigned}\n`,
    ...(isHardware && { [`${folder}/device/uevent`]: 'DRIVER=bcmgenet\n' }),
  }
}

const loopback = networkInterface('lo', '00:00:00:00:00:00', 0, false)

/** Its firmware ends the serial number with a NUL. */
export const raspberryPi: KernelFiles = {
  ...loopback,
  'sys/firmware/devicetree/base/serial-number': '10000000ABCDEF01\0',
  'proc/device-tree/serial-number': '10000000ABCDEF01\0',
  ...networkInterface('eth0', 'dc:a6:32:01:02:03'),
  ...networkInterface('wlan0', 'dc:a6:32:01:02:04'),
  ...networkInterface('docker0', '02:42:5f:00:00:01', 1, false),
}

/** A board of which nobody has filled in the fields. */
export const cheapPc: KernelFiles = {
  ...loopback,
  'sys/class/dmi/id/product_serial': 'To be filled by O.E.M.\n',
  'sys/class/dmi/id/product_uuid': '03000200-0400-0500-0006-000700080009\n',
  'sys/class/dmi/id/board_serial': 'Default string\n',
  'sys/class/dmi/id/chassis_asset_tag': '0000000000000000\n',
  ...networkInterface('enp2s0', '00:E0:4C:68:01:9A'),
}

/** Its network card has an address that is administered locally, as QEMU gives them. */
export const virtualMachine: KernelFiles = {
  ...loopback,
  'sys/class/dmi/id/product_serial': 'None\n',
  'sys/class/dmi/id/product_uuid': '7a3c0a52-88d1-4b7e-9f58-2d1c6d7e9a10\n',
  ...networkInterface('ens3', '52:54:00:12:34:56'),
}

/** It shows nothing but a name that the host has chosen. */
export const container: KernelFiles = { ...loopback, ...networkInterface('eth0', '02:42:ac:11:00:02', 3, false) }
