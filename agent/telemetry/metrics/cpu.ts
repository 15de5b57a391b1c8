/** Counters of the `cpu` line of /proc/stat since boot, in ticks: user nice system idle iowait irq softirq steal. */
export type CpuTimes = readonly number[]

/** Places of the counters that count as idle: `idle`, and `iowait`, in which the processor has nothing to do either. */
const IDLE = [3, 4]

/** Counters that stand for time of their own; `guest` and `guest_nice`, which follow, are part of user and nice. */
const COUNTERS = 8

/** Reads the first line of /proc/stat; undefined when it is not what proc(5) says. */
export function parseCpuTimes(stat: string | undefined): CpuTimes | undefined {
  const [name, ...counters] = stat?.split('\n', 1)[0]?.split(/\s+/) ?? []
  const times = counters.slice(0, COUNTERS).map(Number)
  return name === 'cpu' && times.length >= 4 && times.every(Number.isSafeInteger) ? times : undefined
}

/**
 * Percentage of all processors' time between two readings in which they did something, 0 to 100, one decimal.
 * Undefined when no time has passed. A counter that went back, as iowait may (proc(5)), counts as standing still.
 */
export function cpuPercent(before: CpuTimes, after: CpuTimes): number | undefined {
  const spent = after.map((ticks, place) => Math.max(0, ticks - (before[place] ?? 0)))
  const total = sum(spent)
  if (total === 0) return undefined
  const busy = sum(spent.filter((_, place) => !IDLE.includes(place)))
  return Math.round((busy / total) * 1000) / 10
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((all, one) => all + one, 0)
}
