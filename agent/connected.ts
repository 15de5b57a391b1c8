import type { Config } from './config/paths.ts'
import { judgeHealth, reportOf } from './facts.ts'
import type { Facts, Surroundings } from './facts.ts'
import { asFailure, Failure } from './failure.ts'
import type { AnswerMethod, Session, Twin, TwinDocument } from './hub/session.ts'
import { backoffMs } from './system/backoff.ts'
import type { Clock } from './system/clock.ts'
import type { Log } from './system/log.ts'
import type { Notify } from './system/notify.ts'
import { createBell } from './telemetry/bell.ts'
import type { Bell } from './telemetry/bell.ts'
import type { Forwarder } from './telemetry/forward/port.ts'
import type { Schedule } from './telemetry/schedule.ts'
import { readDesired } from './twin/desired.ts'
import type { Desired } from './twin/desired.ts'
import { difference } from './twin/difference.ts'
import type { JsonObject } from './twin/json.ts'
import { isNews } from './twin/news.ts'
import { reconcile } from './twin/reconcile.ts'
import type { Reconciliation, Settings } from './twin/reconcile.ts'
import { ourPart } from './twin/reported.ts'

/** What a session is attended with. */
export interface Attendance {
  readonly config: Config
  readonly clock: Clock
  readonly random: () => number
  readonly log: Log
  readonly notify: Notify
  readonly facts: Facts
  readonly surroundings: Surroundings
  readonly schedule: Schedule
  readonly forwarder: Forwarder
  /** Answers direct methods. */
  readonly methods: AnswerMethod
  /** Rings when there is something to report at once. */
  readonly news: Bell
}

/** What one session is attended with. */
export interface SessionParts extends Attendance {
  /** Called when the twin was read, and at each acknowledgement: together they prove the credential. */
  readonly onTwinRead: () => void
  readonly onAcknowledged: () => void
}

/** The newest desired part of one session, and the bell that rings when there is a newer one. */
export interface DesiredInbox {
  readonly changed: Bell
  put(desired: TwinDocument): void
  newest(): TwinDocument | undefined
}

export function createDesiredInbox(): DesiredInbox {
  const changed = createBell()
  let newest: TwinDocument | undefined
  return {
    changed,
    newest: () => newest,
    put(desired) {
      newest = desired
      changed.ring()
    },
  }
}

/** Warnings are judged so often, and what has changed since the last report is reported. */
export const HEALTH_TICK_MS = 60_000

/** Twin reads and reports that failed are tried again on this schedule. The hub allows 50 updates/s to all its devices. */
const TWIN_RETRY = { baseMs: 2_000, capMs: 120_000 }

/**
 * Does what there is to do on one session: sends what waits, follows the twin, reports.
 *
 * @throws Failure       of a send that failed although the session had not ended
 * @throws signal.reason when aborted, as it is at the end of the session
 */
export async function attend(
  session: Session,
  inbox: DesiredInbox,
  parts: SessionParts,
  signal: AbortSignal,
): Promise<void> {
  await Promise.all([
    followTwin(session, inbox, parts, signal),
    serveMethods(session, parts, signal),
    parts.forwarder.run(async (message) => {
      await session.send(message)
      parts.onAcknowledged()
    }, signal),
  ])
}

/** A session without direct methods works on. */
async function serveMethods(session: Session, { methods, log }: Attendance, signal: AbortSignal): Promise<void> {
  const failure = await session.serveMethods(methods).then(() => undefined, asFailure)
  if (failure !== undefined && !signal.aborted) log.failure(failure, { event: 'direct methods are not served' })
}

/** Reads the twin, then answers every change of it and every change of our own health. */
async function followTwin(
  session: Session,
  inbox: DesiredInbox,
  parts: SessionParts,
  signal: AbortSignal,
): Promise<never> {
  const twin = await readUntilThere(session, parts, signal)
  parts.onTwinRead()
  let known = ourPart(twin.reported)
  let failed = 0
  if (inbox.newest() === undefined) inbox.put(twin.desired)
  for (;;) {
    const desired = inbox.newest()
    const rings = parts.news.rings()
    if (desired !== undefined) follow(desired, parts)
    logHealth(parts)
    const next = reportOf(parts.facts, parts.surroundings, parts.clock.now())
    const failure = await reportDifference(session, known, next).catch(asFailure)
    signal.throwIfAborted()
    if (failure === undefined) known = next
    else parts.log.failure(failure, { event: 'the twin could not be changed' })
    failed = failure === undefined ? 0 : failed + 1
    // What rang while the hub had the report is in the next one; after a failure everything waits for its time.
    if (failure === undefined && parts.news.rings() !== rings) continue
    if (inbox.newest() === desired) await changeOrTick(inbox, known, parts, retryMs(failure, failed, parts), signal)
  }
}

async function reportDifference(session: Session, known: JsonObject, next: JsonObject): Promise<undefined> {
  const patch = difference(known, next)
  if (patch !== undefined) await session.report(patch)
  return undefined
}

/** A session without its twin works on; the twin is asked for until it comes. */
async function readUntilThere(session: Session, parts: Attendance, signal: AbortSignal): Promise<Twin> {
  for (let failed = 1; ; failed += 1) {
    const outcome = await session.readTwin().catch(asFailure)
    signal.throwIfAborted()
    if (!(outcome instanceof Failure)) return outcome
    parts.log.failure(outcome, { event: 'the twin could not be read' })
    await parts.clock.wait(retryMs(outcome, failed, parts) ?? 0, signal)
  }
}

function retryMs(failure: Failure | undefined, failed: number, { random }: Attendance): number | undefined {
  return failure && (failure.retryAfterMs ?? backoffMs(failed - 1, TWIN_RETRY, random))
}

/** Applies what the cloud wishes and keeps the answers for the next report. */
function follow(document: TwinDocument, parts: Attendance): void {
  const { clock, facts, log, schedule } = parts
  const read = readDesired(document)
  if (!read.ok) return log.warn('the desired properties cannot be understood', { problems: read.problems })
  const { version, wishes } = read.value
  if (isAlike(facts.desired, read.value)) return
  facts.desired = { ...read.value, readAtMs: clock.now() }
  facts.rotation?.wish({ version, ...wishes.auth })
  const { actions, acknowledgements } = reconciled(read.value, parts)
  facts.acknowledgements = acknowledgements
  for (const action of actions) {
    log.info('the twin changed a setting', { ...action })
    if (action.do === 'setInterval') schedule.setIntervalMs(action.seconds * 1000)
    else log.setLevel(action.level)
  }
}

/**
 * Puts a changed interval or log level of the configuration in force. What the twin wishes keeps its precedence, and its
 * answers tell what applies now.
 *
 * @param keys that have changed
 * @returns those of them that the twin decides
 */
export function takeUpSettings(keys: readonly string[], parts: Attendance): readonly string[] {
  const { config, facts, log, news, schedule } = parts
  const wishes = facts.desired?.wishes ?? {}
  const wished = { 'telemetry.intervalSeconds': wishes.intervalSeconds, 'log.level': wishes.logLevel }
  const isOpen = (key: keyof typeof wished) => keys.includes(key) && wished[key] === undefined
  if (isOpen('telemetry.intervalSeconds')) schedule.setIntervalMs(config.telemetry.intervalSeconds * 1000)
  if (isOpen('log.level')) log.setLevel(config.log.level)
  if (facts.desired !== undefined) facts.acknowledgements = reconciled(facts.desired, parts).acknowledgements
  news.ring()
  return keys.filter((key) => wished[key as keyof typeof wished] !== undefined)
}

function reconciled(desired: Desired, { config, log, schedule }: Attendance): Reconciliation {
  const configured: Settings = { intervalSeconds: config.telemetry.intervalSeconds, logLevel: config.log.level }
  const current: Settings = { intervalSeconds: schedule.intervalMs() / 1000, logLevel: log.level() }
  return reconcile({ desired, configured, current })
}

/** On another hub the versions begin anew, so that the number alone does not tell. */
function isAlike(before: Desired | undefined, { version, wishes, refusals }: Desired): boolean {
  if (before?.version !== version) return false
  return JSON.stringify([before.wishes, before.refusals]) === JSON.stringify([wishes, refusals])
}

/** Returns at a change of the desired part, at a tick with news, or when it is time to report again. */
async function changeOrTick(
  inbox: DesiredInbox,
  known: JsonObject,
  parts: Attendance,
  retryInMs: number | undefined,
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    const before = inbox.newest()
    const either = new AbortController()
    const stop = AbortSignal.any([signal, either.signal])
    const ends = [inbox.changed.next(stop), parts.news.next(stop), parts.clock.wait(retryInMs ?? HEALTH_TICK_MS, stop)]
    try {
      await Promise.race(ends)
    } finally {
      either.abort()
      await Promise.allSettled(ends)
    }
    if (retryInMs !== undefined || inbox.newest() !== before) return
    logHealth(parts)
    const { facts, surroundings } = parts
    if (isNews(known, reportOf(facts, surroundings, parts.clock.now()))) return
  }
}

/** Judges the warnings anew and logs what came and went; true when any did. */
export function logHealth({ facts, surroundings, clock, log }: Attendance): boolean {
  const { raised, cleared } = judgeHealth(facts, surroundings, clock.now())
  for (const { code, text, advice } of raised) log.warn('warning', { code, text, advice })
  for (const { code } of cleared) log.info('warning is over', { code })
  return raised.length + cleared.length > 0
}
