import { attend, createDesiredInbox } from './connected.ts'
import type { Attendance, DesiredInbox } from './connected.ts'
import { isManagedKind } from './config/paths.ts'
import type { LinkEvents, LinkStart } from './credential/rotation-ports.ts'
import { inspectKey } from './credential/private-file.ts'
import type { Vault } from './credential/vault.ts'
import { isManaged } from './credential/x509-credential.ts'
import type { Connection } from './facts.ts'
import { Failure } from './failure.ts'
import type { Live } from './live.ts'
import { openSession } from './hub/session.ts'
import type { Session, SessionOptions } from './hub/session.ts'
import { supervise } from './hub/supervise.ts'
import type { Assigned, LinkState } from './hub/supervise.ts'
import { presentedRef, refOf, wireCredentialOf } from './loaded.ts'
import type { Loaded } from './loaded.ts'
import { readOnboarding, registerManaged } from './managed.ts'
import { MODEL_ID } from './twin/model.ts'
import { readAssignment, saveAssignment } from './provision/assignment.ts'
import { register } from './provision/dps.ts'
import { reachDps } from './provision/reach.ts'
import { version } from './version.ts'

/** For all of a registration beside the waits that DPS asks for: it may be slow. */
const REGISTRATION_MS = 180_000

/** Well above every deadline of an attempt to connect. */
const STUCK_AFTER_MS = 300_000

/** The version of the hub that issues certificates. Source: azure-protocols, 3.3. */
const RENEWING_API_VERSION = '2025-08-01-preview'

/** Links so far, for a name of each. */
let links = 0

/** A session and what the hub wishes on it. */
interface Linked extends AsyncDisposable {
  readonly session: Session
  readonly inbox: DesiredInbox
  readonly ended: Session['ended']
}

export interface LinkOptions {
  readonly loaded: Loaded
  /** The certificate that the device shows while one that is pending cannot be had; undefined for none. */
  readonly fallback?: Loaded | undefined
  readonly vault: Vault
  /** Where the session is to be had by whoever asks for a certificate on it. */
  readonly live: Live<Session>
  readonly start: LinkStart
  /** PEM of the only roots to trust for servers; those of the runtime when undefined. */
  readonly ca: string | undefined
  readonly events: LinkEvents
}

/**
 * Keeps the device connected with one credential until `signal` aborts: joins supervision to DPS, hub and cache.
 *
 * @throws Failure KEY_UNREADABLE when the key cannot even be looked at
 */
export async function keepConnected(
  { loaded: wanted, fallback, start, ca, events, vault, live }: LinkOptions,
  parts: Attendance,
  signal: AbortSignal,
): Promise<void> {
  const { config, clock, facts, random, log } = parts
  const assignmentFile = wanted.ref.lane === 'sas' ? config.paths.sasAssignmentFile : config.paths.assignmentFile
  const { registrationId } = config.device
  const owner = { dpsHost: config.dps.host, idScope: config.dps.idScope, registrationId }
  // What DPS issues with a registration takes the place of what was wanted.
  let loaded = wanted
  let issued: Loaded | undefined
  let isPreviewRefused = false
  let mayRestAssigned = start !== 'cached' && 'x509' in wanted
  const trust = ca === undefined ? {} : { ca }
  // A candidate at DPS is not what the device is connected with: until it is assigned, the old session is shown.
  let isShown = start !== 'registerOnly'
  links += 1
  const name = `link ${links}`
  const promise = (inMs: number) => facts.promises.set(name, clock.monotonicMs() + inMs)
  if (isShown) await use(loaded, parts)
  const readCached = () => readAssignment(assignmentFile, owner, clock.now())

  await supervise<Assigned, Linked>(
    {
      clock,
      random,
      start,
      async gate(until) {
        // Behind its gate a link may wait for as long as another one takes.
        promise(Number.POSITIVE_INFINITY)
        await events.gate(until)
        promise(STUCK_AFTER_MS)
      },
      async loadAssignment() {
        if ('sas' in loaded && loaded.sas.kind === 'direct') return assignedBy(loaded.sas)
        // Without a certificate there is nothing to show a hub: DPS is asked for one.
        if ('pending' in loaded && fallback === undefined) return undefined
        const cached = await readCached()
        if (cached.found === 'torn') {
          const { reason, movedTo = 'still in place' } = cached
          log.failure(new Failure('STATE_TORN', `${assignmentFile}: ${reason}; it is now ${movedTo}`))
        }
        if (cached.found !== 'ours') return undefined
        const { assignedHub, deviceId } = cached.record
        if (isShown) facts.device = { assignedHub, deviceId }
        return cached.record
      },
      async saveAssignment(assignment) {
        if ('sas' in loaded && loaded.sas.kind === 'direct') return
        log.info('DPS assigned the device', { assignedHub: assignment.assignedHub, deviceId: assignment.deviceId })
        await saveAssignment(assignmentFile, owner, assignment, clock.now())
      },
      async register(until) {
        if ('sas' in loaded && loaded.sas.kind === 'direct') return assignedBy(loaded.sas)
        const request = { ...owner, ...trust, host: owner.dpsHost, deadlineMs: REGISTRATION_MS, clock }
        if ('pending' in loaded) {
          const managed = await registerManaged({ vault, config, clock, request }, until)
          issued = { ref: refOf(managed.credential), x509: managed.credential }
          loaded = issued
          return managed.assignment
        }
        if (!isManagedHere(loaded, config)) return register({ ...request, credential: wireCredentialOf(loaded) }, until)
        const cached = mayRestAssigned ? await readCached() : undefined
        mayRestAssigned = false
        if (cached?.found === 'ours') return cached.record
        return refuseManaged(await reachDps({ ...request, credential: await readOnboarding(config) }, until))
      },
      async onRegistered() {
        const byDps = issued !== undefined || !(isAssignedAlready(loaded) || isManagedHere(loaded, config))
        const by = issued?.ref
        issued = undefined
        await events.registered(byDps, by)
        if ((isShown && by === undefined) || signal.aborted) return
        isShown = true
        await use(loaded, parts)
      },
      async open({ assignedHub, deviceId }, until) {
        const inbox = createDesiredInbox()
        const shown = 'pending' in loaded ? (fallback ?? loaded) : loaded
        const { keepAliveSeconds } = config.hub
        const renews = config.issuer.kind === 'hub-credentials' && isManagedHere(shown, config) && !isPreviewRefused
        const productInfo = `iot-device-agent/${version}`
        const onDesired: SessionOptions['onDesired'] = (desired) => inbox.put(desired)
        const open = (apiVersion: Pick<SessionOptions, 'apiVersion'>) =>
          openSession(
            {
              ...{ host: assignedHub, deviceId, credential: wireCredentialOf(shown), ...trust, keepAliveSeconds },
              ...{ clock, random, productInfo, modelId: MODEL_ID, onDesired, ...apiVersion },
              onTrouble: (failure) => log.failure(failure, { event: 'the twin could not be read again' }),
            },
            until,
          )
        const session = await open(renews ? { apiVersion: RENEWING_API_VERSION } : {}).catch(async (error: unknown) => {
          // A hub says no to a version that it does not know as it does to a credential: once, the one that all know is tried.
          if (!renews || !(error instanceof Failure) || error.code !== 'HUB_REFUSED_CREDENTIAL') throw error
          const opened = await open({})
          isPreviewRefused = true
          return opened
        })
        events.connected(presentedRef(shown, session.presented))
        const close = () => session[Symbol.asyncDispose]()
        return { session, inbox, ended: session.ended, [Symbol.asyncDispose]: close }
      },
      async onSession({ session, inbox }, until) {
        const told = { onTwinRead: () => events.twinRead(), onAcknowledged: () => events.acknowledged() }
        live.enter(session)
        await attend(session, inbox, { ...parts, ...told }, until).finally(() => live.leave(session))
      },
      onState(state) {
        promise(longestMs(state))
        if (!isShown) return showCandidate(state, parts)
        showState(state, loaded, parts)
      },
      onFailed: (failure) => events.failed(failure),
      onRenewed: ({ message }) => log.info('the session goes on with a new token', { reason: message }),
      onTrouble: (failure) => log.failure(failure),
    },
    signal,
  ).finally(() => facts.promises.delete(name))
}

/** A certificate of certificate management is none for DPS: nothing but another one can be asked for. */
function isManagedHere(loaded: Loaded, { issuer }: Attendance['config']): boolean {
  return 'x509' in loaded && isManaged(loaded.x509) && isManagedKind(issuer.kind)
}

function isAssignedAlready(loaded: Loaded): boolean {
  return 'sas' in loaded && loaded.sas.kind === 'direct'
}

/** @throws what stands between the device and DPS, or DPS_CSR_NEEDED */
function refuseManaged(obstacle: Failure | undefined): never {
  throw obstacle ?? new Failure('DPS_CSR_NEEDED', 'the certificate in use cannot be registered again')
}

/** Less than a command waits for its answer. */
const REHEARSAL_MS = 15_000

/** What a registration with this credential would meet on its way to DPS; a direct connection has no DPS on its way. */
export async function reachForRehearsal(
  loaded: Loaded,
  ca: string | undefined,
  { config, clock }: Attendance,
): Promise<Failure | undefined> {
  if (isAssignedAlready(loaded)) return undefined
  const { host, idScope } = config.dps
  const isOnboarding = 'pending' in loaded || isManagedHere(loaded, config)
  const credential = isOnboarding ? await readOnboarding(config) : wireCredentialOf(loaded)
  const request = { host, idScope, registrationId: config.device.registrationId, credential, clock }
  return await reachDps(
    { ...request, ...(ca !== undefined && { ca }), deadlineMs: REHEARSAL_MS },
    new AbortController().signal,
  )
}

function assignedBy({ hub, deviceId }: { readonly hub: string; readonly deviceId: string }): Assigned {
  return { assignedHub: hub, deviceId }
}

/** From now on this is the credential that the device shows. */
async function use(loaded: Loaded, { facts, log }: Attendance): Promise<void> {
  if ('sas' in loaded) {
    facts.credential = undefined
    facts.key = undefined
    log.info('using SAS', { path: loaded.sas.path, kind: loaded.sas.kind })
    return
  }
  if ('pending' in loaded) return log.info('DPS is asked for a certificate')
  facts.key = await inspectKey(loaded.x509)
  facts.credential = loaded.x509
  const { keyFile, origin, facts: certificate } = loaded.x509
  const { thumbprintSha256, notAfter } = certificate
  log.info('using certificate', { thumbprintSha256, notAfter, keyFile, origin })
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

function showCandidate(state: LinkState, { config, log }: Attendance): void {
  if (state.phase === 'registering') log.info('registering the candidate with DPS', { dpsHost: config.dps.host })
  if (state.phase !== 'waiting' || state.failure === undefined) return
  const { next, nextAttemptInMs, failure } = state
  log.failure(failure, { event: 'the candidate is not registered', next, nextAttemptInMs })
}

/** Takes the state of the link into the facts, the log and systemd's view. */
function showState(state: LinkState, loaded: Loaded, { config, facts, clock, log, notify }: Attendance): void {
  facts.connection = connectionOf(state, facts.connection, clock.now())
  const authType = loaded.ref.lane
  switch (state.phase) {
    case 'registering':
      log.info('registering with DPS', { dpsHost: config.dps.host, attempt: state.attempt, authType })
      break
    case 'connecting':
      log.info('connecting', { assignedHub: state.assignedHub, attempt: state.attempt, authType })
      break
    case 'connected': {
      const { assignedHub, deviceId } = state
      facts.device = { assignedHub, deviceId }
      facts.authType = authType
      log.info('connected', { assignedHub, deviceId, authType })
      tell(notify.status(`connected to ${assignedHub} as ${deviceId} by ${authType === 'sas' ? 'SAS' : 'X.509'}`))
      break
    }
    case 'waiting': {
      const { next, nextAttemptInMs, failure } = state
      if (failure !== undefined) log.failure(failure, { event: 'not connected', next, nextAttemptInMs, authType })
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
