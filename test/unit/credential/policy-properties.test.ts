import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { Failure } from '../../../agent/failure.ts'
import type { FailureCode } from '../../../agent/failure.ts'
import { judgeFallback, judgeRescue, judgeReturn } from '../../../agent/credential/fallback.ts'
import { judgeMove } from '../../../agent/credential/judge-wish.ts'
import { emptyMemory, lastDay, withMove } from '../../../agent/credential/memory.ts'
import type { Memory } from '../../../agent/credential/memory.ts'
import type { ClockTrust, PolicyFacts } from '../../../agent/credential/policy.ts'
import { isTerminalRefusal, withRefusal } from '../../../agent/credential/refusals.ts'
import { judgeRetirement } from '../../../agent/credential/retirement.ts'
import { isRetryDue, withRetry } from '../../../agent/credential/retry.ts'
import {
  anyCause,
  anyClock,
  anyCode,
  anyFacts,
  anyMemory,
  anyRef,
  codes,
  instant,
  nearFallback,
  random,
} from './arbitrary-facts.ts'
import { DAY, gen, HOUR, MINUTE, NOW, sas } from './policy-facts.ts'

/** What the cloud alone can have said; written here once more, so that the list in the code cannot vouch for itself. */
const authenticated: readonly FailureCode[] = [
  'HUB_REFUSED_CREDENTIAL',
  'DPS_REFUSED_CONNECTION',
  'DPS_UNAUTHORIZED',
  'DPS_NOT_FOUND',
  'DPS_DISABLED',
]
const forgeable = codes.filter((code) => !authenticated.includes(code))

const RUNS = { numRuns: 2_000 }

test('whenever a device falls back, every single condition of the policy holds', () => {
  let falls = 0
  fc.assert(
    fc.property(fc.oneof(nearFallback, anyFacts), (facts) => {
      if (judgeFallback(facts).do !== 'fall') return
      falls += 1
      const { active, clock, inventory, memory, policy, nowMs } = facts
      const { enabled, untilMs = 0, refusals, holdOffMs, perDay } = policy.fallback
      assert.equal(active?.lane, 'x509')
      assert.equal(clock, 'trusted')
      assert.equal(inventory.sas, 'ready')
      assert.equal(memory.retirement, undefined)
      assert.ok(enabled && untilMs > nowMs)
      assert.ok(memory.refusals !== undefined && memory.refusals.count >= refusals)
      assert.ok(memory.refusals.lastAtMs - memory.refusals.firstAtMs >= holdOffMs)
      assert.ok(lastDay(memory.fallbacks, nowMs).length < perDay)
      assert.ok(memory.fallbacks.every((atMs) => nowMs - atMs >= HOUR))
      assert.ok(lastDay(memory.moves, nowMs).length < policy.movesPerDay)
    }),
    RUNS,
  )
  assert.ok(falls > 20, `the property saw ${falls} fallbacks`)
})

test('a rescue and a return never lead to SAS, and what the device does by itself always waits for an instant ahead', () => {
  fc.assert(
    fc.property(fc.oneof(nearFallback, anyFacts), (facts) => {
      for (const judge of [judgeRescue, judgeReturn, judgeFallback]) {
        const judgement = judge(facts)
        if (judgement.do === 'wait') assert.ok(judgement.untilMs > facts.nowMs)
        if (judgement.do !== 'fall' || judge === judgeFallback) continue
        assert.equal(judgement.move.to, 'x509')
        assert.notEqual(judgement.move.candidate?.lane, 'sas')
        assert.ok(facts.policy.x509Enabled)
      }
    }),
    RUNS,
  )
})

interface Seen {
  readonly code: FailureCode
  readonly clock: ClockTrust
  readonly inMs: number
}

/** What the device remembers after a row of failures of its active credential. */
function afterFailures(start: PolicyFacts, seen: readonly Seen[]): PolicyFacts {
  return seen.reduce<PolicyFacts>((facts, { code, clock, inMs }) => {
    const now = { ...facts, clock, nowMs: facts.nowMs + inMs }
    const { active, memory, nowMs } = now
    const failure = new Failure(code, 'as the test says')
    if (active === undefined || !isTerminalRefusal(failure, active, now)) return now
    return { ...now, memory: withRefusal(memory, active, failure, nowMs) }
  }, start)
}

const anySeen = (code: fc.Arbitrary<FailureCode>, clock: fc.Arbitrary<ClockTrust>): fc.Arbitrary<readonly Seen[]> =>
  fc.array(fc.record({ code, clock, inMs: fc.integer({ min: -HOUR, max: DAY }) }), { maxLength: 60 })

/** Policy and budget allow everything; the certificate is good. */
const willing: PolicyFacts = {
  nowMs: NOW,
  clock: 'trusted',
  active: gen(1),
  inventory: {
    certificates: [1, 2].map((number) => ({
      ref: gen(number),
      notBeforeMs: NOW - 999 * DAY,
      notAfterMs: NOW + 999 * DAY,
    })),
    sas: 'ready',
  },
  memory: emptyMemory,
  policy: {
    born: 'sas',
    x509Enabled: true,
    downgradeAllowed: true,
    movesPerDay: 99,
    soakMs: 0,
    renewal: { enabled: false, fraction: 0.7, spread: 0.1, floorMs: 3_600_000 },
    fallback: {
      enabled: true,
      untilMs: NOW + 999 * DAY,
      refusals: 2,
      holdOffMs: 0,
      perDay: 24,
      returnAfterMs: HOUR,
      retireAfterMs: undefined,
    },
  },
}

test('no row of failures that somebody on the way could cause leads away from a good certificate, however long', () => {
  fc.assert(
    fc.property(anySeen(fc.constantFrom(...forgeable), anyClock), (seen) => {
      const facts = { ...afterFailures(willing, seen), clock: 'trusted' as const }
      assert.equal(facts.memory, emptyMemory)
      assert.notEqual(judgeFallback(facts).do, 'fall')
      assert.notEqual(judgeRescue(facts).do, 'fall')
    }),
    RUNS,
  )
})

test('the same willing device does fall once the cloud itself has refused it', () => {
  const seen = [0, HOUR].map((inMs) => ({ code: 'DPS_UNAUTHORIZED', clock: 'trusted', inMs }) as const)
  const only = {
    ...willing,
    inventory: { ...willing.inventory, certificates: willing.inventory.certificates.slice(0, 1) },
  }
  assert.equal(judgeFallback(afterFailures(only, seen)).do, 'fall')
})

test('a clock that is not trusted never changes what is remembered of refusals', () => {
  fc.assert(
    fc.property(anyFacts, anySeen(anyCode, fc.constantFrom('plausible', 'wrong')), (facts, seen) => {
      assert.equal(afterFailures(facts, seen).memory, facts.memory)
    }),
    RUNS,
  )
})

test('beyond the budget of a day no move goes, for whatever cause, and none of its own begins', () => {
  const anyMove = fc.record(
    { to: fc.constantFrom('sas' as const, 'x509' as const), fresh: fc.boolean(), cause: anyCause, candidate: anyRef },
    { requiredKeys: ['to', 'fresh', 'cause'] },
  )
  fc.assert(
    fc.property(anyFacts, anyMove, fc.nat(3), (facts, move, extra) => {
      const moves = Array.from({ length: facts.policy.movesPerDay + extra }, (_, index) => facts.nowMs - index)
      const spent = { ...facts, memory: { ...facts.memory, moves } }
      assert.notEqual(judgeMove(move, spent).verdict, 'go')
      for (const judge of [judgeFallback, judgeRescue, judgeReturn]) assert.notEqual(judge(spent).do, 'fall')
    }),
    RUNS,
  )
})

test('in any 24 hours no more moves begin than the budget allows, whatever is wanted and when', () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ cause: anyCause, inMs: fc.integer({ min: 0, max: 6 * HOUR }) }), { maxLength: 60 }),
      (wanted) => {
        let nowMs = NOW
        let memory: Memory = emptyMemory
        const begun: number[] = []
        for (const { cause, inMs } of wanted) {
          nowMs += inMs
          const move = { to: 'x509', fresh: true, cause, atMs: nowMs } as const
          const facts = { ...willing, memory, nowMs, policy: { ...willing.policy, movesPerDay: 3 } }
          if (judgeMove(move, facts).verdict !== 'go') continue
          memory = withMove(memory, move, nowMs)
          begun.push(nowMs)
        }
        for (const atMs of begun) assert.ok(begun.filter((one) => one > atMs - DAY && one <= atMs).length <= 3)
      },
    ),
  )
})

test('SAS is wanted in vain wherever it is retired, absent or unusable, or where a wish may not lead to it', () => {
  fc.assert(
    fc.property(anyFacts, anyCause, fc.boolean(), (facts, cause, named) => {
      const move = { to: 'sas', fresh: false, cause, ...(named && { candidate: sas }) } as const
      if (judgeMove(move, facts).verdict !== 'go') return
      assert.equal(facts.inventory.sas, 'ready')
      assert.equal(facts.memory.retirement, undefined)
      const isWish = cause === 'twin' || cause === 'command' || cause === 'method'
      assert.ok(!isWish || facts.policy.downgradeAllowed || facts.active?.lane !== 'x509')
    }),
    RUNS,
  )
})

test('SAS is retired only by a device on X.509 that has proved itself for the soak by a trusted clock', () => {
  fc.assert(
    fc.property(anyFacts, fc.boolean(), (facts, wished) => {
      const { active, clock, memory, nowMs, policy } = facts
      if (judgeRetirement(wished, facts).do !== 'retire' || memory.retirement !== undefined) return
      assert.equal(active?.lane, 'x509')
      assert.equal(clock, 'trusted')
      assert.equal(memory.fallenBack, undefined)
      assert.ok(nowMs - (memory.x509ProvenSinceMs ?? Infinity) >= policy.soakMs)
      assert.ok(wished || policy.fallback.retireAfterMs !== undefined)
    }),
    RUNS,
  )
})

test('a wish that met an outage is tried again within the longest pause, wherever the clock is set meanwhile', () => {
  const verdict = { result: 'unreachable', code: 'NETWORK_DNS', reason: 'no name' } as const
  fc.assert(
    fc.property(anyMemory, random, fc.nat(40), instant, (memory, chance, tries, nowMs) => {
      const move = { to: 'x509', fresh: false, cause: 'twin', version: 7, atMs: nowMs } as const
      let after = memory
      for (let one = 0; one <= tries; one += 1) after = withRetry(after, move, verdict, nowMs, () => chance)
      const pause = (after.retry?.notBeforeMs ?? Infinity) - nowMs
      assert.ok(pause >= 7.5 * MINUTE && pause <= 4 * HOUR)
      assert.ok(isRetryDue(after, nowMs + pause))
      assert.ok(isRetryDue(after, nowMs - 2 * DAY))
    }),
  )
})
