/** One temperature that a sensor gave. */
export interface Temperature {
  readonly name: string
  readonly celsius: number
  /** What it is the temperature of: the surroundings, the processor, or some other part. */
  readonly of: 'ambient' | 'cpu' | 'part'
}

/** What one kind of sensor files gave. */
export interface Readings {
  readonly temperatures: readonly Temperature[]
  /** Relative humidity of the air in percent, of the first sensor that has it. */
  readonly humidityPercent?: number
}

/** Temperatures of one message at most: a server of many cores has hundreds, and a message is charged by 4 KB. */
export const MAX_TEMPERATURES = 32

/** No sensor of a device in working order is outside of this; -274 °C and -1000 °C are drivers' ways to say "none". */
const COLDEST_CELSIUS = -100
const HOTTEST_CELSIUS = 250

/** Milli degrees as °C; undefined when no thermometer can have meant it. */
export function celsiusOf(milli: number | undefined): number | undefined {
  if (milli === undefined) return undefined
  const celsius = Math.round(milli) / 1000
  return celsius > COLDEST_CELSIUS && celsius < HOTTEST_CELSIUS ? celsius : undefined
}

/** Milli percent as percent; undefined outside of 0 to 100. */
export function percentOf(milli: number | undefined): number | undefined {
  if (milli === undefined) return undefined
  const percent = Math.round(milli) / 1000
  return percent >= 0 && percent <= 100 ? percent : undefined
}

/** Joins what several kinds of sensors gave; the order is kept, the first humidity counts. */
export function joinReadings(parts: readonly Readings[]): Readings {
  const humidityPercent = parts.find((part) => part.humidityPercent !== undefined)?.humidityPercent
  return {
    temperatures: parts.flatMap((part) => part.temperatures).slice(0, MAX_TEMPERATURES),
    ...(humidityPercent !== undefined && { humidityPercent }),
  }
}

/** Names to °C; a name that comes again gets `-2`, `-3`, … behind it. */
export function byName(temperatures: readonly Temperature[]): Readonly<Record<string, number>> {
  const named = new Map<string, number>()
  for (const { name, celsius } of temperatures) {
    let unique = name
    for (let count = 2; named.has(unique); count += 1) unique = `${name}-${count}`
    named.set(unique, celsius)
  }
  return Object.fromEntries(named)
}

/** A sensor's own name made fit for a key: printable ASCII, at most 64 characters. */
export function cleanName(name: string): string {
  return name.replaceAll(/[^\x20-\x7e]+/g, '_').slice(0, 64)
}
