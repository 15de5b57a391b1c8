import type { AuthView } from '../credential/auth-view.ts'
import type { ClockTrust } from '../credential/policy.ts'
import { Failure } from '../failure.ts'
import type { Warning } from '../health/tracker.ts'
import { isObject } from '../system/json.ts'
import { askControl, refusedBy } from './client.ts'
import type { AskOptions } from './client.ts'

/** Everything that `status` shows, as the running agent answers it. Times are wall time in milliseconds. */
export interface Status {
  /** Version of this form: a command refuses one that it does not know. */
  readonly format: 1
  /** The agent's clock when it answered. */
  readonly atMs: number
  readonly agent: { readonly version: string; readonly pid: number; readonly startedAtMs: number }
  readonly device: {
    readonly registrationId: string
    readonly idScope: string
    /** Known once DPS has assigned the device. */
    readonly deviceId?: string
    readonly assignedHub?: string
  }
  readonly connection: ConnectionStatus
  readonly auth: AuthStatus
  readonly clock?: { readonly trust: ClockTrust; readonly skewSeconds?: number | undefined }
  /** Keys whose new values wait for a restart; an agent of an earlier version has no reload. */
  readonly configuration?: { readonly pending: readonly string[] }
  readonly telemetry: TelemetryStatus
  readonly warnings: readonly Warning[]
}

/** An agent of an earlier version told mode, lane and state only. */
export type AuthStatus = Pick<AuthView, 'mode' | 'lane' | 'state'> &
  Partial<AuthView> & { readonly certificate?: CertificateStatus; readonly key?: KeyStatus }

export type ConnectionStatus =
  | { readonly state: 'connected'; readonly sinceMs: number }
  | {
      readonly state: 'disconnected'
      readonly sinceMs: number
      readonly doing: 'starting' | 'awaitingCertificate' | 'registering' | 'connecting' | 'waiting' | 'stopping'
      /** When it will be tried again. */
      readonly retryAtMs?: number
      /** What ended the last attempt. */
      readonly failure?: FailureStatus
    }

export interface FailureStatus {
  readonly code: string
  readonly message: string
  readonly advice: string
}

export interface CertificateStatus {
  readonly subject: string
  readonly issuer: string
  readonly serial: string
  readonly thumbprintSha256: string
  readonly thumbprintSha1: string
  /** ISO 8601, UTC. */
  readonly notBefore: string
  readonly notAfter: string
  readonly renewAt?: string
  readonly issuedBy: string
  /** An agent of an earlier version does not say. */
  readonly keyStore?: string
}

export interface KeyStatus {
  readonly path: string
  /** Permission bits in octal: `0600`. */
  readonly mode: string
  /** `ec-p256`, `rsa-2048`, … */
  readonly kind: string
  /** `file`, `pkcs11` or `tpm`; an agent of an earlier version does not say. */
  readonly store?: string
}

/** An agent of an earlier version told nothing of outbox, sources and socket. */
export interface TelemetryStatus {
  readonly intervalSeconds: number
  /** Samples acknowledged since the start. */
  readonly acknowledged: number
  readonly lastAcknowledgedAtMs?: number
  /** The depth of the outbox, and its bytes. */
  readonly buffered: number
  readonly bufferedBytes: number
  /** Samples given up, by cause. */
  readonly dropped: Readonly<Record<string, number>>
  readonly outbox?: OutboxStatus
  readonly forwarding?: ForwardingStatus | undefined
  readonly sources?: readonly SourceStatus[]
  readonly socket?: SocketStatus | undefined
}

export interface OutboxStatus {
  /** Samples that wait for their acknowledgement. */
  readonly depth: number
  readonly bytes: number
  readonly maxBytes: number
  /** When the oldest came in. */
  readonly oldestAtMs?: number
  /** Samples given up by cause, restarts included. */
  readonly dropped: Readonly<Record<string, number>>
  /** Messages that the hub will never take, kept for a look. */
  readonly aside: number
  /** `mending` after damage; `memory` when no file can be had. */
  readonly place: 'disk' | 'memory' | 'mending'
  /** What refuses new samples, until something could be stored again. */
  readonly trouble?: FailureStatus
}

/** How the sending goes. */
export interface ForwardingStatus {
  /** Messages on their way, and how many may be. */
  readonly inFlight: number
  readonly window: number
  /** Samples acknowledged a second, over about the last half minute. */
  readonly samplesPerSecond: number
  /** Samples left of what had gathered without a session. */
  readonly backlog: number
  readonly drainBeginsInMs?: number
  /** Messages a second that the hub seems to bear; left out when it sets no bound. */
  readonly paceLimitPerSecond?: number
}

/** A program that is run for its measurements. Counts are since the start. */
export interface SourceStatus {
  readonly name: string
  readonly runs: number
  readonly failures: number
  readonly failedInARow: number
  readonly lastFailure?: FailureStatus
}

/** What local programs have handed in since the start. */
export interface SocketStatus {
  readonly accepted: number
  /** By the code of the refusal. */
  readonly refused: Readonly<Record<string, number>>
}

/** What a command relies on without looking, by path. */
const required: Readonly<Record<string, 'string' | 'number' | 'object'>> = {
  atMs: 'number',
  'agent.version': 'string',
  'agent.pid': 'number',
  'agent.startedAtMs': 'number',
  'device.registrationId': 'string',
  'connection.state': 'string',
  'connection.sinceMs': 'number',
  'auth.mode': 'string',
  'auth.lane': 'string',
  'auth.state': 'string',
  'telemetry.intervalSeconds': 'number',
  'telemetry.acknowledged': 'number',
  'telemetry.buffered': 'number',
  'telemetry.dropped': 'object',
  warnings: 'object',
}

/**
 * Asks the running agent for its status; throws as `askControl` does.
 *
 * @throws Failure CONFIG_AWAITED, CONFIG_INVALID, MACHINE_CHANGED while the agent waits for one of these to pass
 */
export async function askStatus(options: AskOptions, signal?: AbortSignal): Promise<Status> {
  const answer = await askControl({ ask: 'status' }, options, signal)
  if (!answer.ok) throw refusedBy(answer)
  if (!isStatus(answer.value)) throw new Failure('CONTROL_BAD_ANSWER', 'the status is of a form that is not known here')
  return answer.value
}

/** Whether a value from the socket is a status of this form. */
export function isStatus(value: unknown): value is Status {
  if (!isObject(value) || value['format'] !== 1 || !Array.isArray(value['warnings'])) return false
  return Object.entries(required).every(([path, kind]) => {
    const found = path.split('.').reduce<unknown>((node, key) => (isObject(node) ? node[key] : undefined), value)
    return typeof found === kind && found !== null
  })
}
