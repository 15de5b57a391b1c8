import type { Memory } from './memory.ts'
import type { ClockTrust } from './policy.ts'

/**
 * The memory of a device whose clock was ahead once: an instant that lies ahead of a trusted clock was written by a wrong
 * one, and counts as of now from here on. Otherwise the budget of a day would stay spent until that instant. The same object
 * when there is nothing to mend. What has a bound of its own (the next return, the next try) and the history stay.
 */
export function asOfNow(memory: Memory, clock: ClockTrust, nowMs: number): Memory {
  if (clock !== 'trusted' || !instantsOf(memory).some((ms) => ms > nowMs)) return memory
  const past = (ms: number) => Math.min(ms, nowMs)
  const { refusals, lastRegistration, renewal, x509ProvenSinceMs } = memory
  return {
    ...memory,
    moves: memory.moves.map(past),
    fallbacks: memory.fallbacks.map(past),
    ...(refusals && {
      refusals: { ...refusals, firstAtMs: past(refusals.firstAtMs), lastAtMs: past(refusals.lastAtMs) },
    }),
    ...(lastRegistration && { lastRegistration: { ...lastRegistration, atMs: past(lastRegistration.atMs) } }),
    ...(renewal && { renewal: { ...renewal, lastAtMs: past(renewal.lastAtMs) } }),
    ...(x509ProvenSinceMs === undefined ? {} : { x509ProvenSinceMs: past(x509ProvenSinceMs) }),
  }
}

function instantsOf({
  moves,
  fallbacks,
  refusals,
  lastRegistration,
  renewal,
  x509ProvenSinceMs,
}: Memory): readonly number[] {
  return [
    ...moves,
    ...fallbacks,
    ...(refusals ? [refusals.firstAtMs, refusals.lastAtMs] : []),
    lastRegistration?.atMs ?? 0,
    renewal?.lastAtMs ?? 0,
    x509ProvenSinceMs ?? 0,
  ]
}
