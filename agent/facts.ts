import { release } from 'node:os'
import type { Config } from './config/paths.ts'
import { viewAuth } from './credential/auth-view.ts'
import type { AuditView, AuthView } from './credential/auth-view.ts'
import type { Lane } from './credential/credential-ref.ts'
import type { PendingRequest } from './credential/pending.ts'
import { renewalOf } from './credential/due.ts'
import { activeOf } from './credential/lifecycle.ts'
import { emptyMemory } from './credential/memory.ts'
import { policyOf } from './policy.ts'
import type { Rotation } from './credential/rotation-ports.ts'
import type { ClockTrust } from './credential/policy.ts'
import type { CertificateStatus, ConnectionStatus, SocketStatus, Status } from './control/status.ts'
import { failureStatus, sourceStatus, telemetryStatus } from './control/telemetry-status.ts'
import type { SourceFacts } from './control/telemetry-status.ts'
import type { KeyInspection } from './credential/private-file.ts'
import type { X509Credential } from './credential/x509-credential.ts'
import type { Failure } from './failure.ts'
import { track } from './health/tracker.ts'
import type { Tracked, Warning } from './health/tracker.ts'
import { findWarnings } from './health/warnings.ts'
import type { ForwardFacts } from './telemetry/forward/port.ts'
import type { DropCause, Outbox } from './telemetry/outbox/port.ts'
import type { Desired } from './twin/desired.ts'
import type { Acknowledgement } from './twin/reconcile.ts'
import { buildReported } from './twin/reported.ts'
import type { JsonObject } from './twin/json.ts'
import { version } from './version.ts'

type Doing = Extract<ConnectionStatus, { state: 'disconnected' }>['doing']

/** What the agent does about its connection at this moment. Times are wall time in milliseconds. */
export type Connection =
  | { readonly state: 'connected'; readonly sinceMs: number }
  | {
      readonly state: 'disconnected'
      readonly sinceMs: number
      readonly doing: Doing
      readonly retryAtMs?: number
      readonly failure?: Failure
    }

/** Everything the running agent knows of itself. `status`, the twin and the warnings are views of it. */
export interface Facts {
  readonly startedAtMs: number
  connection: Connection
  device: { readonly deviceId: string; readonly assignedHub: string } | undefined
  /** The certificate that the device proves itself with; undefined on SAS, and before the first. */
  credential: X509Credential | undefined
  /** How the last session was opened. */
  authType: Lane | undefined
  /** Undefined until the agent knows where it stands with its credentials. */
  rotation: Rotation | undefined
  /** What the twin wishes; undefined until it was read. */
  desired: (Desired & { readonly readAtMs: number }) | undefined
  clock: () => ClockView
  audit: () => AuditView | undefined
  /** What protects the key, as found at the last look. */
  key: KeyInspection | undefined
  /**
   * Monotonic instants by which each thing that goes on has promised its next step, by its name; the watchdog is fed as
   * long as none has passed.
   */
  readonly promises: Map<string, number>
  awaitingSinceMs: number | undefined
  /** The certificate request that waits. */
  request: PendingRequest | undefined
  /** Keys of the configuration whose new values wait for a restart. */
  pendingKeys: readonly string[]
  acknowledged: number
  lastAcknowledgedAtMs: number | undefined
  /** When a sample was last given up, by cause. */
  readonly lastDroppedMs: Partial<Record<DropCause, number>>
  /** When the outbox was found damaged. */
  outboxTornAtMs: number | undefined
  forwarding: () => ForwardFacts | undefined
  sources: () => readonly SourceFacts[]
  /** What local programs have handed in. */
  intake: () => SocketStatus | undefined
  acknowledgements: readonly Acknowledgement[]
  warnings: readonly Warning[]
}

/** How far the clock may be believed. */
export interface ClockView {
  readonly trust: ClockTrust
  /** The time of a server minus ours. */
  readonly skewMs?: number | undefined
}

export function createFacts(nowMs: number): Facts {
  return {
    startedAtMs: nowMs,
    connection: { state: 'disconnected', sinceMs: nowMs, doing: 'starting' },
    device: undefined,
    credential: undefined,
    authType: undefined,
    rotation: undefined,
    desired: undefined,
    clock: () => ({ trust: 'plausible' }),
    audit: () => undefined,
    key: undefined,
    promises: new Map(),
    awaitingSinceMs: undefined,
    request: undefined,
    pendingKeys: [],
    acknowledged: 0,
    lastAcknowledgedAtMs: undefined,
    lastDroppedMs: {},
    outboxTornAtMs: undefined,
    forwarding: () => undefined,
    sources: () => [],
    intake: () => undefined,
    acknowledgements: [],
    warnings: [],
  }
}

/** What the views need beside the facts. */
export interface Surroundings {
  readonly config: Config
  readonly outbox: Outbox
  readonly intervalMs: () => number
}

/** Judges the facts anew; what was raised or cleared comes back for the log. */
export function judgeHealth(facts: Facts, { config, outbox }: Surroundings, nowMs: number): Tracked {
  const { connection, credential, key, awaitingSinceMs } = facts
  const level = outbox.level()
  if (level.place === 'mending') facts.outboxTornAtMs = nowMs
  const tracked = track(
    facts.warnings,
    findWarnings({
      nowMs,
      hub:
        connection.state === 'connected'
          ? { state: 'connected' }
          : {
              state: 'disconnected',
              sinceMs: connection.sinceMs,
              ...(connection.failure && { reason: connection.failure.message }),
            },
      ...(credential && {
        certificate: {
          notBeforeMs: Date.parse(credential.facts.notBefore),
          notAfterMs: Date.parse(credential.facts.notAfter),
        },
      }),
      ...(awaitingSinceMs !== undefined && { awaitingCertificateSinceMs: awaitingSinceMs }),
      ...(credential &&
        key && {
          key: { ...key, path: credential.keyFile, legacy: credential.origin === 'files' },
        }),
      outbox: level,
      drops: { counts: level.dropped, lastMs: facts.lastDroppedMs },
      tornAtMs: facts.outboxTornAtMs,
      sources: facts.sources().map(sourceStatus),
      auth: authViewOf(facts, config, nowMs),
      wished: facts.desired && (facts.desired.wishes.auth ?? {}),
      clock: clockOf(facts),
      refusedDesired: facts.desired?.refusals.map(({ key }) => key) ?? [],
    }),
    nowMs,
  )
  facts.warnings = tracked.warnings
  return tracked
}

/** The answer to `status`. */
export function statusOf(facts: Facts, { config, outbox, intervalMs }: Surroundings, nowMs: number): Status {
  const { credential, key } = facts
  return {
    format: 1,
    atMs: nowMs,
    agent: { version, pid: process.pid, startedAtMs: facts.startedAtMs },
    device: { registrationId: config.device.registrationId, idScope: config.dps.idScope, ...facts.device },
    connection: connectionStatus(facts.connection),
    auth: {
      ...authViewOf(facts, config, nowMs),
      ...certificateOf(facts, config, nowMs),
      ...(credential &&
        key && {
          key: {
            ...{ path: credential.keyFile, mode: octal(key.mode), kind: credential.facts.keyKind },
            store: credential.keyStore,
          },
        }),
    },
    clock: clockOf(facts),
    configuration: { pending: facts.pendingKeys },
    telemetry: telemetryStatus(facts, outbox.level(), intervalMs()),
    warnings: facts.warnings,
  }
}

/** The reported part of the device twin. */
export function reportOf(facts: Facts, { config, outbox }: Surroundings, nowMs: number): JsonObject {
  return buildReported({
    auth: {
      view: authViewOf(facts, config, nowMs),
      ...certificateOf(facts, config, nowMs),
      desired: facts.desired,
      csrPem: facts.request?.csrPem,
    },
    agent: {
      version,
      runtime: `node ${process.versions.node}`,
      arch: process.arch,
      os: `${process.platform} ${release()}`,
      startedAtMs: facts.startedAtMs,
    },
    clock: clockOf(facts),
    outbox: outbox.level(),
    warnings: facts.warnings,
    acknowledgements: facts.acknowledgements,
  })
}

/** How the device stands with its credentials. */
export function authViewOf(facts: Facts, config: Config, nowMs: number): AuthView {
  const { rotation, awaitingSinceMs } = facts
  const { keyFile, connectionStringFile } = config.auth.sas
  const from = connectionStringFile ?? keyFile
  return viewAuth({
    nowMs,
    record: rotation?.record() ?? { lifecycle: { phase: 'newborn' }, memory: emptyMemory },
    policy: policyOf(config),
    sas: rotation?.inventory().sas ?? 'absent',
    ...(from !== undefined && { sasSecret: { from, direct: connectionStringFile !== undefined } }),
    awaitingSinceMs,
    waiting: rotation?.waiting(),
    audit: facts.audit(),
  })
}

function certificateOf(facts: Facts, config: Config, nowMs: number): { readonly certificate?: CertificateStatus } {
  const { credential } = facts
  if (credential === undefined) return {}
  const issuedBy = credential.origin === 'files' ? 'file' : (credential.issuedBy ?? 'folder')
  const renewAtMs = renewalAtMs(facts, config, nowMs)
  const renewAt = renewAtMs === undefined ? {} : { renewAt: new Date(renewAtMs).toISOString() }
  return { certificate: { ...credential.facts, ...renewAt, issuedBy, keyStore: credential.keyStore } }
}

/** When the agent begins to renew the certificate in use; undefined when it does not do that. Wall time. */
function renewalAtMs({ rotation, clock }: Facts, config: Config, nowMs: number): number | undefined {
  if (rotation === undefined) return undefined
  const { lifecycle, memory } = rotation.record()
  const facts = { nowMs, clock: clock().trust, active: activeOf(lifecycle), inventory: rotation.inventory(), memory }
  return renewalOf({ ...facts, policy: policyOf(config) })?.nextAttemptMs
}

function clockOf(facts: Facts): { readonly trust: ClockTrust; readonly skewSeconds?: number } {
  const { trust, skewMs } = facts.clock()
  // Measured as a server's time minus ours; told as how far ours is ahead.
  return { trust, ...(skewMs !== undefined && { skewSeconds: -Math.round(skewMs / 1000) || 0 }) }
}

function connectionStatus(connection: Connection): ConnectionStatus {
  if (connection.state === 'connected') return connection
  const { failure, ...others } = connection
  if (failure === undefined) return others
  return { ...others, failure: failureStatus(failure) }
}

function octal(mode: number): string {
  return mode.toString(8).padStart(4, '0')
}
