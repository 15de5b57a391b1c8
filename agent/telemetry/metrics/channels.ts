/** A kind of sensor: how a message gives it. */
interface Kind {
  readonly unit: string
  /** From the kernel's unit to that of the message. */
  readonly factor: number
  /** The kernel calls a raw value without a scale finished, instead of unknown. */
  readonly plain?: true
}

/**
 * Kinds of IIO channels that have a unit, beside temperature and humidity. Those without (`intensity`, `rot`, `steps`)
 * are no measurements that a receiver could understand. Source: kernel, Documentation/ABI/testing/sysfs-bus-iio.
 */
export const sensorKinds: Readonly<Record<string, Kind>> = {
  pressure: { unit: 'hPa', factor: 10 },
  illuminance: { unit: 'lx', factor: 1 },
  uvindex: { unit: 'UV index', factor: 1 },
  concentration: { unit: 'ppm', factor: 10_000 },
  massconcentration: { unit: 'µg/m³', factor: 1 },
  proximity: { unit: 'm', factor: 1 },
  distance: { unit: 'm', factor: 1 },
  voltage: { unit: 'V', factor: 0.001 },
  current: { unit: 'A', factor: 0.001, plain: true },
  power: { unit: 'W', factor: 0.001 },
  energy: { unit: 'J', factor: 1 },
  resistance: { unit: 'Ω', factor: 1 },
  capacitance: { unit: 'nF', factor: 1 },
  electricalconductivity: { unit: 'S/m', factor: 1 },
  ph: { unit: 'pH', factor: 1 },
  accel: { unit: 'm/s²', factor: 1 },
  gravity: { unit: 'm/s²', factor: 1 },
  velocity: { unit: 'm/s', factor: 1 },
  anglvel: { unit: 'rad/s', factor: 1 },
  angl: { unit: 'rad', factor: 1 },
  incli: { unit: '°', factor: 1 },
  magn: { unit: 'G', factor: 1 },
}

/** One input of a chip, as in `in_voltage0-voltage1`, `in_accel_x`, `in_concentration_co2`. */
export interface Channel {
  readonly kind: string
  /** Number of the input, or the two between which is measured; may be empty. */
  readonly index: string
  /** `_x`, `_ambient`, `_co2`; may be empty. */
  readonly modifier: string
}

const KINDS = [...Object.keys(sensorKinds), 'temp', 'humidityrelative'].join('|')
const FILE = new RegExp(`^in_(${KINDS})(\\d*|\\d+-\\1\\d+)((?:_[a-z0-9]+)*)_(?:raw|input)$`)

/** Not what is measured now: extremes since some reset, averages beside the value itself. */
const OTHER_VALUES = /_(peak|trough|mean|squared)(_|$)/

/** The channels that the files of a chip are of, in their order. */
export function channelsOf(files: readonly string[]): readonly Channel[] {
  const found = new Map<string, Channel>()
  for (const file of files) {
    const [, kind, index = '', modifier = ''] = FILE.exec(file) ?? []
    if (kind === undefined || OTHER_VALUES.test(modifier)) continue
    const channel = { kind, index, modifier }
    found.set(nameOf(channel), channel)
  }
  return [...found.values()]
}

/** `voltage0`, `accel_x`. */
export function nameOf({ kind, index, modifier }: Channel): string {
  return `${kind}${index}${modifier}`
}

/** Where a channel's `scale` or `offset` may be, the nearest first: its own, then what all of its kind share. */
export function attributesOf(channel: Channel, attribute: 'scale' | 'offset'): readonly string[] {
  const { kind, index, modifier } = channel
  const pair = index.includes('-') ? [`in_${kind}-${kind}_${attribute}`] : []
  return [
    `in_${nameOf(channel)}_${attribute}`,
    ...pair,
    `in_${kind}${modifier}_${attribute}`,
    `in_${kind}_${attribute}`,
  ]
}

export interface Attributes {
  readonly offset?: number | undefined
  readonly scale?: number | undefined
}

/** (raw + offset) * scale, in the kernel's unit; undefined when the driver does not say the scale. */
export function scaleRaw({ kind }: Channel, raw: number, { offset = 0, scale }: Attributes): number | undefined {
  const known = scale ?? (sensorKinds[kind]?.plain === true ? 1 : undefined)
  return known === undefined ? undefined : (raw + offset) * known
}

/** A value in the unit of the message, to six digits; undefined for a kind that has none of its own. */
export function sensorValue({ kind }: Channel, value: number): number | undefined {
  const factor = sensorKinds[kind]?.factor
  return factor === undefined ? undefined : Number((value * factor).toPrecision(6))
}
