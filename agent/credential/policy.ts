import type { Failure } from '../failure.ts'
import type { CredentialRef, Lane } from './credential-ref.ts'
import type { Memory } from './memory.ts'
import type { RenewalPolicy } from './renewal.ts'

/** What the owner of the fleet allows. Durations in milliseconds. */
export interface AuthPolicy {
  /** Lane of a device that has no history yet. */
  readonly born: Lane
  /** X.509 may be used at all. */
  readonly x509Enabled: boolean
  /** Whether a wish may move a device from X.509 to SAS. A fallback has rules of its own. */
  readonly downgradeAllowed: boolean
  /** Registrations with another credential in 24 hours, rollbacks not counted. */
  readonly movesPerDay: number
  readonly fallback: FallbackPolicy
  /** X.509 must have proved itself for so long before the SAS secret is destroyed. */
  readonly soakMs: number
  readonly renewal: RenewalPolicy
  /** With certificate management: what the device shows to DPS, which issues its certificates. Undefined without. */
  readonly onboarding?: Lane | undefined
}

export interface FallbackPolicy {
  readonly enabled: boolean
  /** The end of the whole migration: no fallback begins after it. Wall time. */
  readonly untilMs: number | undefined
  /** Refusals in a row, and the time from the first to the last of them. */
  readonly refusals: number
  readonly holdOffMs: number
  readonly perDay: number
  /** Between two tries of X.509 while fallen back; it doubles up to eight times this. */
  readonly returnAfterMs: number
  /** SAS is retired by itself after so long of proven X.509; never when undefined. */
  readonly retireAfterMs: number | undefined
}

/**
 * `trusted`: synchronised, or measured against a server; `plausible`: not before what this device has seen already;
 * `wrong`: before it, or measured to be off.
 */
export type ClockTrust = 'trusted' | 'plausible' | 'wrong'

/** The credentials that are on this device. */
export interface Inventory {
  /** Best first. Times are wall time. */
  readonly certificates: readonly HeldCertificate[]
  /** A `Failure` when a SAS secret is configured that cannot be used. */
  readonly sas: 'ready' | 'absent' | Failure
  /** Names of generations that are there, and whose keys do not answer at the moment. */
  readonly outOfReach?: readonly string[]
}

export interface HeldCertificate {
  readonly ref: Extract<CredentialRef, { lane: 'x509' }>
  readonly notBeforeMs: number
  readonly notAfterMs: number
  /** Issued by certificate management: the hub takes it by its authority, and DPS knows nothing of it. */
  readonly isManaged?: boolean
  /** When it came to this device, where that is known. */
  readonly acceptedAtMs?: number
  /** Where in the span of renewals its point lies, in [0, 1); the middle when left out. */
  readonly share?: number
}

/** What a judgement is made from. */
export interface PolicyFacts {
  readonly nowMs: number
  readonly clock: ClockTrust
  readonly active: CredentialRef | undefined
  readonly inventory: Inventory
  readonly memory: Memory
  readonly policy: AuthPolicy
  /** DPS has to be asked where the device belongs, which certificate management does with a new certificate alone. */
  readonly needsRegistration?: boolean
}
