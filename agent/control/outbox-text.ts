import type { AsideStatus, OutboxView, StreamStatus } from './outbox.ts'
import { printable, row } from './status-text.ts'
import { counted, placeTexts, sum } from './telemetry-text.ts'
import { duration, isoSeconds } from './time-text.ts'

/** What of each kind is shown; `outbox --json` has all. */
const MAX_STREAMS = 15
const MAX_ASIDE = 10

/** The outbox for a person: how full it is, what waits in it, and what was set aside and why. */
export function formatOutbox(view: OutboxView): readonly string[] {
  const { level, streams, aside } = view
  return [
    row('Outbox', levelText(view)),
    ...(level.trouble === undefined
      ? []
      : [row('Refuses', `${level.trouble.code}: ${level.trouble.message}`), row('', `next: ${level.trouble.advice}`)]),
    row('Given up', `${sum(level.dropped)}${counted(level.dropped)}`),
    ...streams.slice(0, MAX_STREAMS).map((stream, at) => row(at === 0 ? 'Waiting' : '', streamText(stream, view.atMs))),
    ...moreThan(streams, MAX_STREAMS),
    ...aside
      .slice(0, MAX_ASIDE)
      .flatMap((one, at) => [
        row(at === 0 ? 'Set aside' : '', asideText(one)),
        row('', `  ${one.code}: ${one.message}`),
      ]),
    ...moreThan(aside, MAX_ASIDE),
    ...(aside.length === 0 ? [] : [row('', 'to read one: iot-device-agent outbox --body ID')]),
  ].map(printable)
}

function levelText({ level: { depth, bytes, maxBytes, oldestAtMs, place }, atMs }: OutboxView): string {
  const oldest = oldestAtMs === undefined ? '' : `, the oldest for ${duration(atMs - oldestAtMs)}`
  const share = Math.floor((bytes / maxBytes) * 100)
  return `${placeTexts[place] ?? place}; ${depth} waiting${oldest}; ${bytes} of ${maxBytes} bytes (${share} %)`
}

function streamText({ name, priority, depth, oldestAtMs, newestAtMs }: StreamStatus, nowMs: number): string {
  const since = `the oldest for ${duration(nowMs - oldestAtMs)}, the newest for ${duration(nowMs - newestAtMs)}`
  return `${name} (${priority}): ${depth}, ${since}`
}

/** `2026-01-05T12:00:00Z stream press, ID a-17, 44 bytes of application/json, poison=1` */
function asideText({ id, stream, atMs, label, bytes }: AsideStatus): string {
  const properties = Object.entries(label.properties ?? {}).map(([name, value]) => `, ${name}=${value}`)
  return `${isoSeconds(atMs)} stream ${stream}, ID ${id}, ${bytes} bytes of ${label.contentType}${properties.join('')}`
}

function moreThan(all: readonly unknown[], shown: number): readonly string[] {
  return all.length <= shown ? [] : [row('', `and ${all.length - shown} more: iot-device-agent outbox --json`)]
}
