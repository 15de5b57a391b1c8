import type { ConnectionStatus, Status } from './status.ts'
import { daysLeft, judge } from './verdict.ts'

/** Lines that fit on the smallest terminal together with the prompt. */
export const MAX_LINES = 20

const LABEL_WIDTH = 12

/** The status for a person: the verdict first, at most `MAX_LINES` lines. */
export function formatStatus(status: Status): readonly string[] {
  const { safe, because } = judge(status)
  const head = [
    row('Safe', `${safe}: ${because}`),
    ...connectionRows(status),
    row('Device', deviceText(status)),
    ...authRows(status),
    row('Telemetry', telemetryText(status)),
    row('Agent', agentText(status)),
  ]
  return [...head, ...warningRows(status, MAX_LINES - head.length)].map(printable)
}

function connectionRows({ connection, device, atMs }: Status): readonly string[] {
  const hub = device.assignedHub ?? 'none assigned yet'
  const since = `${duration(atMs - connection.sinceMs)}, since ${isoSeconds(connection.sinceMs)}`
  if (connection.state === 'connected') return [row('Hub', `${hub}, connected for ${since}`)]
  const { failure } = connection
  return [
    row('Hub', `${hub}, not connected for ${since}; ${doingText(connection, atMs)}`),
    ...(failure === undefined
      ? []
      : [row('Cause', `${failure.code}: ${failure.message}`), row('', `next: ${failure.advice}`)]),
  ]
}

const doingTexts = {
  starting: 'starting',
  awaitingCertificate: 'waiting for the certificate',
  registering: 'registering at DPS',
  connecting: 'connecting',
  waiting: 'waiting before the next attempt',
  stopping: 'stopping',
} as const

function doingText(connection: Extract<ConnectionStatus, { state: 'disconnected' }>, nowMs: number): string {
  const { doing, retryAtMs } = connection
  const again = retryAtMs === undefined ? '' : ` (in ${duration(Math.max(0, retryAtMs - nowMs))})`
  return `${doingTexts[doing] ?? doing}${again}`
}

function deviceText({ device }: Status): string {
  const { deviceId, registrationId } = device
  return deviceId === undefined || deviceId === registrationId
    ? `${registrationId} (registration ID${deviceId === undefined ? '' : ' and device ID'})`
    : `${deviceId} (registration ID ${registrationId})`
}

function authRows({ auth, atMs }: Status): readonly string[] {
  const { certificate, key } = auth
  const state = auth.state === 'active' ? 'active' : 'waiting for the certificate'
  const certificateRows =
    certificate === undefined
      ? [row('Certificate', 'none')]
      : [
          row('Certificate', `${certificate.subject}, issued by ${certificate.issuer} (${certificate.issuedBy})`),
          row('', `until ${certificate.notAfter}, ${daysText(daysLeft(certificate.notAfter, atMs))}`),
          row('', `SHA-1   ${certificate.thumbprintSha1}`),
          row('', `SHA-256 ${certificate.thumbprintSha256}`),
        ]
  return [
    row('Auth', `${auth.mode} on lane ${auth.lane}, ${state}`),
    ...certificateRows,
    row('Key', key === undefined ? 'none' : `${key.path}, mode ${key.mode}, ${key.kind}`),
  ]
}

function telemetryText({ telemetry, atMs }: Status): string {
  const { acknowledged, lastAcknowledgedAtMs, buffered, intervalSeconds } = telemetry
  const last = lastAcknowledgedAtMs === undefined ? '' : ` (last ${duration(atMs - lastAcknowledgedAtMs)} ago)`
  const causes = Object.entries(telemetry.dropped).filter(([, count]) => count > 0)
  const dropped = causes.reduce((all, [, count]) => all + count, 0)
  const why = dropped === 0 ? '' : ` (${causes.map(([cause, count]) => `${cause} ${count}`).join(', ')})`
  return `${acknowledged} acknowledged${last}, ${buffered} buffered, ${dropped} dropped${why}; every ${intervalSeconds} s`
}

function agentText({ agent, atMs }: Status): string {
  return `${agent.version}, running for ${duration(atMs - agent.startedAtMs)}, PID ${agent.pid}`
}

/** Two lines a warning; what has no room is counted. */
function warningRows({ warnings }: Status, room: number): readonly string[] {
  const all = warnings.flatMap(({ code, text, advice }) => [
    row('Warning', `${code}: ${text}`),
    row('', `next: ${advice}`),
  ])
  if (all.length <= room) return all
  const shown = Math.max(0, Math.floor((room - 1) / 2))
  return [...all.slice(0, shown * 2), row('', `and ${warnings.length - shown} more: iot-device-agent status --json`)]
}

function row(label: string, text: string): string {
  return `${label.padEnd(LABEL_WIDTH)}${text}`
}

function daysText(days: number): string {
  if (days < 0) return 'EXPIRED'
  return days === 0 ? 'less than a day left' : `${days} day${days === 1 ? '' : 's'} left`
}

/** The two largest units: `2 d 3 h`, `3 min 4 s`, `5 s`. A clock that was set back shows as 0 s. */
export function duration(ms: number): string {
  let left = Math.max(0, Math.floor(ms / 1000))
  const parts: string[] = []
  for (const [unit, seconds] of [
    ['d', 86_400],
    ['h', 3600],
    ['min', 60],
    ['s', 1],
  ] as const) {
    const count = Math.floor(left / seconds)
    left -= count * seconds
    if (count > 0) parts.push(`${count} ${unit}`)
    else if (parts.length > 0) break
  }
  return parts.slice(0, 2).join(' ') || '0 s'
}

function isoSeconds(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z')
}

/** Names and reasons come from certificates and servers: nothing in them may steer the terminal. */
function printable(line: string): string {
  return line.replaceAll(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, '?')
}
