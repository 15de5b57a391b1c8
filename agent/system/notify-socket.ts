import { fstatSync, writeSync } from 'node:fs'

type Environment = Readonly<Record<string, string | undefined>>

/** First descriptor that systemd hands over. Source: sd_listen_fds(3), SD_LISTEN_FDS_START. */
const FIRST_DESCRIPTOR = 3

/** The name that the unit gives to the socket, in `OpenFile=`. */
const NAME = 'notify'

/**
 * The connected datagram socket of the service manager that `OpenFile=` of the unit has opened; undefined where systemd
 * is older than 253, or did not start this process. Node closes it for the programs that it starts.
 */
export function notifyDescriptor(environment: Environment, pid: number): number | undefined {
  if (environment['LISTEN_PID'] !== String(pid)) return undefined
  const index = (environment['LISTEN_FDNAMES'] ?? '').split(':').indexOf(NAME)
  if (index < 0) return undefined
  const descriptor = FIRST_DESCRIPTOR + index
  return fstatSync(descriptor).isSocket() ? descriptor : undefined
}

/**
 * Sends one message: `NAME=value` lines. Source: sd_notify(3).
 *
 * @throws Error the socket does not take it now
 */
export function writeNotify(descriptor: number, lines: readonly string[]): void {
  writeSync(descriptor, lines.join('\n'))
}
