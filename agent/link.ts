import { attend, createDesiredInbox } from './connected.ts'
import type { Attendance, DesiredInbox } from './connected.ts'
import type { Connection } from './facts.ts'
import { Failure } from './failure.ts'
import { openSession } from './hub/session.ts'
import type { Session, SessionOptions } from './hub/session.ts'
import { supervise } from './hub/supervise.ts'
import type { Assigned, LinkState } from './hub/supervise.ts'
import type { Turn } from './identity.ts'
import { readAssignment, saveAssignment } from './provision/assignment.ts'
import { register } from './provision/dps.ts'
import { version } from './version.ts'

/** For all of a registration beside the waits that DPS asks for: it may be slow. */
const REGISTRATION_MS = 180_000

/** Well above every deadline of an attempt to connect. */
const STUCK_AFTER_MS = 300_000

/** A session and what the hub wishes on it. */
interface Linked extends AsyncDisposable {
  readonly session: Session
  readonly inbox: DesiredInbox
  readonly ended: Session['ended']
}

/**
 * Keeps the device connected with one credential until `signal` aborts: joins supervision to DPS, hub and cache.
 *
 * @param ca PEM of the only roots to trust for servers; those of the runtime when left out
 */
export function keepConnected(
  { credential, trial }: Turn,
  ca: string | undefined,
  parts: Attendance,
  signal: AbortSignal,
): Promise<void> {
  const { config, clock, facts, random, log } = parts
  const { assignmentFile } = config.paths
  const { registrationId } = config.device
  const owner = { dpsHost: config.dps.host, idScope: config.dps.idScope, registrationId }
  const certificate = { chainPem: credential.chainPem, keyPem: credential.keyPem }
  const trust = ca === undefined ? {} : { ca }
  return supervise<Assigned, Linked>(
    {
      clock,
      random,
      async loadAssignment() {
        const cached = await readAssignment(assignmentFile, owner, clock.now())
        if (cached.found === 'torn') {
          const { reason, movedTo = 'still in place' } = cached
          log.failure(new Failure('STATE_TORN', `${assignmentFile}: ${reason}; it is now ${movedTo}`))
        }
        if (cached.found !== 'ours') return undefined
        const { assignedHub, deviceId } = cached.record
        facts.device = { assignedHub, deviceId }
        return cached.record
      },
      saveAssignment(assignment) {
        log.info('DPS assigned the device', { assignedHub: assignment.assignedHub, deviceId: assignment.deviceId })
        return saveAssignment(assignmentFile, owner, assignment, clock.now())
      },
      register: (until) =>
        register({ ...owner, ...trust, host: owner.dpsHost, certificate, deadlineMs: REGISTRATION_MS, clock }, until),
      async open({ assignedHub, deviceId }, until) {
        const inbox = createDesiredInbox()
        const { keepAliveSeconds } = config.hub
        const productInfo = `iot-device-agent/${version}`
        const onDesired: SessionOptions['onDesired'] = (desired) => inbox.put(desired)
        const session = await openSession(
          {
            host: assignedHub,
            deviceId,
            certificate,
            ...trust,
            keepAliveSeconds,
            clock,
            random,
            productInfo,
            onDesired,
            onTrouble: (failure) => log.failure(failure, { event: 'the twin could not be read again' }),
          },
          until,
        )
        const close = () => session[Symbol.asyncDispose]()
        return { session, inbox, ended: session.ended, [Symbol.asyncDispose]: close }
      },
      onSession: ({ session, inbox }, until) => attend(session, inbox, { ...parts, onTwinRead: trial.proved }, until),
      onState(state) {
        facts.stepDueMs = clock.monotonicMs() + longestMs(state)
        showState(state, parts)
        if (state.phase === 'waiting' && state.failure?.kind === 'refused') trial.refused()
      },
      onTrouble: (failure) => log.failure(failure),
    },
    signal,
  )
}

/** How long a state may last at most; one that lasts longer is stuck, and systemd is to start the agent anew. */
function longestMs(state: LinkState): number {
  switch (state.phase) {
    case 'registering':
      return 2 * 3_600_000
    case 'connecting':
      return STUCK_AFTER_MS
    case 'waiting':
      return state.nextAttemptInMs + STUCK_AFTER_MS
    case 'connected':
    case 'stopped':
      return Number.POSITIVE_INFINITY
  }
}

/** Takes the state of the link into the facts, the log and systemd's view. */
function showState(state: LinkState, { config, facts, clock, log, notify }: Attendance): void {
  facts.connection = connectionOf(state, facts.connection, clock.now())
  switch (state.phase) {
    case 'registering':
      log.info('registering with DPS', { dpsHost: config.dps.host, attempt: state.attempt })
      break
    case 'connecting':
      log.info('connecting', { assignedHub: state.assignedHub, attempt: state.attempt })
      break
    case 'connected': {
      const { assignedHub, deviceId } = state
      facts.device = { assignedHub, deviceId }
      log.info('connected', { assignedHub, deviceId, authType: 'x509' })
      tell(notify.status(`connected to ${assignedHub} as ${deviceId} by X.509`))
      break
    }
    case 'waiting': {
      const { next, nextAttemptInMs, failure } = state
      if (failure !== undefined) log.failure(failure, { event: 'not connected', next, nextAttemptInMs })
      tell(
        notify.status(
          `not connected (${failure?.code ?? 'starting'}); next: ${next} in ${Math.round(nextAttemptInMs / 1000)} s`,
        ),
      )
      break
    }
    case 'stopped':
      break
  }

  function tell(said: Promise<void>): void {
    said.catch((error: unknown) => log.warn('systemd was not told', { error: String(error) }))
  }
}

/** What the status shows; the time since which there is no connection outlives the attempts. */
function connectionOf(state: LinkState, before: Connection, nowMs: number): Connection {
  if (state.phase === 'connected') return { state: 'connected', sinceMs: state.sinceMs }
  const sinceMs = before.state === 'disconnected' ? before.sinceMs : nowMs
  const failure = before.state === 'disconnected' && before.failure !== undefined ? { failure: before.failure } : {}
  switch (state.phase) {
    case 'registering':
    case 'connecting':
      return { state: 'disconnected', sinceMs, doing: state.phase, ...failure }
    case 'waiting':
      return {
        ...{ state: 'disconnected', sinceMs, doing: 'waiting', retryAtMs: nowMs + state.nextAttemptInMs },
        ...(state.failure === undefined ? {} : { failure: state.failure }),
      }
    case 'stopped':
      return { state: 'disconnected', sinceMs, doing: 'stopping', ...failure }
  }
}
