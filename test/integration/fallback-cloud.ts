/** What the cloud does to the devices of these tests, and what it reads of them and has seen. */
import { atHub, eventsOf } from './agent-kit.ts'
import type { EventOf } from './agent-kit.ts'
import type { Stage } from './fallback-kit.ts'

/** A device by its name in the cloud. */
export interface Known {
  readonly stage: Stage
  readonly id: string
}

/** The cloud refuses the certificates of this device for good: its enrollment is gone or disabled, its thumbprint changed. */
export function revoke({ stage: { cloud }, id }: Known, how: 'disabled' | 'deleted' = 'disabled'): void {
  if (how === 'disabled') cloud.disableGroup('fleet-x509')
  else cloud.deleteGroup('fleet-x509')
  const identity = cloud.hub.identity(id)
  if (identity === undefined) throw new Error(`the hub has no ${id}`)
  const x509Thumbprint = { primaryThumbprint: 'A'.repeat(64), secondaryThumbprint: 'A'.repeat(64) }
  cloud.hub.putIdentity({ ...identity, authentication: { ...identity.authentication, x509Thumbprint } })
}

/** The enrollment is as it was; the hub follows with the next registration. */
export function restore({ stage: { cloud } }: Pick<Known, 'stage'>): void {
  cloud.enrollFleet()
}

/** What these tests read of the reported section `auth`. */
export interface ReportedAuth {
  readonly mode: string
  readonly state: string
  readonly waiting?: { readonly code: string; readonly reason: string; readonly until?: string }
  readonly lastAttempt?: ReportedAttempt
  readonly history: readonly ReportedAttempt[]
  readonly certificate?: { readonly thumbprintSha256: string }
  readonly fallback: {
    readonly active: boolean
    readonly cause?: string
    readonly since?: string
    readonly returnAt?: string
    readonly leftToday: number
  }
  readonly sas: {
    readonly available: boolean
    readonly retired: boolean
    readonly retiredAt?: string
    readonly left?: readonly string[]
  }
}

export interface ReportedAttempt {
  readonly to: string
  readonly cause: string
  readonly result: string
  readonly code?: string
  readonly reason?: string
  readonly at: string
}

/** What they read of the whole reported part. */
export interface Reported {
  readonly auth?: ReportedAuth
  readonly clock?: { readonly trusted: boolean; readonly skewSeconds?: number }
  readonly outbox?: { readonly depth: number; readonly dropped: number }
  readonly warnings?: readonly { readonly code: string }[]
}

export function twinOf({ stage: { cloud }, id }: Known): Reported {
  return cloud.hub.twin(id)?.reported ?? {}
}

/** Connections to hubs, oldest first: `sas`, `x509`. */
export function sessionsOf({ stage: { cloud }, id }: Known, since = 0): string[] {
  return eventsOf(cloud, 'connected', id, since)
    .filter(atHub(cloud))
    .map(({ auth }) => auth)
}

/** By what the hub says of the connection on which each message came, oldest first. */
export function stampsOf({ stage: { cloud }, id }: Known, since = 0): string[] {
  return eventsOf(cloud, 'telemetry', id, since).map(({ message: { system } }) => {
    const { type } = JSON.parse(system['iothub-connection-auth-method'] ?? '{}') as { type?: string }
    return type ?? ''
  })
}

/** The refusals of a device by DPS and hub, oldest first. */
export function refusalsOf({ stage: { cloud }, id }: Known, since = 0): EventOf<'refused'>[] {
  return eventsOf(cloud, 'refused', id, since)
}

/** The newest event of the cloud, to look at what comes after it. */
export function mark({ stage: { cloud } }: Pick<Known, 'stage'>): number {
  return cloud.record.seq()
}
