import { celsiusOf, cleanName, MAX_TEMPERATURES, percentOf } from './reading.ts'
import type { Readings, Temperature } from './reading.ts'
import { readDecimal } from './tree.ts'
import type { Tree } from './tree.ts'

const FOLDER = 'sys/bus/iio/devices'

/** Channels of chips whose thermometer is there to correct themselves: motion sensors and converters. */
const OWN_HEAT = /^in_(accel|anglvel|magn|voltage)/

/** Temperatures of the surroundings: `in_temp`, `in_temp0`, `in_temp_ambient`; not `in_temp_object` or an axis. */
const THERMOMETER = /^(in_temp(?:\d*|_ambient))_(?:input|raw)$/

/**
 * Reads the sensors of the Industrial I/O subsystem. `*_input` is in milli degrees Celsius and milli percent, and so is
 * (`*_raw` + `*_offset`) * `*_scale`. Source: kernel, Documentation/ABI/testing/sysfs-bus-iio.
 */
export async function readIio(tree: Tree): Promise<Readings> {
  const temperatures: Temperature[] = []
  let humidityPercent: number | undefined
  for (const device of (await tree.list(FOLDER)).filter((name) => name.startsWith('iio:device'))) {
    const path = `${FOLDER}/${device}`
    const files = await tree.list(path)
    const name = cleanName((await tree.read(`${path}/name`)) ?? device)
    const of = files.some((file) => OWN_HEAT.test(file)) ? 'part' : 'ambient'
    for (const channel of channelsOf(files).slice(0, MAX_TEMPERATURES - temperatures.length)) {
      const celsius = celsiusOf(await readChannel(tree, path, channel, 'in_temp'))
      if (celsius !== undefined) temperatures.push({ name: `${name}/${channel.slice('in_'.length)}`, celsius, of })
    }
    humidityPercent ??= percentOf(await readChannel(tree, path, 'in_humidityrelative', 'in_humidityrelative'))
  }
  return { temperatures, ...(humidityPercent !== undefined && { humidityPercent }) }
}

function channelsOf(files: readonly string[]): readonly string[] {
  return [...new Set(files.flatMap((file) => THERMOMETER.exec(file)?.[1] ?? []))]
}

/**
 * @param shared name under which offset and scale are kept when all channels of the kind have them in common
 * @returns the value in thousandths of its unit; undefined when the driver gives none or does not say its scale
 */
async function readChannel(tree: Tree, path: string, channel: string, shared: string): Promise<number | undefined> {
  const ready = readDecimal(await tree.read(`${path}/${channel}_input`))
  if (ready !== undefined) return ready
  const attribute = async (name: string) =>
    readDecimal((await tree.read(`${path}/${channel}_${name}`)) ?? (await tree.read(`${path}/${shared}_${name}`)))
  const raw = readDecimal(await tree.read(`${path}/${channel}_raw`))
  const scale = await attribute('scale')
  if (raw === undefined || scale === undefined) return undefined
  return (raw + ((await attribute('offset')) ?? 0)) * scale
}
