import { present } from './reading.ts'
import { readDecimal } from './tree.ts'

export interface Load {
  readonly load1: number
  readonly load5: number
  readonly load15: number
}

export interface Memory {
  readonly memoryTotalBytes?: number
  readonly memoryAvailableBytes?: number
  readonly swapTotalBytes?: number
  readonly swapUsedBytes?: number
}

/** Reads /proc/loadavg: runnable and uninterruptible tasks, averaged over 1, 5 and 15 minutes. */
export function parseLoad(text: string | undefined): Load | undefined {
  const [load1, load5, load15] = (text ?? '').split(' ').map(readDecimal)
  if (load1 === undefined || load5 === undefined || load15 === undefined) return undefined
  return { load1, load5, load15 }
}

/**
 * Reads /proc/meminfo, whose numbers are in KiB in spite of their `kB` (proc_meminfo(5)). A machine without swap has
 * a SwapTotal of 0: it says nothing of swap.
 */
export function parseMemory(text: string | undefined): Memory {
  const bytesOf = (name: string) => {
    const kib = new RegExp(`^${name}:\\s+(\\d{1,12}) kB$`, 'm').exec(text ?? '')?.[1]
    return kib === undefined ? undefined : Number(kib) * 1024
  }
  const total = bytesOf('SwapTotal')
  const free = bytesOf('SwapFree')
  const swap = total !== undefined && total > 0 && free !== undefined && free <= total
  return present({
    memoryTotalBytes: bytesOf('MemTotal'),
    memoryAvailableBytes: bytesOf('MemAvailable'),
    swapTotalBytes: swap ? total : undefined,
    swapUsedBytes: swap ? total - free : undefined,
  })
}

/** Reads the first field of /proc/uptime as whole seconds since boot. */
export function parseUptimeSeconds(text: string | undefined): number | undefined {
  const seconds = readDecimal((text ?? '').split(' ', 1)[0])
  return seconds === undefined || seconds < 0 ? undefined : Math.floor(seconds)
}
