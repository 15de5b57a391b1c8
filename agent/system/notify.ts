import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import systemdNotify from 'systemd-notify'
import type { Clock } from './clock.ts'
import type { Log } from './log.ts'
import { notifyDescriptor, writeNotify } from './notify-socket.ts'

const run = promisify(execFile)

/** Tells systemd how the service is doing. Every call is harmless when systemd did not start this process. */
export interface Notify {
  ready(status: string): Promise<void>
  status(text: string): Promise<void>
  stopping(): Promise<void>
  /** Before a reload of the configuration; `ready` ends it. */
  reloading(): Promise<void>
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

/** One message by both ways: what is written to the socket, and how a program says the same. */
interface Message {
  readonly lines: readonly string[]
  readonly byProgram: () => Promise<unknown>
}

/**
 * Where the unit has opened a socket for us (`OpenFile=`, systemd 253 and newer), messages are written to it, without
 * another process. Else the package `systemd-notify` says READY and STATUS; what it does not know is said by its program.
 * A message that cannot be delivered is logged: a working device matters more than its supervisor's view.
 */
export function createNotify({ environment, clock, log }: NotifyOptions): Notify {
  const present = (environment['NOTIFY_SOCKET'] ?? '') !== ''
  const descriptor = present ? descriptorOf(environment, log) : undefined

  const deliver = async ({ lines, byProgram }: Message) => {
    if (!present) return
    try {
      if (descriptor !== undefined) return writeNotify(descriptor, lines)
    } catch (error) {
      log.warn('the socket of systemd takes nothing', { what: lines[0], error: String(error) })
    }
    try {
      await byProgram()
    } catch (error) {
      log.warn('systemd was not told', { what: lines[0], error: String(error) })
    }
  }
  const plain = (...lines: string[]) => deliver({ lines, byProgram: () => run('systemd-notify', lines) })

  return {
    ready: (status) =>
      deliver({
        lines: ['READY=1', statusLine(status)],
        byProgram: () => systemdNotify({ ready: true, status: oneLine(status) }),
      }),
    status: (text) => deliver({ lines: [statusLine(text)], byProgram: () => systemdNotify({ status: oneLine(text) }) }),
    stopping: () => plain('STOPPING=1'),
    reloading: () => plain('RELOADING=1', `MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`),
    async feedWatchdog(alive, signal) {
      const intervalMs = watchdogIntervalMs(environment)
      if (!present || intervalMs === undefined) return
      while (!signal.aborted) {
        if (alive()) await plain('WATCHDOG=1')
        await clock.wait(intervalMs, signal).catch((error: unknown) => {
          if (!signal.aborted) throw error
        })
      }
    },
  }
}

function descriptorOf(environment: NotifyOptions['environment'], log: Log): number | undefined {
  try {
    return notifyDescriptor(environment, process.pid)
  } catch (error) {
    log.warn('the socket that systemd opened is not there', { error: String(error) })
    return undefined
  }
}

function statusLine(text: string): string {
  return `STATUS=${oneLine(text)}`
}

/** A line break would end the status and begin another assignment. */
function oneLine(text: string): string {
  return text.replace(/[\r\n]+/g, ' ')
}

/** Half of WATCHDOG_USEC, in milliseconds. Source: sd_watchdog_enabled(3). */
function watchdogIntervalMs(environment: NotifyOptions['environment']): number | undefined {
  const microseconds = Number(environment['WATCHDOG_USEC'])
  return Number.isFinite(microseconds) && microseconds > 0 ? microseconds / 2000 : undefined
}
