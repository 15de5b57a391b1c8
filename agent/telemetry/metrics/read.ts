import type { Clock } from '../../system/clock.ts'
import type { Metrics } from '../device-message.ts'
import { cpuPercent, parseCpuTimes } from './cpu.ts'
import type { CpuTimes } from './cpu.ts'
import { readDisk } from './disk.ts'
import { readFrequency } from './frequency.ts'
import { createHeldReader } from './held.ts'
import { readHwmon } from './hwmon.ts'
import { readIio } from './iio.ts'
import { readNetwork } from './network.ts'
import { createPatientReader } from './patience.ts'
import { readPressure } from './pressure.ts'
import { parseLoad, parseMemory, parseUptimeSeconds } from './proc.ts'
import { byName, joinReadings, joinThermometers, present } from './reading.ts'
import type { Readings, Temperature } from './reading.ts'
import { readRestart } from './restart.ts'
import { readThermalZones } from './thermal.ts'
import { createTree } from './tree.ts'
import type { Tree } from './tree.ts'
import { readWear } from './wear.ts'

export interface MetricsOptions {
  /** Folder whose file system is measured. */
  readonly stateFolder: string
  readonly clock: Clock
  /** The kernel's files; those of this machine when left out. */
  readonly tree?: Tree
}

/** Longest time that the chips, and the board, may take each; one on a hung bus must not hold up the rest. */
const DEADLINE_MS = 5000

/** Wear takes months, and to ask for it is a command to the memory; why the machine started does not change. */
const SLOW_MS = 3_600_000

/** What the drivers of the board itself gave. */
interface Board {
  readonly disk: Awaited<ReturnType<typeof readDisk>>
  readonly slow: Slow
  readonly frequency: Awaited<ReturnType<typeof readFrequency>>
  readonly network: Metrics['network'] | undefined
  readonly zones: readonly Temperature[]
}

type Slow = Awaited<ReturnType<typeof readRestart>> & Awaited<ReturnType<typeof readWear>>

const NO_BOARD: Board = { disk: {}, slow: {}, frequency: {}, network: undefined, zones: [] }

/**
 * Reads the device: what the machine does not have, or does not tell, is left out. The first reading has no CPU
 * percentage, which is over the time since the reading before. The board and the chips that hang on its buses are
 * waited for apart: when either hangs, the other is there, and no more than one thread each is held.
 */
export function createMetricsReader(options: MetricsOptions): () => Promise<Metrics> {
  const { clock, tree = createTree() } = options
  const readCpu = createCpuReader(tree)
  const patience = { clock, withinMs: DEADLINE_MS }
  const readBoard = createPatientReader(createBoardReader(tree, options), { ...patience, otherwise: NO_BOARD })
  const readChips = createPatientReader<Readings>(
    async () => joinReadings([await readIio(tree), await readHwmon(tree)]),
    { ...patience, otherwise: { temperatures: [] } },
  )

  return async () => {
    const percent = await readCpu()
    const load = parseLoad(await tree.read('proc/loadavg'))
    const pressure = await readPressure(tree)
    const memory = parseMemory(await tree.read('proc/meminfo'))
    const uptimeSeconds = parseUptimeSeconds(await tree.read('proc/uptime'))
    const [board, chips] = await Promise.all([readBoard(), readChips()])
    const { storageWearPercent, storagePreEndOfLife, ...restart } = board.slow
    const { temperatures, sensors, ...air } = sensorMetrics(board.zones, chips)
    return present({
      ...air,
      cpuPercent: percent,
      ...board.frequency,
      ...load,
      ...pressure,
      ...memory,
      ...board.disk,
      storageWearPercent,
      storagePreEndOfLife,
      uptimeSeconds,
      ...restart,
      underVoltage: chips.underVoltage,
      network: board.network,
      temperatures,
      sensors,
    })
  }
}

/** Reads the board's own drivers, those of a kind one after the other. */
function createBoardReader(tree: Tree, { stateFolder, clock }: MetricsOptions): () => Promise<Board> {
  const readSlow = createHeldReader<Slow>(async () => ({ ...(await readWear(tree)), ...(await readRestart(tree)) }), {
    clock,
    forMs: SLOW_MS,
  })
  return async () => ({
    disk: await readDisk(stateFolder),
    slow: await readSlow(),
    frequency: await readFrequency(tree),
    network: await readNetwork(tree),
    zones: await readThermalZones(tree),
  })
}

function createCpuReader(tree: Tree): () => Promise<number | undefined> {
  let before: CpuTimes | undefined
  return async () => {
    const now = parseCpuTimes(await tree.read('proc/stat'))
    const percent = before === undefined || now === undefined ? undefined : cpuPercent(before, now)
    before = now
    return percent
  }
}

type SensorMetrics = Pick<Metrics, 'temperature' | 'humidity' | 'temperatures' | 'sensors'>

function sensorMetrics(zones: readonly Temperature[], chips: Readings): SensorMetrics {
  const temperatures = joinThermometers(zones, chips.temperatures)
  const chosen = temperatures.find((one) => one.of === 'ambient') ?? temperatures.find((one) => one.of === 'cpu')
  const celsius = temperatures.map((one) => ({ name: one.name, value: one.celsius }))
  const sensors = chips.sensors ?? []
  return present({
    temperature: chosen?.celsius,
    humidity: chips.humidityPercent,
    temperatures: celsius.length > 0 ? byName(celsius) : undefined,
    sensors: sensors.length > 0 ? byName(sensors) : undefined,
  })
}
