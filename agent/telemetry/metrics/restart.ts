import type { RestartCause } from '../device-message.ts'
import { present } from './reading.ts'
import { readInteger } from './tree.ts'
import type { Tree } from './tree.ts'

export interface Restart {
  readonly bootId?: string
  readonly restartCause?: RestartCause
  readonly crashRecords?: number
}

type Causes = readonly (readonly [bit: number, cause: RestartCause])[]

const WATCHDOGS = 'sys/class/watchdog'

/**
 * What a watchdog knows of the last reset, the more telling first: its own reset may come with the reason for it.
 * Source: kernel, include/uapi/linux/watchdog.h and Documentation/watchdog/watchdog-api.rst.
 */
const WATCHDOG_CAUSES: Causes = [
  [0x01, 'overheat'],
  [0x10, 'underVoltage'],
  [0x40, 'overVoltage'],
  [0x02, 'fanFault'],
  [0x04, 'external'],
  [0x08, 'external'],
  [0x20, 'watchdog'],
]

/** Why the power chip of a Raspberry Pi 5 has cut the power. Source: Raspberry Pi documentation, `/chosen/power`. */
const POWER_CHIP_CAUSES: Causes = [
  [0x01, 'overVoltage'],
  [0x02, 'underVoltage'],
  [0x04, 'overheat'],
  [0x10, 'watchdog'],
]

/**
 * Bits of the Raspberry Pi's PM_RSTS: power came on; the watchdog fired, which is also how Linux restarts that board,
 * so that it tells nothing. Source: kernel, drivers/watchdog/bcm2835_wdt.c, which for its part reports no cause.
 */
const HAD_POWER_ON = 0x1000
const HAD_WATCHDOG = 0x20

/**
 * Reads which start of the machine this is, and why it was, where the hardware tells. Silence means nothing: most
 * machines do not tell, and none tells whether the run before ended cleanly.
 */
export async function readRestart(tree: Tree): Promise<Restart> {
  const bootId = await tree.read('proc/sys/kernel/random/boot_id')
  return present({
    bootId: bootId !== undefined && /^[0-9a-f-]{36}$/.test(bootId) ? bootId : undefined,
    restartCause: (await readWatchdogs(tree)) ?? (await readRaspberryPi(tree)),
    crashRecords: await countCrashRecords(tree),
  })
}

async function readWatchdogs(tree: Tree): Promise<RestartCause | undefined> {
  for (const watchdog of await tree.list(WATCHDOGS)) {
    const status = readInteger(await tree.read(`${WATCHDOGS}/${watchdog}/bootstatus`))
    const cause = firstOf(WATCHDOG_CAUSES, status)
    if (cause !== undefined) return cause
  }
  return undefined
}

/** What the firmware left in the device tree; older firmware names the register `pm_rsts`. */
async function readRaspberryPi(tree: Tree): Promise<RestartCause | undefined> {
  const chosen = 'proc/device-tree/chosen'
  const cut = firstOf(POWER_CHIP_CAUSES, await readCell(tree, `${chosen}/power/power_reset`))
  if (cut !== undefined) return cut
  const bootloader = `${chosen}/bootloader`
  const status = (await readCell(tree, `${bootloader}/rsts`)) ?? (await readCell(tree, `${bootloader}/pm_rsts`)) ?? 0
  return (status & (HAD_POWER_ON | HAD_WATCHDOG)) === HAD_POWER_ON ? 'powerOn' : undefined
}

/** A number of a device tree: four bytes, the highest first. */
async function readCell(tree: Tree, path: string): Promise<number | undefined> {
  const bytes = await tree.bytes(path)
  return bytes?.length === 4 ? bytes.readUInt32BE(0) : undefined
}

function firstOf(causes: Causes, status = 0): RestartCause | undefined {
  return causes.find(([bit]) => (status & bit) !== 0)?.[1]
}

/**
 * Files that a dying kernel left. They stay until somebody removes them, so that they may be of an older crash; by
 * default only root may look. Source: kernel, Documentation/ABI/testing/pstore.
 */
async function countCrashRecords(tree: Tree): Promise<number | undefined> {
  const records = (await tree.list('sys/fs/pstore')).filter((name) => name.startsWith('dmesg-'))
  return records.length > 0 ? records.length : undefined
}
