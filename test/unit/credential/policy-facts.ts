import { Failure } from '../../../agent/failure.ts'
import type { FailureCode } from '../../../agent/failure.ts'
import type { CredentialRef } from '../../../agent/credential/credential-ref.ts'
import { emptyMemory } from '../../../agent/credential/memory.ts'
import type { Memory } from '../../../agent/credential/memory.ts'
import type { AuthPolicy, FallbackPolicy, HeldCertificate, PolicyFacts } from '../../../agent/credential/policy.ts'

export const MINUTE = 60_000
export const HOUR = 60 * MINUTE
export const DAY = 24 * HOUR

/** The instant of most tests. */
export const NOW = Date.parse('2026-06-01T12:00:00.000Z')

export const sas: CredentialRef = { lane: 'sas' }
export const gen = (number: number) => ({ lane: 'x509', generation: `gen-000${number}` }) as const

/** A certificate that began `ageDays` ago and ends in `leftDays`. */
export const held = (number: number, ageDays = 10, leftDays = 30): HeldCertificate => ({
  ref: gen(number),
  notBeforeMs: NOW - ageDays * DAY,
  notAfterMs: NOW + leftDays * DAY,
})

export const failure = (code: FailureCode) => new Failure(code, 'as the test says')

export const fallbackPolicy: FallbackPolicy = {
  enabled: true,
  untilMs: NOW + 90 * DAY,
  refusals: 5,
  holdOffMs: 30 * MINUTE,
  perDay: 2,
  returnAfterMs: 4 * HOUR,
  retireAfterMs: undefined,
}

export const policy: AuthPolicy = {
  born: 'sas',
  x509Enabled: true,
  downgradeAllowed: true,
  movesPerDay: 3,
  fallback: fallbackPolicy,
  soakMs: DAY,
  renewal: { enabled: false, fraction: 0.7, spread: 0.1, floorMs: HOUR },
}

/** A device on its only certificate, with SAS at hand, a trusted clock, and a policy that allows everything. */
export const onX509: PolicyFacts = {
  nowMs: NOW,
  clock: 'trusted',
  active: gen(1),
  inventory: { certificates: [held(1)], sas: 'ready' },
  memory: emptyMemory,
  policy,
}

export const onSas: PolicyFacts = { ...onX509, active: sas }

export const remembers = (facts: PolicyFacts, memory: Partial<Memory>): PolicyFacts => ({
  ...facts,
  memory: { ...facts.memory, ...memory },
})

export const allows = (facts: PolicyFacts, part: Partial<AuthPolicy>): PolicyFacts => ({
  ...facts,
  policy: { ...facts.policy, ...part },
})

export const allowsFallback = (facts: PolicyFacts, part: Partial<FallbackPolicy>): PolicyFacts =>
  allows(facts, { fallback: { ...facts.policy.fallback, ...part } })

/** The active credential was refused so often, over so long until now. */
export const refused = (facts: PolicyFacts, count: number, overMs: number, code: FailureCode = 'DPS_UNAUTHORIZED') => {
  const of = facts.active ?? sas
  return remembers(facts, {
    refusals: { of, count, firstAtMs: facts.nowMs - overMs, lastAtMs: facts.nowMs, code },
  })
}
