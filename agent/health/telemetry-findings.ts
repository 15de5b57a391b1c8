import type { Finding } from './warning-table.ts'
import type { HealthFacts } from './warnings.ts'

const DAY_MS = 86_400_000

/** Share of the room from which on somebody should look. */
const NEARLY_FULL = 0.8

/** A program that failed once may have met something that passes. */
const FAILURES_IN_A_ROW = 3

/** What is named in one warning at most; `status` has them all. */
const MAX_NAMED = 3

/** What the warnings know of the outbox. Times are wall time in milliseconds. */
export interface OutboxFacts {
  readonly depth: number
  readonly bytes: number
  readonly maxBytes: number
  readonly oldestAtMs?: number
  /** Messages that the hub will never take, kept for a look. */
  readonly aside: number
  readonly place: 'disk' | 'memory' | 'mending'
  /** What refuses new samples at present. */
  readonly trouble?: Failed
}

export interface Failed {
  readonly code: string
  readonly message: string
  readonly advice: string
}

/** Samples given up, by cause: how many, restarts included, and when the last was since the start. */
export interface DropFacts {
  readonly counts: Readonly<Record<string, number>>
  readonly lastMs: Readonly<Record<string, number>>
}

/** A program that is run for its measurements. */
export interface SourceHealth {
  readonly name: string
  readonly failedInARow: number
  readonly lastFailure?: Failed
}

/** What is not as it should be with samples on their way to the hub. */
export function telemetryFindings(facts: HealthFacts): readonly Finding[] {
  return [
    ...storeFindings(facts),
    ...sourceFindings(facts),
    ...tornFindings(facts),
    ...roomFindings(facts),
    ...dropFindings(facts),
    ...asideFindings(facts),
  ]
}

function storeFindings({ outbox }: HealthFacts): readonly Finding[] {
  if (outbox === undefined) return []
  const { depth, place, trouble } = outbox
  const why = trouble === undefined ? '' : `: ${trouble.message}`
  const inMemory: readonly Finding[] =
    place === 'memory'
      ? [{ code: 'OUTBOX_IN_MEMORY', text: `${samples(depth)} in memory only, lost with the process${why}` }]
      : []
  if (trouble === undefined || trouble.code === 'OUTBOX_IN_MEMORY') return inMemory
  const text = `new samples are refused: ${trouble.code}${why}`
  return [{ code: 'OUTBOX_REFUSING', text, advice: trouble.advice }, ...inMemory]
}

function sourceFindings({ sources = [] }: HealthFacts): readonly Finding[] {
  const failing = sources.filter(({ failedInARow }) => failedInARow >= FAILURES_IN_A_ROW)
  if (failing.length === 0) return []
  const named = failing.slice(0, MAX_NAMED).map(({ name, failedInARow, lastFailure }) => {
    const why = lastFailure === undefined ? '' : ` (${lastFailure.message})`
    return `${name} failed ${failedInARow} times in a row${why}`
  })
  const more = failing.length > MAX_NAMED ? [`${failing.length - MAX_NAMED} more fail`] : []
  return [{ code: 'SOURCE_FAILING', text: [...named, ...more].join('; ') }]
}

function tornFindings({ nowMs, outbox, tornAtMs }: HealthFacts): readonly Finding[] {
  if (outbox?.place === 'mending')
    return [{ code: 'OUTBOX_TORN', text: 'the outbox is damaged and is being mended; new samples have to wait' }]
  if (!isOfToday(tornAtMs, nowMs)) return []
  return [{ code: 'OUTBOX_TORN', text: `the outbox was damaged, and mended on ${isoTime(tornAtMs)}` }]
}

/** For a device that has its hub. */
const LET_IT_DRAIN =
  'Nothing while it drains: iot-device-agent status says for how long. If it does not: raise ' +
  'telemetry.outbox.maxMegabytes, then: systemctl restart iot-device-agent'

function roomFindings({ hub, outbox }: HealthFacts): readonly Finding[] {
  if (outbox === undefined || outbox.bytes < NEARLY_FULL * outbox.maxBytes) return []
  const { depth, bytes, maxBytes, oldestAtMs } = outbox
  const since = oldestAtMs === undefined ? '' : `, the oldest since ${isoTime(oldestAtMs)}`
  const share = Math.floor((bytes / maxBytes) * 100)
  const text = `${share} % of the room is taken: ${samples(depth)}${since}`
  return [{ code: 'OUTBOX_NEARLY_FULL', text, ...(hub.state === 'connected' && { advice: LET_IT_DRAIN }) }]
}

const dropAdvice: Readonly<Partial<Record<string, string>>> = {
  full: 'Bring the device back to its hub (iot-device-agent status), or raise telemetry.outbox.maxMegabytes.',
  expired: 'Bring the device back to its hub (iot-device-agent status), or raise telemetry.outbox.maxDays.',
  torn: 'Look for failing storage: journalctl -k',
}

/** What was set aside has a warning of its own. */
function dropFindings({ nowMs, drops }: HealthFacts): readonly Finding[] {
  const { refused: _, ...counts } = drops?.counts ?? {}
  const { refused: _atMs, ...lastMs } = drops?.lastMs ?? {}
  const last = Math.max(...Object.values(lastMs))
  if (!isOfToday(last, nowMs)) return []
  const causes = Object.entries(counts).filter(([, count]) => count > 0)
  const all = causes.reduce((sum, [, count]) => sum + count, 0)
  const why = causes.map(([cause, count]) => `${cause} ${count}`).join(', ')
  const text = `${samples(all)} given up (${why}), the last on ${isoTime(last)}`
  const advice = dropAdvice[Object.keys(lastMs).find((cause) => lastMs[cause] === last) ?? '']
  return [{ code: 'TELEMETRY_DROPPED', text, ...(advice !== undefined && { advice }) }]
}

function asideFindings({ nowMs, outbox, drops }: HealthFacts): readonly Finding[] {
  const kept = outbox?.aside ?? 0
  if (kept === 0 && !isOfToday(drops?.lastMs['refused'], nowMs)) return []
  const refused = drops?.counts['refused'] ?? 0
  const text = `${samples(refused)} refused by the hub, ${kept} message${kept === 1 ? '' : 's'} kept for a look`
  return [{ code: 'MESSAGE_SET_ASIDE', text }]
}

function isOfToday(atMs: number | undefined, nowMs: number): atMs is number {
  return atMs !== undefined && nowMs - atMs <= DAY_MS
}

function samples(count: number): string {
  return `${count} sample${count === 1 ? '' : 's'}`
}

function isoTime(ms: number): string {
  return new Date(ms).toISOString()
}
