import { celsiusOf, cleanName, MAX_TEMPERATURES, percentOf } from './reading.ts'
import type { Readings, Temperature } from './reading.ts'
import { readInteger } from './tree.ts'
import type { Tree } from './tree.ts'

const FOLDER = 'sys/class/hwmon'

/** Drivers that measure the processor. */
const PROCESSOR = /^(coretemp|k8temp|k10temp|zenpower|cpu|soc)/

/**
 * Reads the hardware monitoring chips: `temp*_input` is in milli degrees Celsius, `humidity*_input` in milli percent;
 * a chip that measures humidity stands in the air, so that its temperature is that of the surroundings.
 * Source: kernel, Documentation/hwmon/sysfs-interface.
 *
 * @param zones names of the thermal zones, which the kernel shows here once more with `_` for `-`
 */
export async function readHwmon(tree: Tree, zones: readonly string[]): Promise<Readings> {
  const shown = new Set(zones.map((zone) => zone.replaceAll('-', '_')))
  const temperatures: Temperature[] = []
  let humidityPercent: number | undefined
  for (const chip of await tree.list(FOLDER)) {
    const name = cleanName((await tree.read(`${FOLDER}/${chip}/name`)) ?? chip)
    if (shown.has(name)) continue
    const files = await tree.list(`${FOLDER}/${chip}`)
    const humidity = await readHumidity(tree, chip, files)
    humidityPercent ??= humidity
    const of = humidity !== undefined ? 'ambient' : PROCESSOR.test(name) ? 'cpu' : 'part'
    for (const input of inputsOf(files).slice(0, MAX_TEMPERATURES - temperatures.length)) {
      const celsius = await readInput(tree, `${FOLDER}/${chip}/${input}`)
      if (celsius === undefined) continue
      const label = (await tree.read(`${FOLDER}/${chip}/${input}_label`)) ?? input
      temperatures.push({ name: cleanName(`${name}/${label}`), celsius, of })
    }
  }
  return { temperatures, ...(humidityPercent !== undefined && { humidityPercent }) }
}

/** `temp1`, `temp2`, … of a chip. */
function inputsOf(files: readonly string[]): readonly string[] {
  return files.filter((file) => /^temp\d+_input$/.test(file)).map((file) => file.slice(0, -'_input'.length))
}

async function readInput(tree: Tree, path: string): Promise<number | undefined> {
  if ((await tree.read(`${path}_fault`)) === '1') return undefined
  return celsiusOf(readInteger(await tree.read(`${path}_input`)))
}

async function readHumidity(tree: Tree, chip: string, files: readonly string[]): Promise<number | undefined> {
  const file = files.find((name) => /^humidity\d+_input$/.test(name))
  return file === undefined ? undefined : percentOf(readInteger(await tree.read(`${FOLDER}/${chip}/${file}`)))
}
