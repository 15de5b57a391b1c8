import { FILES, isPending, isSameRef, pendingRef } from './credential-ref.ts'
import type { CredentialRef } from './credential-ref.ts'
import { freeAtMs } from './budget.ts'
import { withFallenBack } from './fallback.ts'
import type { AuthRecord } from './journal.ts'
import { activeOf, next } from './lifecycle.ts'
import type { Lifecycle, Move } from './lifecycle.ts'
import { emptyMemory, withAttempt, withMove } from './memory.ts'
import type { Memory } from './memory.ts'
import type { AuthPolicy, ClockTrust, HeldCertificate, Inventory } from './policy.ts'

/** What is found at the start of the agent. */
export interface Found {
  /** Undefined when there is none, or none that can be read. */
  readonly record: AuthRecord | undefined
  readonly pointer: CredentialRef | undefined
  readonly inventory: Inventory
  readonly policy: AuthPolicy
  /** Wall time. */
  readonly nowMs: number
  readonly clock: ClockTrust
  /** Uniform in [0, 1). */
  readonly random: () => number
}

/**
 * Where the device stands after a start: what was not proved is rolled back, what is idempotent is repeated, and a
 * credential that works is never lost for a record that is not there.
 */
export function recover(found: Found): AuthRecord {
  const memory = withoutFiles(found.record?.memory ?? emptyMemory, found)
  const resumed = found.record && next(found.record.lifecycle, { event: 'restarted' })
  if (resumed === undefined) return withoutRecord(memory, found)
  if (resumed.phase === 'newborn')
    return memory.lostX509 === true
      ? withoutX509(memory, found, [])
      : { version: 1, lifecycle: born(memory, found), memory }
  const files = filesBroughtBack(resumed, memory, found)
  if (files !== undefined) return { version: 1, lifecycle: { phase: 'steady', active: files }, memory }
  const isProven = resumed.phase === 'committing' && has(resumed.candidate, memory, found)
  if (isProven || has(resumed.active, memory, found))
    return { version: 1, lifecycle: withCandidate(resumed, memory, found), memory }
  return withoutActive(resumed, memory, found)
}

/**
 * Whether SAS was a fallback went with the record. It counts as one while there is a certificate: if the twin wishes SAS, it
 * says so again, and X.509 that is refused leads back.
 */
function withoutRecord(memory: Memory, found: Found): AuthRecord {
  const { inventory, nowMs, pointer, policy, random } = found
  if (pointer?.lane === 'x509' && !has(pointer, memory, found))
    return withoutActive({ phase: 'steady', active: pointer }, memory, found)
  const lifecycle = born(memory, found)
  const [held] = inventory.certificates
  if (pointer?.lane === 'x509' && pointer.generation !== FILES && inventory.certificates.some(isFiles))
    return { version: 1, lifecycle, memory: { ...memory, leftFiles: true } }
  const isOnSas = lifecycle.phase === 'steady' && lifecycle.active.lane === 'sas' && pointer?.lane === 'sas'
  if (!isOnSas || held === undefined || !policy.x509Enabled) return { version: 1, lifecycle, memory }
  return { version: 1, lifecycle, memory: withFallenBack(memory, held.ref, 'JOURNAL_TORN', nowMs, policy, random) }
}

/** A device without history, or without a record of it. */
function born(memory: Memory, found: Found): Lifecycle {
  const { inventory, policy, pointer } = found
  const certificates = [...inventory.certificates.map(({ ref }) => ref), pendingRef]
  const bornWith = policy.born === 'sas' ? [SAS, ...certificates] : certificates
  const named = pointer === undefined ? [] : [pointer]
  // A device that is to be born on X.509 waits for its certificate, unless it may have none.
  const last = policy.x509Enabled ? [] : [SAS]
  const active = [...named, ...bornWith, ...last].find((ref) => has(ref, memory, found))
  return active === undefined ? { phase: 'newborn' } : { phase: 'steady', active }
}

/** What was proved but is gone before it was recorded leads nowhere; every other step finds its way back by itself. */
function withCandidate(resumed: Exclude<Lifecycle, { phase: 'newborn' }>, memory: Memory, found: Found): Lifecycle {
  const isLost = resumed.phase === 'committing' && !has(resumed.candidate, memory, found)
  return isLost ? { phase: 'steady', active: resumed.active } : resumed
}

/**
 * The active credential is gone, as when somebody removed its key. What is no downgrade comes first; SAS in place of X.509
 * only where policy allows a fallback, and counted as one.
 */
function withoutActive(resumed: Exclude<Lifecycle, { phase: 'newborn' }>, memory: Memory, found: Found): AuthRecord {
  const others = [
    ...('candidate' in resumed ? [resumed.candidate] : []),
    ...bestFirst(memory, found).map(({ ref }) => ref),
  ]
  const other = others.find((ref) => ref.lane === 'x509' && has(ref, memory, found))
  if (other !== undefined) return { version: 1, lifecycle: { phase: 'steady', active: other }, memory }
  if (resumed.active.lane === 'x509') return withoutX509({ ...memory, lostX509: true }, found, [resumed.active])
  return { version: 1, lifecycle: { phase: 'newborn' }, memory }
}

/** Those that the cloud has refused, and those that have expired, come last. */
function bestFirst(memory: Memory, { inventory, clock, nowMs }: Found): readonly HeldCertificate[] {
  const isGood = ({ ref, notAfterMs }: HeldCertificate) =>
    !memory.refusedGenerations.includes(ref.generation) && (clock === 'wrong' || notAfterMs > nowMs)
  const { certificates } = inventory
  return [...certificates.filter(isGood), ...certificates.filter((held) => !isGood(held))]
}

/** SAS by policy, or the wait for another certificate. */
function withoutX509(memory: Memory, found: Found, lost: readonly CredentialRef[]): AuthRecord {
  const { inventory, policy, nowMs, random, clock } = found
  const { lostX509: _found, ...others } = memory
  // Its owner has left it no lane but SAS: that is no fallback.
  if (!policy.x509Enabled) return { version: 1, lifecycle: born(others, found), memory: others }
  const held = inventory.certificates.find(({ ref }) => has(ref, memory, found))
  const next = held?.ref ?? pendingRef
  if (has(next, memory, found)) return { version: 1, lifecycle: { phase: 'steady', active: next }, memory: others }
  const { enabled, untilMs, perDay } = policy.fallback
  const isInTime = enabled && untilMs !== undefined && nowMs < untilMs && clock !== 'wrong'
  const isAllowed = isInTime && freeAtMs(memory.fallbacks, perDay, nowMs) === undefined
  if (!isAllowed || !has(SAS, memory, found)) return { version: 1, lifecycle: { phase: 'newborn' }, memory }
  const from = lost[0] ?? { lane: 'x509', generation: FILES }
  // Counted and told like every other fallback.
  const move: Move = {
    to: 'sas',
    candidate: SAS,
    fresh: false,
    cause: 'fallback',
    because: 'KEY_UNREADABLE',
    atMs: nowMs,
  }
  const counted = withAttempt(withMove(others, move, nowMs), move, undefined, nowMs)
  const fallen = withFallenBack(counted, from, 'KEY_UNREADABLE', nowMs, policy, random)
  return { version: 1, lifecycle: { phase: 'steady', active: SAS }, memory: fallen }
}

function isFiles({ ref }: HeldCertificate): boolean {
  return ref.generation === FILES
}

const SAS: CredentialRef = { lane: 'sas' }

function has(ref: CredentialRef, memory: Memory, found: Found): boolean {
  const { inventory, policy } = found
  if (ref.lane === 'sas') return inventory.sas === 'ready' && memory.retirement === undefined
  if (isPending(ref)) return mayBeIssued(memory, found)
  const isOutOfReach = inventory.outOfReach?.includes(ref.generation) === true
  return policy.x509Enabled && (isOutOfReach || inventory.certificates.some((held) => isSameRef(held.ref, ref)))
}

/** Whether DPS can be asked for a certificate. */
function mayBeIssued(memory: Memory, { inventory, policy }: Found): boolean {
  if (!policy.x509Enabled || policy.onboarding === undefined) return false
  return policy.onboarding === 'x509' || (inventory.sas === 'ready' && memory.retirement === undefined)
}

/** The pair of files is configured again after it was not: that is the owner's wish. */
function filesBroughtBack(lifecycle: Lifecycle, memory: Memory, found: Found): CredentialRef | undefined {
  const active = activeOf(lifecycle)
  const files: CredentialRef = { lane: 'x509', generation: FILES }
  if (active?.lane !== 'x509' || isSameRef(active, files) || memory.leftFiles === true) return undefined
  return has(files, memory, found) ? files : undefined
}

/** That a move has led away from the pair counts for as long as the pair is there. */
function withoutFiles(memory: Memory, { inventory }: Found): Memory {
  if (memory.leftFiles === undefined || inventory.certificates.some(({ ref }) => ref.generation === FILES))
    return memory
  const { leftFiles: _gone, ...others } = memory
  return others
}
