/** Counts what happens in a sliding window of time. */
export interface Window {
  /**
   * Zero when one more is within the limit (and counts it); otherwise the seconds until there is room.
   *
   * @param limit 0 is no limit
   */
  take(limit: number, nowMs: number): number
}

export function createWindow(lengthMs: number): Window {
  let takenMs: number[] = []
  return {
    take(limit, nowMs) {
      if (limit === 0) return 0
      takenMs = takenMs.filter((taken) => nowMs - taken < lengthMs)
      const blocking = takenMs[takenMs.length - limit]
      if (blocking !== undefined) return Math.max(1, Math.ceil((blocking + lengthMs - nowMs) / 1000))
      takenMs.push(nowMs)
      return 0
    },
  }
}

/** Keys with a window of their own; the one that came first is forgotten first. */
const MAX_KEYS = 10_000

/** One window for each key. */
export function createWindows(lengthMs: number): { take(key: string, limit: number, nowMs: number): number } {
  const windows = new Map<string, Window>()
  return {
    take(key, limit, nowMs) {
      const [oldest] = windows.keys()
      if (windows.size >= MAX_KEYS && !windows.has(key) && oldest !== undefined) windows.delete(oldest)
      const window = windows.get(key) ?? createWindow(lengthMs)
      windows.set(key, window)
      return window.take(limit, nowMs)
    },
  }
}
