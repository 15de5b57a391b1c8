import { asFailure } from '../failure.ts'
import type { Failure } from '../failure.ts'
import type { Clock } from '../system/clock.ts'
import { bounded } from '../system/deadline.ts'
import { after, freshHistory, isRenewal, nextStep } from './supervise-policy.ts'
import type { History, LinkEvent, Step } from './supervise-policy.ts'

/** What supervision needs to know of an assignment. */
export interface Assigned {
  readonly assignedHub: string
  readonly deviceId: string
}

/** What supervision needs to know of a session. */
export interface Supervised extends AsyncDisposable {
  readonly ended: Promise<Failure>
}

/** Where the link stands, for the status and the twin. Instants are wall time in milliseconds. */
export type LinkState =
  | { readonly phase: 'registering'; readonly sinceMs: number; readonly attempt: number }
  | { readonly phase: 'connecting'; readonly sinceMs: number; readonly attempt: number; readonly assignedHub: string }
  | { readonly phase: 'connected'; readonly sinceMs: number; readonly assignedHub: string; readonly deviceId: string }
  | {
      readonly phase: 'waiting'
      readonly sinceMs: number
      /** Failures since the last lasting session. */
      readonly attempt: number
      readonly failure: Failure | undefined
      readonly next: Step['step']
      readonly nextAttemptInMs: number
      readonly assignedHub: string | undefined
    }
  | { readonly phase: 'stopped'; readonly sinceMs: number }

/** How supervision begins. */
export type SuperviseStart =
  /** With the assignment of an earlier run; DPS if there is none. */
  | 'cached'
  /** With a registration; if that fails, with the assignment of an earlier run. */
  | 'registerFirst'
  /** With a registration, and never without one of its own. */
  | 'registerOnly'

export interface SupervisePorts<A extends Assigned, S extends Supervised> {
  readonly clock: Clock
  /** Uniform in [0, 1). */
  readonly random: () => number
  /** `cached` when left out. */
  readonly start?: SuperviseStart
  /** Waited for before each step: while it does not resolve, a session lives on but nothing new begins. */
  gate?(signal: AbortSignal): Promise<void>
  /** The assignment of an earlier run, if there is one. */
  loadAssignment(): Promise<A | undefined>
  saveAssignment(assignment: A): Promise<void>
  register(signal: AbortSignal): Promise<A>
  /** DPS has assigned the device; the next step waits for the promise. */
  onRegistered?(assignment: A): Promise<void>
  open(assignment: A, signal: AbortSignal): Promise<S>
  /** What there is to do on a new session; `signal` aborts when it is over. A failure ends the session. */
  onSession(session: S, signal: AbortSignal): Promise<void>
  onState(state: LinkState): void
  /** An attempt failed, or a session ended. What follows is decided here. */
  onFailed?(failure: Failure): void
  /** A session ended to go on with a new token, which is no failure; the next begins at once. */
  onRenewed?(renewed: Failure): void
  /** A failure that changes nothing: the assignment could not be kept, the work on a session did not end. */
  onTrouble(failure: Failure): void
}

/** Time for the work on a session to end once it was told to, in milliseconds. */
const WIND_DOWN_MS = 1_000

/**
 * Keeps one session alive until `signal` aborts, for ever if need be: nothing the network or the cloud does ends it.
 * Returns when the last session is closed and nothing is left running.
 */
export async function supervise<A extends Assigned, S extends Supervised>(
  ports: SupervisePorts<A, S>,
  signal: AbortSignal,
): Promise<void> {
  const { clock } = ports
  const { start = 'cached' } = ports
  let assignment = start === 'registerOnly' ? undefined : await ports.loadAssignment()
  let mayConnect = start === 'cached'
  let history = freshHistory(ports.random)
  while (!signal.aborted) {
    const assigned = mayConnect && assignment !== undefined
    const { step, inMs } = nextStep(history, assigned, clock.monotonicMs(), ports.random)
    try {
      await pause(ports, { step, inMs }, history, assignment, signal)
      await ports.gate?.(signal)
      let event: LinkEvent
      if (step === 'connect' && assignment !== undefined) {
        event = await connect(ports, assignment, history, signal)
      } else {
        const outcome = await tryRegister(ports, assignment, history, signal)
        assignment = outcome.assignment ?? assignment
        mayConnect = true
        event = outcome.event
      }
      const renewed = isRenewal(history, event)
      history = after(history, event)
      if ('failure' in event && renewed) ports.onRenewed?.(event.failure)
      else if ('failure' in event) ports.onFailed?.(event.failure)
      else if (assignment !== undefined) await ports.onRegistered?.(assignment)
    } catch (error) {
      if (!signal.aborted) throw error
    }
  }
  ports.onState({ phase: 'stopped', sinceMs: clock.now() })
}

async function pause(
  ports: SupervisePorts<Assigned, Supervised>,
  { step, inMs }: Step,
  history: History,
  assignment: Assigned | undefined,
  signal: AbortSignal,
): Promise<void> {
  if (inMs <= 0) return
  ports.onState({
    phase: 'waiting',
    sinceMs: ports.clock.now(),
    attempt: history.attempts,
    failure: history.last?.failure,
    next: step,
    nextAttemptInMs: inMs,
    assignedHub: assignment?.assignedHub,
  })
  await ports.clock.wait(inMs, signal)
}

/** One registration. A new assignment is used even if it cannot be kept: the next start registers once more. */
async function tryRegister<A extends Assigned>(
  ports: Pick<SupervisePorts<A, never>, 'clock' | 'register' | 'saveAssignment' | 'onState' | 'onTrouble'>,
  before: Assigned | undefined,
  history: History,
  signal: AbortSignal,
): Promise<{ readonly assignment?: A; readonly event: LinkEvent }> {
  const { clock } = ports
  ports.onState({ phase: 'registering', sinceMs: clock.now(), attempt: history.attempts })
  try {
    const assignment = await ports.register(signal)
    await ports.saveAssignment(assignment).catch((error: unknown) => ports.onTrouble(asFailure(error)))
    const changed = before?.assignedHub !== assignment.assignedHub || before.deviceId !== assignment.deviceId
    return { assignment, event: { event: 'registered', changed, nowMs: clock.monotonicMs() } }
  } catch (error) {
    signal.throwIfAborted()
    return { event: { event: 'registrationFailed', failure: asFailure(error), nowMs: clock.monotonicMs() } }
  }
}

/** One connection, from its first packet to its end. */
async function connect<A extends Assigned, S extends Supervised>(
  ports: SupervisePorts<A, S>,
  assignment: A,
  history: History,
  signal: AbortSignal,
): Promise<LinkEvent> {
  const { clock } = ports
  const { assignedHub, deviceId } = assignment
  ports.onState({ phase: 'connecting', sinceMs: clock.now(), attempt: history.attempts, assignedHub })
  let session: S
  try {
    session = await ports.open(assignment, signal)
  } catch (error) {
    signal.throwIfAborted()
    return { event: 'connectFailed', failure: asFailure(error), nowMs: clock.monotonicMs() }
  }
  const startedMs = clock.monotonicMs()
  ports.onState({ phase: 'connected', sinceMs: clock.now(), assignedHub, deviceId })
  const failure = await live(ports, session, signal)
  const nowMs = clock.monotonicMs()
  return { event: 'sessionEnded', failure, livedMs: nowMs - startedMs, nowMs }
}

/** Works on a session until it ends, by itself, by a failure of the work, or by `signal`. It is closed afterwards. */
async function live<S extends Supervised>(
  ports: Pick<SupervisePorts<never, S>, 'clock' | 'onSession' | 'onTrouble'>,
  session: S,
  signal: AbortSignal,
): Promise<Failure> {
  await using _closedAfterwards = session
  const over = new AbortController()
  const stopped = Promise.withResolvers<never>()
  signal.addEventListener('abort', () => stopped.reject(signal.reason), { signal: over.signal })
  const work = ports.onSession(session, AbortSignal.any([signal, over.signal]))
  const workEnded = work.then(() => session.ended, asFailure)
  try {
    signal.throwIfAborted()
    return await Promise.race([session.ended, workEnded, stopped.promise])
  } finally {
    over.abort()
    // How the work ends now is a consequence, not a cause; only that it does not end at all is worth a word.
    const wound = Promise.allSettled([work])
    const limit = { clock: ports.clock, withinMs: WIND_DOWN_MS, code: 'UNEXPECTED', what: 'work on a session' } as const
    await bounded(wound, limit).catch((error: unknown) => ports.onTrouble(asFailure(error)))
  }
}
