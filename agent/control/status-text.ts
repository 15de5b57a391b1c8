import {
  attemptText,
  auditText,
  clockText,
  fallbackText,
  goingOn,
  sasText,
  stateText,
  waitingText,
} from './auth-text.ts'
import type { ConnectionStatus, Status } from './status.ts'
import { restartText } from './reload.ts'
import { outboxText, socketText, sourcesText, telemetryText } from './telemetry-text.ts'
import { duration, isoSeconds } from './time-text.ts'
import { daysLeft, judge } from './verdict.ts'

/** Lines that fit on the smallest terminal together with the prompt. */
export const MAX_LINES = 20

const LABEL_WIDTH = 12

/** Lines of warnings for which other lines make room: the two gravest, and how many more there are. */
const WARNING_LINES = 5

/** Moves before the last that are shown where there is room. */
const EARLIER_MOVES = 2

/** The status for a person: the verdict first, at most `MAX_LINES` lines. */
export function formatStatus(status: Status): readonly string[] {
  const { safe, because } = judge(status)
  const head = [
    row('Safe', `${safe}: ${because}`),
    ...connectionRows(status),
    row('Device', deviceText(status)),
    ...authRows(status, because),
    row('Telemetry', telemetryText(status)),
    row('Agent', agentText(status)),
    ...rowIf('Config', restartText(status.configuration?.pending ?? [])),
  ]
  const reserved = Math.min(WARNING_LINES, 2 * status.warnings.length)
  const more = moreRows(status).slice(0, Math.max(0, MAX_LINES - head.length - reserved))
  const rows = [...head, ...more]
  return [...rows, ...warningRows(status, MAX_LINES - rows.length)].map(printable)
}

/** What is said as far as there is room, the most telling first. */
function moreRows(status: Status): readonly string[] {
  const { auth, clock, atMs } = status
  const { move, waiting, history = [], sas, fallback, audit } = auth
  const [last, ...earlier] = history.toReversed()
  return [
    ...(move === undefined && waiting !== undefined ? [row('Waiting', waitingText(waiting, atMs))] : []),
    ...rowIf('Outbox', outboxText(status)),
    ...rowIf('Sources', sourcesText(status)),
    ...(last === undefined ? [] : [row('Last move', attemptText(last, atMs))]),
    ...(sas === undefined ? [] : [row('SAS', sasText(sas))]),
    ...(fallback === undefined || sas?.retirement !== undefined
      ? []
      : [row('Fallbacks', fallbackText(fallback, atMs))]),
    ...(clock === undefined ? [] : [row('Clock', clockText(clock))]),
    ...rowIf('Socket', socketText(status)),
    ...(audit === undefined ? [] : [row('Audit', auditText(audit))]),
    ...earlier.slice(0, EARLIER_MOVES).map((attempt) => row('Before', attemptText(attempt, atMs))),
  ]
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

/** The file of a key that lives in a token only names it. */
function storeText(store: string | undefined): string {
  if (store === 'encrypted') return ', encrypted'
  if (store === 'pkcs11') return ' in a PKCS#11 token'
  return store === 'tpm' ? ' in the TPM' : ''
}

function authRows(status: Status, because: string): readonly string[] {
  const { auth, atMs } = status
  const { certificate, key } = auth
  const { doing } = goingOn(status)
  const certificateRows =
    certificate === undefined
      ? [row('Certificate', 'none')]
      : [
          row('Certificate', `${certificate.subject}, issued by ${certificate.issuer} (${certificate.issuedBy})`),
          row('', `until ${certificate.notAfter}, ${daysText(daysLeft(certificate.notAfter, atMs))}`),
          ...(certificate.renewAt === undefined ? [] : [row('', `renewed from ${certificate.renewAt} on`)]),
          row('', `SHA-1   ${certificate.thumbprintSha1}`),
          row('', `SHA-256 ${certificate.thumbprintSha256}`),
        ]
  return [
    row('Auth', `${auth.mode} on lane ${auth.lane}, ${stateText(auth.state)}`),
    ...(doing === undefined || because.includes(doing)
      ? []
      : [row(auth.move === undefined ? 'Fallback' : 'Move', doing)]),
    ...certificateRows,
    row('Key', key === undefined ? 'none' : `${key.path}, mode ${key.mode}, ${key.kind}${storeText(key.store)}`),
  ]
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

export function row(label: string, text: string): string {
  return `${label.padEnd(LABEL_WIDTH)}${text}`
}

function rowIf(label: string, text: string | undefined): readonly string[] {
  return text === undefined ? [] : [row(label, text)]
}

function daysText(days: number): string {
  if (days < 0) return 'EXPIRED'
  return days === 0 ? 'less than a day left' : `${days} day${days === 1 ? '' : 's'} left`
}

/** Names and reasons come from certificates, servers and programs: nothing in them may steer the terminal. */
export function printable(line: string): string {
  return line.replaceAll(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, '?')
}
