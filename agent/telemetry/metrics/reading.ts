/** One temperature that a sensor gave. */
export interface Temperature {
  readonly name: string
  readonly celsius: number
  /** What it is the temperature of: the surroundings, the processor, or some other part. */
  readonly of: 'ambient' | 'cpu' | 'part'
  /** Name of the hwmon chip that it is from. */
  readonly chip?: string
}

/** One value of another sensor, in the unit of its kind. */
export interface Named {
  readonly name: string
  readonly value: number
}

/** What one kind of sensor files gave. */
export interface Readings {
  readonly temperatures: readonly Temperature[]
  readonly sensors?: readonly Named[]
  /** Relative humidity of the air in percent, of the first sensor that has it. */
  readonly humidityPercent?: number
  /** Whether the board's supply is below what it needs. */
  readonly underVoltage?: boolean
}

/** Temperatures of one message at most: a server of many cores has hundreds, and a message is charged by 4 KB. */
export const MAX_TEMPERATURES = 32

/** Other sensors of one message at most. */
export const MAX_SENSORS = 32

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
  return {
    temperatures: parts.flatMap((part) => part.temperatures),
    sensors: parts.flatMap((part) => part.sensors ?? []),
    ...present({
      humidityPercent: parts.find((part) => part.humidityPercent !== undefined)?.humidityPercent,
      underVoltage: parts.find((part) => part.underVoltage !== undefined)?.underVoltage,
    }),
  }
}

/**
 * Every thermometer once, at most 32: those of the air first, then the thermal zones, then the rest. The kernel shows
 * each zone once more as a hwmon chip of its name, with `_` for `-`.
 */
export function joinThermometers(zones: readonly Temperature[], chips: readonly Temperature[]): readonly Temperature[] {
  const shown = new Set(zones.map(({ name }) => name.replaceAll('-', '_')))
  const inAir = chips.filter(({ chip }) => chip === undefined)
  const others = chips.filter(({ chip }) => chip !== undefined && !shown.has(chip))
  return [...inAir, ...zones, ...others].slice(0, MAX_TEMPERATURES)
}

/** Names to values; a name that comes again gets `-2`, `-3`, … behind it. */
export function byName(all: readonly Named[]): Readonly<Record<string, number>> {
  const named = new Map<string, number>()
  for (const { name, value } of all) {
    let unique = name
    for (let count = 2; named.has(unique); count += 1) unique = `${name}-${count}`
    named.set(unique, value)
  }
  return Object.fromEntries(named)
}

/** A sensor's own name made fit for a key: printable ASCII, at most 64 characters. */
export function cleanName(name: string): string {
  return name.replaceAll(/[^\x20-\x7e]+/g, '_').slice(0, 64)
}

type Present<T> = { readonly [K in keyof T]?: Exclude<T[K], undefined> }

/** The same without the keys that have no value: what a machine does not tell is left out. */
export function present<T extends object>(values: T): Present<T> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Present<T>
}
