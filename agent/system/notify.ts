import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import systemdNotify from 'systemd-notify'
import type { Clock } from './clock.ts'
import type { Log } from './log.ts'

const run = promisify(execFile)

/** Tells systemd how the service is doing. Every call is harmless when systemd did not start this process. */
export interface Notify {
  ready(status: string): Promise<void>
  status(text: string): Promise<void>
  stopping(): Promise<void>
  /**
   * Feeds the watchdog until `signal` aborts, at half of the time systemd allows, for as long as `alive` says so.
   * Resolves at once when the unit has no watchdog.
   */
  feedWatchdog(alive: () => boolean, signal: AbortSignal): Promise<void>
}

export interface NotifyOptions {
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly clock: Clock
  readonly log: Log
}

/**
 * The package `systemd-notify` says READY and STATUS; WATCHDOG and STOPPING it does not know, so its program is called
 * for those. A message that cannot be delivered is logged: a working device matters more than its supervisor's view.
 */
export function createNotify({ environment, clock, log }: NotifyOptions): Notify {
  const present = (environment['NOTIFY_SOCKET'] ?? '') !== ''

  const deliver = async (what: string, send: () => Promise<unknown>) => {
    if (!present) return
    try {
      await send()
    } catch (error) {
      log.warn('systemd was not told', { what, error: String(error) })
    }
  }

  return {
    ready: (status) => deliver('READY', () => systemdNotify({ ready: true, status })),
    status: (text) => deliver('STATUS', () => systemdNotify({ status: text })),
    stopping: () => deliver('STOPPING', () => run('systemd-notify', ['STOPPING=1'])),
    async feedWatchdog(alive, signal) {
      const intervalMs = watchdogIntervalMs(environment)
      if (!present || intervalMs === undefined) return
      while (!signal.aborted) {
        if (alive()) await deliver('WATCHDOG', () => run('systemd-notify', ['WATCHDOG=1']))
        await clock.wait(intervalMs, signal).catch((error: unknown) => {
          if (!signal.aborted) throw error
        })
      }
    },
  }
}

/** Half of WATCHDOG_USEC, in milliseconds. Source: sd_watchdog_enabled(3). */
function watchdogIntervalMs(environment: NotifyOptions['environment']): number | undefined {
  const microseconds = Number(environment['WATCHDOG_USEC'])
  return Number.isFinite(microseconds) && microseconds > 0 ? microseconds / 2000 : undefined
}
