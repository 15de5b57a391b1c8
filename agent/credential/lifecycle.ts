import type { FailureCode } from '../failure.ts'
import type { CredentialRef, Lane } from './credential-ref.ts'

/** Who or what wants the device to prove itself with another credential. */
export type Cause =
  /** `auth.mode` or `auth.renew` of the device twin. */
  | 'twin'
  /** A technician's command on the device. */
  | 'command'
  /** A direct method. */
  | 'method'
  /** The cloud refuses the certificate for good, and policy allows SAS for a while. */
  | 'fallback'
  /** The way back to X.509 after a fallback. */
  | 'return'
  /** The cloud refuses the credential for good, and another one that is no downgrade is at hand. */
  | 'rescue'
  /** The certificate has expired. */
  | 'expiry'
  /** The certificate will expire. */
  | 'renewal'

/** One wish to change the credential, from whoever has it. */
export interface Move {
  readonly to: Lane
  /** A credential that is there already; when left out, the best of the lane, or a new certificate. */
  readonly candidate?: CredentialRef
  /** A new key and certificate is wanted, however good the present one is. */
  readonly fresh: boolean
  readonly cause: Cause
  /** Desired `$version` that asked for it. */
  readonly version?: number
  /** The desired `auth.renew` that asked for it. */
  readonly renew?: string
  /** The failure that led to it. */
  readonly because?: FailureCode
  /** Wall time in milliseconds. */
  readonly atMs: number
}

/** How a move ended that did not reach its aim; `active` is the word for one that did. */
export type Setback = 'rolledBack' | 'refused' | 'unreachable' | 'rejected'

/** Why a move did not reach its aim. */
export interface Verdict {
  readonly result: Setback
  readonly code: FailureCode
  /** One sentence, without secrets. */
  readonly reason: string
}

/** Where the device stands with its credentials. Saved before each step. */
export type Lifecycle =
  /** There is no credential yet: a device that waits for its first certificate. */
  | { readonly phase: 'newborn' }
  | { readonly phase: 'steady'; readonly active: CredentialRef }
  /** Gets the candidate ready; touches nothing that works. */
  | { readonly phase: 'preparing'; readonly active: CredentialRef; readonly move: Move }
  /** From here on the cloud may have forgotten the active credential. */
  | {
      readonly phase: 'registering'
      readonly active: CredentialRef
      readonly candidate: CredentialRef
      readonly move: Move
    }
  | {
      readonly phase: 'proving'
      readonly active: CredentialRef
      readonly candidate: CredentialRef
      readonly move: Move
    }
  /** The candidate has proved itself; only the record of it is missing. */
  | {
      readonly phase: 'committing'
      readonly active: CredentialRef
      readonly candidate: CredentialRef
      readonly move: Move
    }
  | {
      readonly phase: 'rollingBack'
      readonly active: CredentialRef
      readonly candidate: CredentialRef
      readonly move: Move
      readonly verdict: Verdict
    }

export type Phase = Lifecycle['phase']

export type LifecycleEvent =
  | { readonly event: 'wanted'; readonly move: Move }
  | { readonly event: 'prepared'; readonly candidate: CredentialRef }
  | { readonly event: 'registered' }
  /** DPS has issued a certificate with a registration: it stands in the place of the active credential or of the candidate. */
  | { readonly event: 'issued'; readonly instead: 'active' | 'candidate'; readonly by: CredentialRef }
  | { readonly event: 'proved' }
  | { readonly event: 'committed' }
  | { readonly event: 'failed'; readonly verdict: Verdict }
  /** Whoever had the wish has it no longer. */
  | { readonly event: 'withdrawn' }
  | { readonly event: 'restored' }
  /** The cloud refuses both credentials: whatever else there is may be tried. */
  | { readonly event: 'exhausted' }
  | { readonly event: 'restarted' }

export type EventName = LifecycleEvent['event']

type In<P extends Phase> = Extract<Lifecycle, { phase: P }>
type On<E extends EventName> = Extract<LifecycleEvent, { event: E }>
type Row<P extends Phase> = { readonly [E in EventName]?: (state: In<P>, event: On<E>) => Lifecycle }

/**
 * Every legal step, one line each, as phase → event → function of both. What is not listed is ignored.
 * docs/transitions.md is drawn from it.
 */
export const table: { readonly [P in Phase]: Row<P> } = {
  newborn: {
    prepared: (_, { candidate }) => ({ phase: 'steady', active: candidate }),
    restarted: (s) => s,
  },
  steady: {
    wanted: ({ active }, { move }) => ({ phase: 'preparing', active, move }),
    issued: (_, { by }) => ({ phase: 'steady', active: by }),
    restarted: (s) => s,
  },
  preparing: {
    wanted: ({ active }, { move }) => ({ phase: 'preparing', active, move }),
    issued: (s, { by }) => ({ ...s, active: by }),
    prepared: ({ active, move }, { candidate }) => ({ phase: 'registering', active, candidate, move }),
    failed: ({ active }) => ({ phase: 'steady', active }),
    withdrawn: ({ active }) => ({ phase: 'steady', active }),
    restarted: (s) => s,
  },
  registering: {
    issued: (s, { by }) => ({ ...s, candidate: by }),
    registered: (s) => ({ ...s, phase: 'proving' }),
    failed: (s, { verdict }) => ({ ...s, phase: 'rollingBack', verdict }),
    restarted: (s) => ({ ...s, phase: 'rollingBack', verdict: interrupted('registering') }),
  },
  proving: {
    proved: (s) => ({ ...s, phase: 'committing' }),
    failed: (s, { verdict }) => ({ ...s, phase: 'rollingBack', verdict }),
    restarted: (s) => ({ ...s, phase: 'rollingBack', verdict: interrupted('proving') }),
  },
  committing: {
    committed: ({ candidate }) => ({ phase: 'steady', active: candidate }),
    restarted: (s) => s,
  },
  rollingBack: {
    issued: (s, { instead, by }) => ({ ...s, [instead]: by }),
    restored: ({ active }) => ({ phase: 'steady', active }),
    exhausted: ({ active }) => ({ phase: 'steady', active }),
    // In its turn the candidate worked after all, and what works is kept.
    proved: ({ active, candidate, move }) => ({ phase: 'committing', active, candidate, move }),
    restarted: (s) => s,
  },
}

/** The state after an event; the same one when the table has no such step. */
export function next(state: Lifecycle, event: LifecycleEvent): Lifecycle {
  const row = table[state.phase] as Readonly<Partial<Record<EventName, (s: Lifecycle, e: LifecycleEvent) => Lifecycle>>>
  return row[event.event]?.(state, event) ?? state
}

/** The credential that the device would fall back on; undefined before the first. */
export function activeOf(state: Lifecycle): CredentialRef | undefined {
  return state.phase === 'newborn' ? undefined : state.active
}

/** The move under way, if there is one. */
export function moveOf(state: Lifecycle): Move | undefined {
  return 'move' in state ? state.move : undefined
}

/** A power cut is nobody's refusal: the same wish may be tried again. */
function interrupted(where: Phase): Verdict {
  return { result: 'unreachable', code: 'AUTH_INTERRUPTED', reason: `the agent was interrupted while ${where}` }
}
