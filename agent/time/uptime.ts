import { uptime } from 'node:os'

/**
 * Milliseconds since the machine was started, its sleep included, which the monotonic clock leaves out: the two together
 * tell a machine that slept from a wall clock that was set. Nobody can set it. Source: proc_uptime(5).
 */
export function systemUptimeMs(): number {
  return uptime() * 1000
}
