import { readDecimal } from './tree.ts'

export interface Load {
  readonly load1: number
  readonly load5: number
  readonly load15: number
}

export interface Memory {
  readonly memoryTotalBytes?: number
  readonly memoryAvailableBytes?: number
}

/** Reads /proc/loadavg: runnable and uninterruptible tasks, averaged over 1, 5 and 15 minutes. */
export function parseLoad(text: string | undefined): Load | undefined {
  const [load1, load5, load15] = (text ?? '').split(' ').map(readDecimal)
  if (load1 === undefined || load5 === undefined || load15 === undefined) return undefined
  return { load1, load5, load15 }
}

/** Reads MemTotal and MemAvailable of /proc/meminfo, which are in KiB in spite of their `kB`. */
export function parseMemory(text: string | undefined): Memory {
  const bytesOf = (name: string) => {
    const kib = new RegExp(`^${name}:\\s+(\\d{1,12}) kB$`, 'm').exec(text ?? '')?.[1]
    return kib === undefined ? undefined : Number(kib) * 1024
  }
  const memoryTotalBytes = bytesOf('MemTotal')
  const memoryAvailableBytes = bytesOf('MemAvailable')
  return {
    ...(memoryTotalBytes !== undefined && { memoryTotalBytes }),
    ...(memoryAvailableBytes !== undefined && { memoryAvailableBytes }),
  }
}

/** Reads the first field of /proc/uptime as whole seconds since boot. */
export function parseUptimeSeconds(text: string | undefined): number | undefined {
  const seconds = readDecimal((text ?? '').split(' ', 1)[0])
  return seconds === undefined || seconds < 0 ? undefined : Math.floor(seconds)
}
