import type { Failure } from '../failure.ts'
import type { Clock } from '../system/clock.ts'
import type { CredentialRef } from './credential-ref.ts'
import type { Waiting } from './due.ts'
import type { AuthRecord } from './journal.ts'
import type { Lifecycle, LifecycleEvent, Move } from './lifecycle.ts'
import type { Memory } from './memory.ts'
import type { AuthPolicy, ClockTrust, Inventory } from './policy.ts'

/** How a link begins. */
export type LinkStart =
  /** With the assignment of an earlier run, if there is one; DPS else. */
  | 'cached'
  /** With a registration; if that fails, with the assignment of an earlier run as well. */
  | 'registerFirst'
  /** With a registration, and never without one. */
  | 'registerOnly'

/** What happens on a link, as the rotation needs to know it. */
export interface LinkEvents {
  /** Waited for before each attempt to register or connect: a link that is held does nothing new. */
  gate(signal: AbortSignal): Promise<void>
  /**
   * DPS has assigned the device with this credential. The link goes on when the promise resolves.
   *
   * @param byDps false for what is assigned without asking DPS; true when left out
   * @param issued the certificate that came with it, in the place of the pending one
   */
  registered(byDps?: boolean, issued?: CredentialRef): Promise<void>
  /** CONNACK 0. `presented` names the credential that was really used, by what the session has sent. */
  connected(presented: CredentialRef | undefined): void
  /** On the present connection. */
  twinRead(): void
  /** On the present connection. */
  acknowledged(): void
  /** An attempt failed; the link goes on by itself. */
  failed(failure: Failure): void
}

/** What the rotation of credentials needs of the world; it never sees DPS, hub or issuer. */
export interface RotationPorts {
  readonly clock: Clock
  /** Uniform in [0, 1). */
  readonly random: () => number
  readonly policy: AuthPolicy
  readonly limits: StepLimits
  clockTrust(): ClockTrust
  /** What is on the device at this moment. */
  inventory(): Promise<Inventory>
  /** The record of the last run; undefined when there is none that can be read. */
  load(): Promise<AuthRecord | undefined>
  /** Durable when it resolves. @throws Failure DISK_FULL, STATE_UNWRITABLE; the old record is untouched */
  save(record: AuthRecord): Promise<void>
  /** The pointer, which outlives a lost record. */
  pointer(): Promise<CredentialRef | undefined>
  /** Durable when it resolves, and idempotent. */
  activate(ref: CredentialRef): Promise<void>
  /**
   * A certificate of a new key, however long it takes; the request survives restarts.
   *
   * @throws Failure  that is not transient
   * @throws signal.reason when aborted
   */
  obtain(signal: AbortSignal): Promise<CredentialRef>
  /**
   * Keeps the device connected with one credential until `signal` aborts, and returns when nothing of it is left.
   *
   * @throws Failure when the credential cannot even be loaded
   */
  link(ref: CredentialRef, start: LinkStart, events: LinkEvents, signal: AbortSignal): Promise<void>
  /**
   * What stands in the way of a registration with this credential, as far as can be seen without one. Undefined when
   * nothing does.
   */
  rehearse?(ref: CredentialRef): Promise<Failure | undefined>
  /** How long the device was away from its hub before the present session, in milliseconds. */
  offlineMs?(): number
  /** Told at each look at the time: without it for long, this life cycle hangs. */
  onTick?(): void
  /** Something was sent for: the next acknowledgement is not to wait for the next sample. */
  sendSomething(): void
  /** Destroys every copy of the SAS secret that can be reached; answers with those that cannot, as sentences. Idempotent. */
  destroySas(): Promise<readonly string[]>
  /** Told of every change, after it was saved. */
  onChange(change: AuthChange): void
  /** Something else stands in the way of a wish, or nothing any more. */
  onWaiting?(): void
  /** A failure that changes nothing. */
  onTrouble(failure: Failure): void
}

export interface StepLimits {
  /** For a registration with a candidate, all tries together; monotonic milliseconds, as `proveMs`. */
  readonly registerMs: number
  /** From the assignment to the proof. */
  readonly proveMs: number
}

/** One step of the life cycle, or a change of what is remembered. */
export interface AuthChange {
  readonly record: AuthRecord
  readonly before: Lifecycle
  /** The memory before; the same object where nothing of it has changed. */
  readonly remembered: Memory
  readonly event?: LifecycleEvent
  readonly move?: Move
}

/** What the twin wishes about credentials. */
export interface AuthWishes {
  /** Desired `$version`. */
  readonly version: number
  readonly mode?: 'sas' | 'x509'
  readonly renew?: string
  readonly sasRetired?: boolean
}

/** What a command or a direct method wishes. */
export interface AuthOrder {
  readonly order: 'sas' | 'x509' | 'renew' | 'reprovision'
  readonly cause: 'command' | 'method'
  readonly rehearse: boolean
}

/** What is said to whoever gave an order; the move itself is told by the record. */
export interface OrderAnswer {
  readonly accepted: boolean
  /** Of the refusal, or of what stands in the way for now. */
  readonly code?: string
  /** One sentence each: what will be done, in order; of a rehearsal, what would be. */
  readonly steps: readonly string[]
}

/** The life of the credentials of this device. */
export interface Rotation {
  /** Where it stands, and what it remembers. */
  readonly record: () => AuthRecord
  readonly inventory: () => Inventory
  /** What stands in the way of a wish for now. */
  readonly waiting: () => Waiting | undefined
  /** Lives until `signal` aborts. */
  run(signal: AbortSignal): Promise<void>
  wish(wishes: AuthWishes): void
  /** The clock has found back: what was refused by a wrong one is tried again now, not after its pause. */
  clockMended(): void
  order(order: AuthOrder): Promise<OrderAnswer>
}
