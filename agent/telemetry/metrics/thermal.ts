import { celsiusOf, cleanName, MAX_TEMPERATURES } from './reading.ts'
import type { Temperature } from './reading.ts'
import { readInteger } from './tree.ts'
import type { Tree } from './tree.ts'

const FOLDER = 'sys/class/thermal'

/** Types of zones that measure the processor or the chip that it is on. */
const PROCESSOR = /cpu|x86_pkg_temp|soc|^imx_thermal/i

/**
 * Reads the thermal zones: `type` is the name, `temp` is in milli degrees Celsius.
 * Source: kernel, Documentation/ABI/testing/sysfs-class-thermal.
 */
export async function readThermalZones(tree: Tree): Promise<readonly Temperature[]> {
  const zones = (await tree.list(FOLDER)).filter((name) => /^thermal_zone\d+$/.test(name))
  const found: Temperature[] = []
  for (const zone of zones.slice(0, MAX_TEMPERATURES)) {
    const celsius = celsiusOf(readInteger(await tree.read(`${FOLDER}/${zone}/temp`)))
    if (celsius === undefined) continue
    const name = cleanName((await tree.read(`${FOLDER}/${zone}/type`)) ?? zone)
    found.push({ name, celsius, of: PROCESSOR.test(name) ? 'cpu' : 'part' })
  }
  return found
}
