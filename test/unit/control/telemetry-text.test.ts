import assert from 'node:assert/strict'
import { test } from 'node:test'
import { formatStatus, MAX_LINES } from '../../../agent/control/status-text.ts'
import { isStatus } from '../../../agent/control/status.ts'
import type {
  ForwardingStatus,
  OutboxStatus,
  SourceStatus,
  Status,
  TelemetryStatus,
} from '../../../agent/control/status.ts'
import { telemetryStatus } from '../../../agent/control/telemetry-status.ts'
import { Failure } from '../../../agent/failure.ts'
import { track } from '../../../agent/health/tracker.ts'
import { emptyLevel } from '../../kit/outbox-level.ts'

const atMs = Date.UTC(2026, 0, 5, 12)
const HOUR_MS = 3_600_000

const facts = {
  ...{ acknowledged: 120, lastAcknowledgedAtMs: atMs - 12_000 },
  ...{ forwarding: () => undefined, sources: () => [], intake: () => undefined },
}

const away: Status['connection'] = { state: 'disconnected', sinceMs: atMs - HOUR_MS, doing: 'waiting' }

const empty = telemetryStatus(facts, emptyLevel, 60_000)

function statusWith(telemetry: Partial<TelemetryStatus>, others: Partial<Status> = {}): Status {
  return {
    format: 1,
    atMs,
    agent: { version: '0.1.0', pid: 4711, startedAtMs: atMs },
    device: { registrationId: 'press-07', idScope: '0ne00ABCDEF' },
    connection: { state: 'connected', sinceMs: atMs },
    auth: { mode: 'x509', lane: 'x509', state: 'active' },
    telemetry: { ...empty, ...telemetry },
    warnings: [],
    ...others,
  }
}

/** A status with this much in the outbox. */
function holding(level: Partial<OutboxStatus>, forwarding?: ForwardingStatus, others: Partial<Status> = {}): Status {
  const outbox = { ...emptyLevel, depth: 3214, bytes: 429_999, oldestAtMs: atMs - 12_000_000, ...level }
  const { depth: buffered, bytes: bufferedBytes, dropped } = outbox
  return statusWith({ outbox, forwarding, buffered, bufferedBytes, dropped }, others)
}

function lineOf(status: Status, label: string): string | undefined {
  return formatStatus(status).find((line) => line.startsWith(label))
}

test('how many wait, for how long, and what was given up and why are on one line', () => {
  assert.equal(
    lineOf(holding({ dropped: { full: 3, expired: 0, refused: 2, torn: 0 } }), 'Telemetry'),
    'Telemetry   120 acknowledged (last 12 s ago), 3214 waiting (the oldest for 3 h 20 min), 5 dropped (full 3, refused 2); every 60 s',
  )
})

test('an outbox that is empty and well takes no line', () => {
  assert.equal(lineOf(statusWith({}), 'Outbox'), undefined)
  assert.equal(lineOf(statusWith({}), 'Telemetry')?.includes('0 waiting, 0 dropped;'), true)
})

const sending: ForwardingStatus = { inFlight: 20, window: 20, samplesPerSecond: 48.4, backlog: 3000 }

const outboxes: readonly (readonly [what: string, status: Status, line: string])[] = [
  [
    'without a hub it waits for it',
    holding({}, sending, { connection: away }),
    'on disk, 42 % full; waits for the hub',
  ],
  [
    // 3000 samples at 48.4 a second are 61.98 s.
    'a backlog that drains says for how long at the present pace',
    holding({}, sending),
    'on disk, 42 % full; 48 samples/s, 20 on their way, drained in 1 min 1 s or more',
  ],
  [
    'a backlog that has to wait says for how long',
    holding({}, { ...sending, drainBeginsInMs: 12_000 }),
    'on disk, 42 % full; 48 samples/s, 20 on their way, begins to drain in 12 s',
  ],
  [
    'without a pace nothing is foretold',
    holding({}, { ...sending, samplesPerSecond: 0 }),
    'on disk, 42 % full; nothing acknowledged lately, 20 on their way, 3000 to drain',
  ],
  [
    'live samples need no time to drain',
    holding({ depth: 2, bytes: 200 }, { ...sending, inFlight: 2, samplesPerSecond: 0.5, backlog: 0 }),
    'on disk, 0 % full; 0.5 samples/s, 2 on their way',
  ],
  [
    'a hub that slows it is named',
    holding({}, { ...sending, backlog: 0, paceLimitPerSecond: 12.3 }),
    'on disk, 42 % full; 48 samples/s, 20 on their way, slowed by the hub to 12 messages/s',
  ],
  [
    'what is kept in memory only',
    holding({ place: 'memory' }, undefined, { connection: away }),
    'IN MEMORY ONLY, 42 % full; waits for the hub',
  ],
  ['damage', holding({ place: 'mending', depth: 0, bytes: 0 }), 'damaged, being mended, 0 % full'],
  ['messages set aside', holding({ depth: 0, bytes: 0, aside: 1 }), 'on disk, 0 % full; 1 message set aside'],
  [
    'a disk that is full',
    holding({ depth: 0, trouble: { code: 'DISK_FULL', message: 'no space left', advice: 'df' } }),
    'on disk, 42 % full; REFUSES new samples (DISK_FULL)',
  ],
]

for (const [what, status, line] of outboxes) {
  test(`the outbox is described: ${what}`, () => assert.equal(lineOf(status, 'Outbox'), `Outbox      ${line}`))
}

const failed: SourceStatus = {
  ...{ name: 'weather', runs: 120, failures: 5, failedInARow: 3 },
  lastFailure: { code: 'SOURCE_FAILED', message: 'it printed no JSON', advice: 'run it' },
}

test('programs that failed at their last run are named, those that have recovered are not', () => {
  const sources = [{ name: 'door', runs: 9, failures: 1, failedInARow: 0 }, failed]
  assert.equal(
    lineOf(statusWith({ sources }), 'Sources'),
    'Sources     1 of 2 fail; weather failed its last 3 runs, 5 of 120 in all: SOURCE_FAILED, it printed no JSON',
  )
  assert.equal(lineOf(statusWith({ sources: sources.slice(0, 1) }), 'Sources'), undefined)
  const once = lineOf(statusWith({ sources: [{ ...failed, failedInARow: 1 }] }), 'Sources')
  assert.match(once ?? '', /weather failed its last run, 5 of 120/)
})

test('what local programs handed in is counted, with the reasons of what was refused', () => {
  const socket = { accepted: 1234, refused: { TELEMETRY_QUOTA: 4, TELEMETRY_INVALID: 1, OUTBOX_FULL: 0 } }
  assert.equal(
    lineOf(statusWith({ socket }), 'Socket'),
    'Socket      1234 accepted, 5 refused (TELEMETRY_QUOTA 4, TELEMETRY_INVALID 1)',
  )
  assert.equal(lineOf(statusWith({ socket: { accepted: 0, refused: {} } }), 'Socket'), undefined)
})

test('with everything to be said the lines are at most 20, what to type against the refusal among them', () => {
  const codes = ['OUTBOX_REFUSING', 'SOURCE_FAILING', 'TELEMETRY_DROPPED'] as const
  const findings = codes.map((code) => ({ code, text: 'why', advice: `type ${code}` }))
  const { warnings } = track([], findings, atMs)
  const trouble = { code: 'DISK_FULL', message: 'x'.repeat(1000), advice: 'df' }
  const full = holding({ trouble, aside: 2 }, sending, { connection: away, warnings })
  const lines = formatStatus({ ...full, telemetry: { ...full.telemetry, sources: [failed] } })
  assert.ok(lines.length <= MAX_LINES, `${lines.length} lines`)
  for (const shown of ['Outbox ', 'Sources ', '            next: type OUTBOX_REFUSING'])
    assert.ok(
      lines.some((line) => line.startsWith(shown)),
      shown,
    )
  assert.ok(lines.every((line) => line.length < 400))
})

test('an agent of an earlier version, which tells nothing of outbox, sources and socket, is understood', () => {
  const { intervalSeconds, acknowledged, dropped } = empty
  const telemetry = { intervalSeconds, acknowledged, dropped, buffered: 7, bufferedBytes: 700 }
  const status = { ...statusWith({}), telemetry }
  assert.ok(isStatus(JSON.parse(JSON.stringify(status))))
  assert.match(lineOf(status, 'Telemetry') ?? '', /^Telemetry +120 acknowledged, 7 waiting, 0 dropped; every 60 s$/)
  assert.equal(lineOf(status, 'Outbox'), undefined)
})

test('the keys of earlier versions are views of the outbox, and failures have no more than a reader is shown', () => {
  const failure = new Failure('DISK_FULL', 'no space left', { cause: new Error('ENOSPC'), context: { path: '/state' } })
  const shown = { code: 'DISK_FULL', message: 'no space left', advice: failure.advice }
  const dropped = { full: 1, expired: 2, refused: 3, torn: 4 }
  const level = { ...emptyLevel, depth: 5, bytes: 50, dropped, trouble: failure }
  const source = { name: 'weather', runs: 2, failures: 1, failedInARow: 1, lastFailure: failure }
  const told = telemetryStatus({ ...facts, sources: () => [source] }, level, 5_000)
  assert.deepEqual([told.buffered, told.bufferedBytes, told.dropped, told.intervalSeconds], [5, 50, dropped, 5])
  assert.deepEqual(told.outbox, { ...level, trouble: shown })
  assert.deepEqual(told.sources, [{ ...source, lastFailure: shown }])
})
