import type { FailureCode } from '../failure.ts'
import { judgeFallback, judgeRescue, judgeReturn } from './fallback.ts'
import { judgeMove } from './judge-wish.ts'
import { FILES, isSameRef } from './credential-ref.ts'
import type { Lane } from './credential-ref.ts'
import { activeOf } from './lifecycle.ts'
import type { Lifecycle, Move, Verdict } from './lifecycle.ts'
import type { HeldCertificate, PolicyFacts } from './policy.ts'
import { planRenewal } from './renewal.ts'
import type { RenewalPlan } from './renewal.ts'
import { judgeRetirement } from './retirement.ts'
import { isRetryDue } from './retry.ts'
import type { AuthWishes } from './rotation-ports.ts'

/** What stands in the way of a wish for now. */
export interface Waiting {
  readonly code: FailureCode
  readonly reason: string
  /** Wall time. */
  readonly untilMs: number
}

/** What is to be done about the credentials at this moment. */
export type Due =
  | { readonly due: 'nothing'; readonly waiting?: Waiting }
  | { readonly due: 'move'; readonly move: Move }
  /** Nobody wants the move any more that is being prepared. */
  | { readonly due: 'withdraw' }
  /** A wish that cannot be followed is answered. */
  | { readonly due: 'reject'; readonly move: Move; readonly verdict: Verdict }
  /** The twin wishes what a fallback has brought: it is no fallback any more, and a retry is over. */
  | { readonly due: 'contentment' }
  /** The device is as this version wishes: should it have to leave that by itself, the same version does not drive it back. */
  | { readonly due: 'fulfilled'; readonly version: number; readonly to: Lane }
  /** A retry is over: nobody wishes it any more, or it has come true. */
  | { readonly due: 'overtaken' }
  | { readonly due: 'retire' }

const nothing: Due = { due: 'nothing' }

/**
 * Decides from all wishes, refusals and clocks what comes next. Only a device that stands still or prepares can begin
 * something: whatever is under way ends first.
 *
 * @param wishes of the twin; undefined until it was read
 */
export function judgeDue(lifecycle: Lifecycle, wishes: AuthWishes | undefined, facts: PolicyFacts): Due {
  if (lifecycle.phase !== 'steady' && lifecycle.phase !== 'preparing') return nothing
  const preparing = lifecycle.phase === 'preparing' ? lifecycle.move : undefined
  const decisions = [
    () => refusedDue(preparing, facts),
    () => wishDue(preparing, wishes, facts),
    () => (preparing === undefined ? nothing : needlessDue(preparing, facts)),
    () => (preparing === undefined ? retryDue(wishes, facts) : nothing),
    () => (preparing === undefined ? renewalDue(facts) : nothing),
    () => (preparing === undefined ? expiryDue(facts) : nothing),
    () => returnDue(preparing, facts),
    () => retirementDue(wishes, facts),
  ]
  let waiting: Waiting | undefined
  for (const decide of decisions) {
    const due = decide()
    if (due.due !== 'nothing') return due
    waiting ??= due.waiting
  }
  return waiting === undefined ? nothing : { due: 'nothing', waiting }
}

/** The cloud refuses the active credential: away from it, to another one of X.509 first. */
function refusedDue(preparing: Move | undefined, facts: PolicyFacts): Due {
  if (preparing?.cause === 'fallback' || preparing?.cause === 'rescue') return nothing
  for (const judged of [judgeRescue(facts), judgeFallback(facts)])
    if (judged.do === 'fall') return { due: 'move', move: { ...judged.move, atMs: facts.nowMs } }
  return nothing
}

function wishDue(preparing: Move | undefined, wishes: AuthWishes | undefined, facts: PolicyFacts): Due {
  if (wishes === undefined) return nothing
  const { memory } = facts
  const withdrawn: Due = preparing?.cause === 'twin' ? { due: 'withdraw' } : nothing
  const move = unsettled(moveOfWishes(wishes, facts), memory)
  if (move === undefined) return withdrawn
  if (preparing !== undefined && preparing.cause === 'twin' && isSameWish(preparing, move)) return nothing
  const { retry, fallenBack } = memory
  // A command that met the same has put its try in the place of the wish's own.
  const isRetried = retry !== undefined && (retry.move.cause !== 'twin' || retry.move.version === move.version)
  if (isRetried && isSameWish(retry.move, move)) return nothing
  // It is wished all the time that the device has fallen back; when it returns is the policy's affair.
  if (fallenBack !== undefined && move.to === 'x509' && move.renew === undefined) return withdrawn
  const due = judged(move, facts)
  if (due !== 'already') return due
  if (preparing?.cause === 'twin') return { due: 'withdraw' }
  const settles = fallenBack !== undefined && move.to === 'sas'
  if (settles || retry?.move.cause === 'twin') return { due: 'contentment' }
  return preparing === undefined ? { due: 'fulfilled', version: wishes.version, to: move.to } : nothing
}

/** `auth.renew` asks for a new certificate; beside a mode of SAS it has nothing to renew and is judged so. */
function moveOfWishes({ mode, renew, version }: AuthWishes, { active, memory, nowMs }: PolicyFacts): Move | undefined {
  const isNew = renew !== undefined && renew !== memory.settledRenew
  if (mode === undefined && !isNew) return undefined
  const to = mode ?? activeLane(active)
  const renews = isNew && to === 'x509'
  if (mode === undefined && !renews)
    return { to: 'sas', fresh: true, cause: 'twin', version, ...(isNew && { renew }), atMs: nowMs }
  return { to, fresh: renews, cause: 'twin', version, ...(isNew && { renew }), atMs: nowMs }
}

function unsettled(move: Move | undefined, memory: PolicyFacts['memory']): Move | undefined {
  if (move === undefined || move.renew !== undefined) return move
  return move.version === memory.settledVersion && move.to === memory.settledTo ? undefined : move
}

function activeLane(active: PolicyFacts['active']): Move['to'] {
  return active?.lane ?? 'x509'
}

function isSameWish(one: Move, other: Move): boolean {
  return one.to === other.to && one.fresh === other.fresh && one.renew === other.renew
}

function judged(move: Move, facts: PolicyFacts): Due | 'already' {
  const judgement = judgeMove(move, facts)
  switch (judgement.verdict) {
    case 'go':
      return { due: 'move', move }
    case 'already':
      return 'already'
    case 'wait': {
      const { code, reason, untilMs } = judgement
      return { due: 'nothing', waiting: { code, reason, untilMs } }
    }
    case 'rejected': {
      const { code, reason } = judgement
      return { due: 'reject', move, verdict: { result: 'rejected', code, reason } }
    }
  }
}

/** A certificate that had expired by a wrong clock is good again, or there is no fallback any more to return from. */
function needlessDue({ cause }: Move, facts: PolicyFacts): Due {
  const isNeedless =
    (cause === 'expiry' && !hasExpired(facts)) ||
    (cause === 'renewal' && (renewalOf(facts)?.state ?? 'notYet') === 'notYet') ||
    (cause === 'return' && facts.memory.fallenBack === undefined)
  return isNeedless ? { due: 'withdraw' } : nothing
}

function retryDue(wishes: AuthWishes | undefined, facts: PolicyFacts): Due {
  const { memory, nowMs } = facts
  const { retry } = memory
  if (retry === undefined || !isRetryDue(memory, nowMs)) return nothing
  const move = { ...retry.move, atMs: nowMs }
  if (move.cause === 'twin') {
    if (wishes === undefined) return nothing
    const wished = moveOfWishes(wishes, facts)
    if (wished === undefined || !isSameWish(wished, move)) return { due: 'overtaken' }
  }
  const due = judged(move, facts)
  return due === 'already' ? { due: 'overtaken' } : due
}

/** Ahead of expiry, at a point of its own; what a person has wished has its turn before. */
function renewalDue(facts: PolicyFacts): Due {
  const plan = renewalOf(facts)
  if (plan?.state !== 'due' || facts.nowMs < plan.nextAttemptMs || facts.memory.retry !== undefined) return nothing
  const due = judged({ to: 'x509', fresh: true, cause: 'renewal', atMs: facts.nowMs }, facts)
  return due === 'already' ? nothing : due
}

/** When the active certificate is renewed; undefined for one that the agent does not renew. */
export function renewalOf(facts: PolicyFacts): RenewalPlan | undefined {
  const { active, clock, memory, nowMs, policy } = facts
  const held = heldActive(facts)
  if (held === undefined || held.ref.generation === FILES || clock === 'wrong' || !policy.renewal.enabled)
    return undefined
  const attempts = isSameRef(memory.renewal?.of, active) ? memory.renewal : undefined
  const certificate = { share: MIDDLE, ...held }
  return planRenewal(certificate, attempts, memory.longestOfflineMs ?? 0, policy.renewal, nowMs)
}

/** The share of a certificate whose own is not known. */
const MIDDLE = 0.5

function heldActive({ active, inventory }: Pick<PolicyFacts, 'active' | 'inventory'>): HeldCertificate | undefined {
  return inventory.certificates.find(({ ref }) => isSameRef(ref, active))
}

function expiryDue(facts: PolicyFacts): Due {
  if (!hasExpired(facts) || facts.memory.retry !== undefined) return nothing
  const due = judged({ to: 'x509', fresh: true, cause: 'expiry', atMs: facts.nowMs }, facts)
  return due === 'already' ? nothing : due
}

/** Whether the active certificate has expired, as far as this clock can say. */
function hasExpired(facts: PolicyFacts): boolean {
  const { clock, nowMs } = facts
  if (clock === 'wrong') return false
  const held = heldActive(facts)
  return held !== undefined && held.notAfterMs < nowMs
}

/** Beside what is prepared only a certificate that is at hand has its turn: to ask for one would have both begin anew for ever. */
function returnDue(preparing: Move | undefined, facts: PolicyFacts): Due {
  const judgement = judgeReturn(facts)
  if (judgement.do !== 'fall' || preparing?.cause === 'return') return nothing
  if (preparing !== undefined && judgement.move.candidate === undefined) return nothing
  return { due: 'move', move: { ...judgement.move, atMs: facts.nowMs } }
}

function retirementDue(wishes: AuthWishes | undefined, facts: PolicyFacts): Due {
  const judgement = judgeRetirement(wishes?.sasRetired === true, facts)
  if (judgement.do === 'retire') return { due: 'retire' }
  if (judgement.do === 'nothing') return nothing
  const { reason, untilMs } = judgement
  return { due: 'nothing', waiting: { code: 'AUTH_NOT_PROVEN_YET', reason, untilMs } }
}

/** The facts with the credential that a state stands on. */
export function factsOf(lifecycle: Lifecycle, facts: Omit<PolicyFacts, 'active'>): PolicyFacts {
  return { ...facts, active: activeOf(lifecycle) }
}
