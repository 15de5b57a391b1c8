import type { Problem } from './problems.ts'

/** The keys without which there is no device yet. */
const naming: readonly (string | undefined)[] = ['device.registrationId', 'dps.idScope']

/**
 * Whether a configuration is only unfinished, as on a device out of the box: nobody has named the device or its DPS, and
 * all that is written is right. Anything else is a mistake of somebody who wants to know.
 */
export function isAwaited(problems: readonly Problem[]): boolean {
  return problems.length > 0 && problems.every(({ key, value }) => value === undefined && naming.includes(key))
}
