import type { ForwardingStatus, OutboxStatus, SourceStatus, Status } from './status.ts'
import { duration } from './time-text.ts'

/** Longest reason that is shown; `status --json` has it whole. */
const MAX_REASON = 160

/** `120 acknowledged (last 12 s ago), 3214 waiting (the oldest for 3 h 20 min), 5 dropped (full 3, refused 2); every 60 s` */
export function telemetryText({ telemetry, atMs }: Status): string {
  const { acknowledged, lastAcknowledgedAtMs, buffered, intervalSeconds, outbox } = telemetry
  const last = lastAcknowledgedAtMs === undefined ? '' : ` (last ${duration(atMs - lastAcknowledgedAtMs)} ago)`
  const oldest = outbox?.oldestAtMs === undefined ? '' : ` (the oldest for ${duration(atMs - outbox.oldestAtMs)})`
  const dropped = `${sum(telemetry.dropped)} dropped${counted(telemetry.dropped)}`
  return `${acknowledged} acknowledged${last}, ${buffered} waiting${oldest}, ${dropped}; every ${intervalSeconds} s`
}

/** How full the outbox is, whether it drains and how long that takes; undefined when it is empty and well. */
export function outboxText(status: Status): string | undefined {
  const { outbox } = status.telemetry
  if (outbox === undefined || isEmptyAndWell(outbox)) return undefined
  const { depth, bytes, maxBytes, aside, place, trouble } = outbox
  return [
    `${placeTexts[place] ?? place}, ${Math.floor((bytes / maxBytes) * 100)} % full`,
    ...(trouble === undefined ? [] : [`REFUSES new samples (${trouble.code})`]),
    ...(depth === 0 ? [] : [drainText(status)]),
    ...(aside === 0 ? [] : [`${aside} message${aside === 1 ? '' : 's'} set aside`]),
  ].join('; ')
}

export const placeTexts: Readonly<Partial<Record<string, string>>> = {
  disk: 'on disk',
  memory: 'IN MEMORY ONLY',
  mending: 'damaged, being mended',
}

function isEmptyAndWell({ depth, aside, place, trouble }: OutboxStatus): boolean {
  return depth === 0 && aside === 0 && place === 'disk' && trouble === undefined
}

function drainText({ connection, telemetry: { forwarding } }: Status): string {
  if (connection.state === 'disconnected') return 'waits for the hub'
  if (forwarding === undefined) return 'begins to send'
  const { inFlight, samplesPerSecond, paceLimitPerSecond } = forwarding
  const limit = paceLimitPerSecond === undefined ? '' : `, slowed by the hub to ${rate(paceLimitPerSecond)} messages/s`
  const pace = samplesPerSecond === 0 ? 'nothing acknowledged lately' : `${rate(samplesPerSecond)} samples/s`
  return `${pace}, ${inFlight} on their way${limit}${backlogText(forwarding)}`
}

/** Live samples share the pace with the backlog, so that the time is the least that it can be. */
function backlogText({ backlog, samplesPerSecond, drainBeginsInMs }: ForwardingStatus): string {
  if (backlog === 0) return ''
  if (drainBeginsInMs !== undefined) return `, begins to drain in ${duration(drainBeginsInMs)}`
  if (samplesPerSecond === 0) return `, ${backlog} to drain`
  return `, drained in ${duration((backlog / samplesPerSecond) * 1000)} or more`
}

/** The programs that failed at their last run; undefined when none did. */
export function sourcesText({ telemetry: { sources = [] } }: Status): string | undefined {
  const failing = sources.filter(({ failedInARow }) => failedInARow > 0)
  if (failing.length === 0) return undefined
  return `${failing.length} of ${sources.length} fail; ${short(failing.map(sourceText).join('; '))}`
}

function sourceText({ name, runs, failures, failedInARow, lastFailure }: SourceStatus): string {
  const why = lastFailure === undefined ? '' : `: ${lastFailure.code}, ${lastFailure.message}`
  const last = failedInARow === 1 ? 'its last run' : `its last ${failedInARow} runs`
  return `${name} failed ${last}, ${failures} of ${runs} in all${why}`
}

/** What local programs handed in; undefined when there was nothing. */
export function socketText({ telemetry: { socket } }: Status): string | undefined {
  if (socket === undefined || socket.accepted + sum(socket.refused) === 0) return undefined
  return `${socket.accepted} accepted, ${sum(socket.refused)} refused${counted(socket.refused)}`
}

export function sum(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((all, count) => all + count, 0)
}

/** ` (full 3, refused 2)` */
export function counted(counts: Readonly<Record<string, number>>): string {
  const some = Object.entries(counts).filter(([, count]) => count > 0)
  return some.length === 0 ? '' : ` (${some.map(([cause, count]) => `${cause} ${count}`).join(', ')})`
}

function rate(perSecond: number): string {
  return perSecond < 10 ? perSecond.toFixed(1) : String(Math.round(perSecond))
}

function short(text: string): string {
  return text.length > MAX_REASON ? `${text.slice(0, MAX_REASON)}…` : text
}
