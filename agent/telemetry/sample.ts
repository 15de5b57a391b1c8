/** What is kept until the cloud has acknowledged it, and sent again under the same ID until then. */
export interface Sample {
  /** Message ID, unique and the same at every attempt, so that a receiver can drop what comes twice. */
  readonly id: string
  /** Wall time at which it was taken. */
  readonly createdAtMs: number
  /** JSON, UTF-8. */
  readonly body: string
}

/** What the device measured about itself. What it does not have is left out, never zero. */
export interface Metrics {
  /** °C, of the surroundings where a sensor for them exists, else of the processor. */
  readonly temperature?: number
  /** Relative humidity in percent. */
  readonly humidity?: number
  readonly cpuPercent?: number
  readonly load1?: number
  readonly load5?: number
  readonly load15?: number
  readonly memoryTotalBytes?: number
  readonly memoryAvailableBytes?: number
  readonly diskTotalBytes?: number
  readonly diskFreeBytes?: number
  readonly uptimeSeconds?: number
  /** Every sensor by name, in °C. */
  readonly temperatures?: Readonly<Record<string, number>>
}

export interface SampleFacts {
  readonly id: string
  readonly deviceId: string
  readonly authType: 'x509' | 'sas'
  readonly takenAtMs: number
  readonly metrics: Metrics
}

/**
 * Makes the message of the Python client that the agent replaces, with its keys first and in its order, and what else
 * the device measured behind them.
 */
export function makeSample(facts: SampleFacts): Sample {
  const { temperature, humidity, ...others } = facts.metrics
  const message = {
    deviceId: facts.deviceId,
    ...(temperature !== undefined && { temperature }),
    ...(humidity !== undefined && { humidity }),
    timestamp: isoTime(facts.takenAtMs),
    authType: facts.authType,
    ...others,
  }
  return { id: facts.id, createdAtMs: facts.takenAtMs, body: JSON.stringify(message) }
}

/** A time as Python's `datetime.now(timezone.utc).isoformat()` writes it, always with microseconds. */
export function isoTime(ms: number): string {
  return new Date(ms).toISOString().replace(/Z$/, '000+00:00')
}
