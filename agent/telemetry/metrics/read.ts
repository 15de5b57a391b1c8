import type { Clock } from '../../system/clock.ts'
import type { Metrics } from '../sample.ts'
import { cpuPercent, parseCpuTimes } from './cpu.ts'
import type { CpuTimes } from './cpu.ts'
import { readDisk } from './disk.ts'
import { readHwmon } from './hwmon.ts'
import { readIio } from './iio.ts'
import { createPatientReader } from './patience.ts'
import { parseLoad, parseMemory, parseUptimeSeconds } from './proc.ts'
import { byName, joinReadings } from './reading.ts'
import type { Readings } from './reading.ts'
import { readThermalZones } from './thermal.ts'
import { createTree } from './tree.ts'
import type { Tree } from './tree.ts'

export interface MetricsOptions {
  /** Folder whose file system is measured. */
  readonly stateFolder: string
  readonly clock: Clock
  /** Where /proc and /sys are; `/` when left out. */
  readonly root?: string
}

/** Longest time the sensors may take; one on a hung bus must not hold up the rest. */
const SENSOR_DEADLINE_MS = 5000

/**
 * Reads the device: what the machine does not have, or does not tell, is left out.
 * The first reading has no CPU percentage, which is over the time since the reading before.
 */
export function createMetricsReader(options: MetricsOptions): () => Promise<Metrics> {
  const tree = createTree(options.root)
  const readSensors = createPatientReader<Readings>(() => readAllSensors(tree), {
    clock: options.clock,
    withinMs: SENSOR_DEADLINE_MS,
    otherwise: { temperatures: [] },
  })
  let before: CpuTimes | undefined

  const readCpu = async () => {
    const now = parseCpuTimes(await tree.read('proc/stat'))
    const percent = before === undefined || now === undefined ? undefined : cpuPercent(before, now)
    before = now
    return percent
  }

  return async () => {
    const percent = await readCpu()
    const uptimeSeconds = parseUptimeSeconds(await tree.read('proc/uptime'))
    return {
      ...(percent !== undefined && { cpuPercent: percent }),
      ...parseLoad(await tree.read('proc/loadavg')),
      ...parseMemory(await tree.read('proc/meminfo')),
      ...(await readDisk(options.stateFolder)),
      ...(uptimeSeconds !== undefined && { uptimeSeconds }),
      ...sensorMetrics(await readSensors()),
    }
  }
}

async function readAllSensors(tree: Tree): Promise<Readings> {
  const zones = await readThermalZones(tree)
  const chips = await readHwmon(
    tree,
    zones.map((zone) => zone.name),
  )
  return joinReadings([await readIio(tree), { temperatures: zones }, chips])
}

function sensorMetrics({ temperatures, humidityPercent }: Readings): Metrics {
  const chosen = temperatures.find((one) => one.of === 'ambient') ?? temperatures.find((one) => one.of === 'cpu')
  return {
    ...(chosen !== undefined && { temperature: chosen.celsius }),
    ...(humidityPercent !== undefined && { humidity: humidityPercent }),
    ...(temperatures.length > 0 && { temperatures: byName(temperatures) }),
  }
}
