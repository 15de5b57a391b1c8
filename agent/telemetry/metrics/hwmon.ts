import { celsiusOf, cleanName, MAX_TEMPERATURES, percentOf, present } from './reading.ts'
import type { Readings, Temperature } from './reading.ts'
import { readInteger } from './tree.ts'
import type { Tree } from './tree.ts'

const FOLDER = 'sys/class/hwmon'

/** The supply of a Raspberry Pi as its firmware sees it, a chip that has nothing but an alarm. */
const RASPBERRY_PI_SUPPLY = 'rpi_volt'

/** Drivers that measure the processor. */
const PROCESSOR = /^(coretemp|k8temp|k10temp|zenpower|cpu|soc)/

/**
 * Reads the hardware monitoring chips: `temp*_input` is in milli degrees Celsius, `humidity*_input` in milli percent;
 * a chip that measures humidity stands in the air, so that its temperature is that of the surroundings.
 * Source: kernel, Documentation/hwmon/sysfs-interface.
 */
export async function readHwmon(tree: Tree): Promise<Readings> {
  const temperatures: Temperature[] = []
  let humidityPercent: number | undefined
  let underVoltage: boolean | undefined
  for (const chip of await tree.list(FOLDER)) {
    const name = cleanName((await tree.read(`${FOLDER}/${chip}/name`)) ?? chip)
    if (name === RASPBERRY_PI_SUPPLY) {
      underVoltage = await readAlarm(tree, chip)
      continue
    }
    const files = await tree.list(`${FOLDER}/${chip}`)
    const humidity = await readHumidity(tree, chip, files)
    humidityPercent ??= humidity
    const of = humidity !== undefined ? 'ambient' : PROCESSOR.test(name) ? 'cpu' : 'part'
    for (const input of inputsOf(files).slice(0, MAX_TEMPERATURES - temperatures.length)) {
      const celsius = await readInput(tree, `${FOLDER}/${chip}/${input}`)
      if (celsius === undefined) continue
      const label = (await tree.read(`${FOLDER}/${chip}/${input}_label`)) ?? input
      temperatures.push({ name: cleanName(`${name}/${label}`), celsius, of, chip: name })
    }
  }
  return { temperatures, ...present({ humidityPercent, underVoltage }) }
}

/**
 * Whether the supply was too low within the last two seconds. The firmware's other bits (throttled, capped, too hot)
 * are not here, and `soc:firmware/get_throttled` is not read for them: since 4.19 reading it makes the kernel log a
 * warning with a stack trace, which taints it and, with panic_on_warn, stops the machine.
 * Source: kernel, drivers/hwmon/raspberrypi-hwmon.c; Raspberry Pi kernel, drivers/firmware/raspberrypi.c.
 */
async function readAlarm(tree: Tree, chip: string): Promise<boolean | undefined> {
  const alarm = await tree.read(`${FOLDER}/${chip}/in0_lcrit_alarm`)
  return alarm === '0' || alarm === '1' ? alarm === '1' : undefined
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
