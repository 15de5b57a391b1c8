/** What is known of one network interface; counters since the machine started. */
export interface NetworkInterface {
  /** Whether packets can pass. */
  readonly up?: boolean
  readonly rxBytes: number
  readonly txBytes: number
  readonly rxErrors: number
  readonly txErrors: number
  readonly rxDropped: number
  readonly txDropped: number
  /** Level of the radio signal. */
  readonly signalDbm?: number
}

/** Why the machine started, as far as its hardware tells. */
export type RestartCause =
  | 'overheat'
  | 'underVoltage'
  | 'overVoltage'
  | 'fanFault'
  | 'external'
  | 'watchdog'
  | 'powerOn'

type ByName<T> = Readonly<Record<string, T>>

/** What the device measured about itself. What it does not have is left out, never zero. */
export interface Metrics {
  /** °C, of the surroundings where a sensor for them exists, else of the processor. */
  readonly temperature?: number
  /** Relative humidity in percent. */
  readonly humidity?: number
  readonly cpuPercent?: number
  readonly cpuFrequencyMHz?: number
  /** What heat or an administrator allow at present. */
  readonly cpuFrequencyLimitMHz?: number
  readonly cpuFrequencyMaxMHz?: number
  readonly load1?: number
  readonly load5?: number
  readonly load15?: number
  readonly cpuPressurePercent?: number
  readonly memoryPressurePercent?: number
  readonly memoryPressureFullPercent?: number
  readonly ioPressurePercent?: number
  readonly ioPressureFullPercent?: number
  readonly memoryTotalBytes?: number
  readonly memoryAvailableBytes?: number
  readonly swapTotalBytes?: number
  readonly swapUsedBytes?: number
  readonly diskTotalBytes?: number
  readonly diskFreeBytes?: number
  readonly diskFreeInodes?: number
  readonly diskReadOnly?: boolean
  /** Used part of the expected life of each flash memory; 110 is beyond it. */
  readonly storageWearPercent?: ByName<number>
  /** 1 normal, 2 warning, 3 urgent. */
  readonly storagePreEndOfLife?: ByName<number>
  readonly uptimeSeconds?: number
  readonly bootId?: string
  readonly restartCause?: RestartCause
  /** Parts of crash logs of the kernel that nobody has fetched yet. */
  readonly crashRecords?: number
  readonly underVoltage?: boolean
  readonly network?: ByName<NetworkInterface>
  /** Every thermometer by name, in °C. */
  readonly temperatures?: ByName<number>
  /** Every other sensor by name, in the unit of its kind. */
  readonly sensors?: ByName<number>
}

export interface DeviceFacts {
  readonly deviceId: string
  readonly authType: 'x509' | 'sas'
  /** Wall time. */
  readonly createdAtMs: number
  readonly metrics: Metrics
}

/**
 * Makes the message of the Python client that the agent replaces, with its keys first and in its order, and what else
 * the device measured behind them.
 */
export function makeDeviceBody({ deviceId, authType, createdAtMs, metrics }: DeviceFacts): string {
  const { temperature, humidity, ...others } = metrics
  return JSON.stringify({
    deviceId,
    ...(temperature !== undefined && { temperature }),
    ...(humidity !== undefined && { humidity }),
    timestamp: isoTime(createdAtMs),
    authType,
    ...others,
  })
}

/**
 * Puts another time into what `makeDeviceBody` made; a body without a `timestamp` stays as it is. The first match is
 * the right one: inside of a value, such as the device's ID, the quotes would be escaped.
 */
export function correctTimestamp(body: string, createdAtMs: number): string {
  return body.replace(/"timestamp":"[^"\\]*"/, `"timestamp":"${isoTime(createdAtMs)}"`)
}

/** A time as Python's `datetime.now(timezone.utc).isoformat()` writes it, always with microseconds. */
export function isoTime(ms: number): string {
  return new Date(ms).toISOString().replace(/Z$/, '000+00:00')
}
