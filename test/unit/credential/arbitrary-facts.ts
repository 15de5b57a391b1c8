import * as fc from 'fast-check'
import { Failure } from '../../../agent/failure.ts'
import type { FailureCode } from '../../../agent/failure.ts'
import { failureTable } from '../../../agent/failure-table.ts'
import type { Cause } from '../../../agent/credential/lifecycle.ts'
import { emptyMemory } from '../../../agent/credential/memory.ts'
import type { Memory } from '../../../agent/credential/memory.ts'
import type { AuthPolicy, ClockTrust, Inventory, PolicyFacts } from '../../../agent/credential/policy.ts'
import { DAY, gen, HOUR, NOW, sas } from './policy-facts.ts'

/** Every code of the table. */
export const codes = Object.keys(failureTable) as FailureCode[]
export const anyCode = fc.constantFrom(...codes)
export const anyClock = fc.constantFrom<ClockTrust>('trusted', 'plausible', 'wrong')
export const anyRef = fc.constantFrom(sas, gen(1), gen(2), gen(3))
export const anyCause = fc.constantFrom<Cause>(
  'twin',
  'command',
  'method',
  'fallback',
  'return',
  'rescue',
  'expiry',
  'renewal',
)
export const instant = fc.integer({ min: NOW - 3 * DAY, max: NOW + 3 * DAY })
export const instants = fc.array(instant, { maxLength: 5 })
const span = fc.integer({ min: 0, max: 2 * DAY })
export const random = fc.double({ min: 0, max: 0.999_999, noNaN: true })

export const anyMemory: fc.Arbitrary<Memory> = fc
  .record(
    {
      moves: instants,
      fallbacks: instants,
      refusals: fc.record({
        of: anyRef,
        count: fc.integer({ min: 1, max: 12 }),
        firstAtMs: instant,
        lastAtMs: instant,
        code: anyCode,
      }),
      lastRegistration: fc.record({ of: anyRef, atMs: instant }),
      x509ProvenSinceMs: instant,
      retirement: fc.record({ atMs: instant, done: fc.boolean(), left: fc.constant([]) }),
      fallenBack: fc.record({
        from: anyRef,
        cause: anyCode,
        sinceMs: instant,
        returnAtMs: instant,
        returnsFailed: fc.nat(9),
      }),
      renewal: fc.record({
        of: fc.constant({ lane: 'x509', generation: 'gen-0001' } as const),
        failed: fc.nat(9),
        lastAtMs: instant,
      }),
      longestOfflineMs: span,
      refusedGenerations: fc.subarray(['gen-0001', 'gen-0002', 'gen-0003']),
    },
    { requiredKeys: [] },
  )
  .map((some) => ({ ...emptyMemory, ...some }))

export const anyPolicy: fc.Arbitrary<AuthPolicy> = fc.record({
  born: fc.constantFrom('sas', 'x509'),
  x509Enabled: fc.boolean(),
  downgradeAllowed: fc.boolean(),
  movesPerDay: fc.integer({ min: 1, max: 4 }),
  soakMs: span,
  renewal: fc.record({
    enabled: fc.boolean(),
    fraction: fc.constant(0.7),
    spread: fc.constantFrom(0, 0.1),
    floorMs: fc.constant(HOUR),
  }),
  fallback: fc.record({
    enabled: fc.boolean(),
    untilMs: fc.option(instant, { nil: undefined }),
    refusals: fc.integer({ min: 2, max: 5 }),
    holdOffMs: fc.integer({ min: 0, max: HOUR }),
    perDay: fc.integer({ min: 1, max: 3 }),
    returnAfterMs: fc.integer({ min: 5_000, max: DAY }),
    retireAfterMs: fc.option(span, { nil: undefined }),
  }),
})

export const anyInventory: fc.Arbitrary<Inventory> = fc.record({
  certificates: fc
    .subarray([1, 2, 3])
    .chain((numbers) =>
      fc.tuple(
        ...numbers.map((number) =>
          fc.record({ ref: fc.constant(gen(number)), notBeforeMs: instant, notAfterMs: instant }),
        ),
      ),
    ),
  sas: fc.constantFrom('ready' as const, 'absent' as const, new Failure('SAS_SECRET_EXPOSED', 'sas.key is 0644')),
})

export const anyFacts: fc.Arbitrary<PolicyFacts> = fc.record({
  nowMs: instant,
  clock: anyClock,
  active: fc.option(anyRef, { nil: undefined }),
  inventory: anyInventory,
  memory: anyMemory,
  policy: anyPolicy,
})

/** Facts near to a fallback: each of its conditions holds by itself more often than not. */
export const nearFallback: fc.Arbitrary<PolicyFacts> = anyFacts.chain((facts) =>
  fc
    .record({ usual: fc.array(fc.boolean(), { minLength: 7, maxLength: 7 }), overMs: span })
    .map(({ usual: [on, active, refused, free, sasReady, ahead, clock], overMs }) => {
      const { memory, policy, nowMs } = facts
      const { retirement: _kept, moves: _moves, fallbacks: _fallbacks, ...rest } = memory
      const refusals = {
        of: gen(1),
        count: 5,
        firstAtMs: nowMs - overMs,
        lastAtMs: nowMs,
        code: 'DPS_DISABLED',
      } as const
      const fallback = {
        ...policy.fallback,
        ...(on && { enabled: true }),
        ...(ahead && { untilMs: nowMs + 1 }),
      }
      return {
        ...facts,
        ...(active && { active: gen(1) }),
        ...(clock && { clock: 'trusted' as const }),
        inventory: { certificates: [], sas: sasReady ? ('ready' as const) : facts.inventory.sas },
        memory: { ...(free ? { ...rest, moves: [], fallbacks: [] } : memory), ...(refused && { refusals }) },
        policy: { ...policy, fallback },
      }
    }),
)
