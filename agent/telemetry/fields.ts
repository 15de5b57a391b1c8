import type { Metrics } from './sample.ts'

/** One row of docs/telemetry.md. */
export interface Field {
  readonly unit: string
  readonly meaning: string
  readonly source: string
}

type FieldName = keyof Metrics | 'deviceId' | 'timestamp' | 'authType'

/** Every key of a message, in its order. */
export const telemetryFields: Readonly<Record<FieldName, Field>> = {
  deviceId: { unit: 'text', meaning: 'ID of the device in the hub', source: 'the assignment by DPS' },
  temperature: {
    unit: '°C',
    meaning: 'temperature of the surroundings where there is a sensor for it, else of the processor',
    source: 'the first of: IIO, hwmon with humidity, thermal zone or hwmon of the CPU',
  },
  humidity: { unit: '%', meaning: 'relative humidity of the air', source: 'IIO, else hwmon' },
  timestamp: {
    unit: 'ISO 8601, UTC',
    meaning: 'when the sample was taken, by the clock of the device',
    source: 'system clock',
  },
  authType: {
    unit: 'text',
    meaning: 'how the device proves who it is: `x509` or `sas`',
    source: 'the credential in use',
  },
  cpuPercent: {
    unit: '%',
    meaning:
      'share of the time of all processors since the sample before in which they worked; waiting for disks is idle',
    source: '/proc/stat',
  },
  load1: { unit: 'tasks', meaning: 'load average over 1 minute', source: '/proc/loadavg' },
  load5: { unit: 'tasks', meaning: 'load average over 5 minutes', source: '/proc/loadavg' },
  load15: { unit: 'tasks', meaning: 'load average over 15 minutes', source: '/proc/loadavg' },
  memoryTotalBytes: { unit: 'bytes', meaning: 'memory of the machine', source: '/proc/meminfo, MemTotal' },
  memoryAvailableBytes: {
    unit: 'bytes',
    meaning: 'memory that a program could have without swapping',
    source: '/proc/meminfo, MemAvailable',
  },
  diskTotalBytes: { unit: 'bytes', meaning: 'size of the file system of the state folder', source: 'statfs' },
  diskFreeBytes: {
    unit: 'bytes',
    meaning: 'what a user other than root may still write there',
    source: 'statfs',
  },
  uptimeSeconds: { unit: 's', meaning: 'time since the machine started', source: '/proc/uptime' },
  temperatures: {
    unit: '°C by name',
    meaning: 'every thermometer of the machine, at most 32',
    source: 'IIO, thermal zones, hwmon',
  },
}

/** The table of docs/telemetry.md, as Markdown. */
export function telemetryTable(): string {
  const rows = Object.entries(telemetryFields).map(
    ([name, { unit, meaning, source }]) => `| \`${name}\` | ${unit} | ${meaning} | ${source} |`,
  )
  return ['| key | unit | meaning | source |', '|---|---|---|---|', ...rows].join('\n')
}
