import type { Metrics } from './device-message.ts'
import { sensorKinds } from './metrics/channels.ts'

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
  cpuFrequencyMHz: { unit: 'MHz', meaning: 'clock of the fastest kind of cores', source: 'cpufreq, scaling_cur_freq' },
  cpuFrequencyLimitMHz: {
    unit: 'MHz',
    meaning: 'highest clock that is allowed at present: below the maximum when the kernel slows a hot chip',
    source: 'cpufreq, scaling_max_freq',
  },
  cpuFrequencyMaxMHz: { unit: 'MHz', meaning: 'highest clock of these cores', source: 'cpufreq, cpuinfo_max_freq' },
  load1: { unit: 'tasks', meaning: 'load average over 1 minute', source: '/proc/loadavg' },
  load5: { unit: 'tasks', meaning: 'load average over 5 minutes', source: '/proc/loadavg' },
  load15: { unit: 'tasks', meaning: 'load average over 15 minutes', source: '/proc/loadavg' },
  cpuPressurePercent: {
    unit: '%',
    meaning: 'share of the last 60 s in which a task waited for a processor',
    source: '/proc/pressure/cpu, some',
  },
  memoryPressurePercent: {
    unit: '%',
    meaning: 'share of the last 60 s in which a task waited for memory',
    source: '/proc/pressure/memory, some',
  },
  memoryPressureFullPercent: {
    unit: '%',
    meaning: 'share of the last 60 s in which all tasks that had work waited for memory',
    source: '/proc/pressure/memory, full',
  },
  ioPressurePercent: {
    unit: '%',
    meaning: 'share of the last 60 s in which a task waited for a disk',
    source: '/proc/pressure/io, some',
  },
  ioPressureFullPercent: {
    unit: '%',
    meaning: 'share of the last 60 s in which all tasks that had work waited for a disk',
    source: '/proc/pressure/io, full',
  },
  memoryTotalBytes: { unit: 'bytes', meaning: 'memory of the machine', source: '/proc/meminfo, MemTotal' },
  memoryAvailableBytes: {
    unit: 'bytes',
    meaning: 'memory that a program could have without swapping',
    source: '/proc/meminfo, MemAvailable',
  },
  swapTotalBytes: { unit: 'bytes', meaning: 'swap of the machine, if it has any', source: '/proc/meminfo, SwapTotal' },
  swapUsedBytes: { unit: 'bytes', meaning: 'swap in use', source: '/proc/meminfo, SwapTotal - SwapFree' },
  diskTotalBytes: { unit: 'bytes', meaning: 'size of the file system of the state folder', source: 'statfs' },
  diskFreeBytes: {
    unit: 'bytes',
    meaning: 'what a user other than root may still write there',
    source: 'statfs',
  },
  diskFreeInodes: { unit: 'files', meaning: 'files that may still be made there', source: 'statfs' },
  diskReadOnly: {
    unit: 'true or false',
    meaning: 'whether nothing can be written there, as after an error of the disk',
    source: 'access(2)',
  },
  storageWearPercent: {
    unit: '% by memory',
    meaning: 'used part of the expected life of a flash memory, rounded up to tens; 110 is beyond it',
    source: 'life_time of eMMC, health_descriptor of UFS; read once an hour',
  },
  storagePreEndOfLife: {
    unit: '1, 2 or 3 by memory',
    meaning: 'its reserve: 1 normal, 2 warning (80 % used), 3 urgent (90 % used)',
    source: 'pre_eol_info of eMMC, eol_info of UFS; read once an hour',
  },
  uptimeSeconds: { unit: 's', meaning: 'time since the machine started', source: '/proc/uptime' },
  bootId: {
    unit: 'text',
    meaning: 'another at every start of the machine',
    source: '/proc/sys/kernel/random/boot_id',
  },
  restartCause: {
    unit: 'text',
    meaning:
      'why the machine started, where its hardware tells: `overheat`, `underVoltage`, `overVoltage`, `fanFault`, `external`, `watchdog`, `powerOn`',
    source: 'bootstatus of a watchdog; power_reset and rsts of a Raspberry Pi',
  },
  crashRecords: {
    unit: 'files',
    meaning: 'parts of crash logs of the kernel that nobody has fetched yet, where the agent may look',
    source: '/sys/fs/pstore, dmesg-*',
  },
  underVoltage: {
    unit: 'true or false',
    meaning: 'whether the supply of a Raspberry Pi was too low within the last 2 s',
    source: 'hwmon rpi_volt, in0_lcrit_alarm',
  },
  network: {
    unit: 'object by interface',
    meaning:
      '`up`: true or false; `rxBytes`, `txBytes`: bytes; `rxErrors`, `txErrors`, `rxDropped`, `txDropped`: packets, all since the start; `signalDbm`: dBm of Wi-Fi; at most 16, none of containers and virtual machines',
    source: '/proc/net/dev, /proc/net/wireless, operstate',
  },
  temperatures: {
    unit: '°C by name',
    meaning: 'every thermometer of the machine, at most 32',
    source: 'IIO, thermal zones, hwmon',
  },
  sensors: {
    unit: `by kind: ${Object.entries(sensorKinds)
      .map(([kind, { unit }]) => `${kind} ${unit}`)
      .join(', ')}`,
    meaning: 'every other sensor as `chip/kind`, with number and direction behind it, at most 32',
    source: 'IIO',
  },
}

/** The table of docs/telemetry.md, as Markdown. */
export function telemetryTable(): string {
  const rows = Object.entries(telemetryFields).map(
    ([name, { unit, meaning, source }]) => `| \`${name}\` | ${unit} | ${meaning} | ${source} |`,
  )
  return ['| key | unit | meaning | source |', '|---|---|---|---|', ...rows].join('\n')
}
