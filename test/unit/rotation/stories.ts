import * as fc from 'fast-check'
import type { AuthPolicy } from '../../../agent/credential/policy.ts'
import type { Setting } from './device.ts'
import { START_MS, worldOf } from './scenarios.ts'
import type { Deed } from './story.ts'
import { troubles } from './troubles.ts'
import type { World } from './world.ts'

/** A device, its owner's policy, and what befalls it. */
export interface Story {
  readonly start: World
  readonly setting: Setting
  readonly deeds: readonly Deed[]
}

const SECOND_MS = 1_000
const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS

const wishes = fc.record(
  {
    mode: fc.constantFrom('sas' as const, 'x509' as const),
    renew: fc.constantFrom('spring', 'summer', 'autumn'),
    sasRetired: fc.constant(true),
  },
  { requiredKeys: [] },
)

const clockSteps = [
  -400 * DAY_MS,
  -3 * DAY_MS,
  -2 * HOUR_MS,
  -10 * MINUTE_MS,
  0,
  0,
  10 * MINUTE_MS,
  2 * DAY_MS,
  400 * DAY_MS,
]

const deed: fc.Arbitrary<Deed> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ deed: fc.constant('wish' as const), wishes }) },
  {
    weight: 3,
    arbitrary: fc.record({
      deed: fc.constant('order' as const),
      order: fc.constantFrom('sas' as const, 'x509' as const, 'renew' as const, 'reprovision' as const),
    }),
  },
  {
    weight: 10,
    arbitrary: fc.record({
      deed: fc.constant('pass' as const),
      ms: fc.constantFrom(200, 500, SECOND_MS, 20 * SECOND_MS, 2 * MINUTE_MS, 20 * MINUTE_MS, HOUR_MS),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ deed: 'pass' as const, ms: 8 * HOUR_MS }) },
  {
    weight: 6,
    arbitrary: fc.record({
      deed: fc.constant('cut' as const),
      at: fc.integer({ min: 0, max: 100 }),
      torn: fc.oneof({ weight: 9, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
    }),
  },
  { weight: 2, arbitrary: fc.constant({ deed: 'disconnect' as const }) },
  {
    weight: 4,
    arbitrary: fc.record({
      deed: fc.constant('trouble' as const),
      trouble: fc.constantFrom(...troubles),
      about: fc.constantFrom('sas' as const, 'next' as const, 'active' as const),
    }),
  },
  { weight: 3, arbitrary: fc.constant({ deed: 'calm' as const }) },
  { weight: 3, arbitrary: fc.record({ deed: fc.constant('revoke' as const), lane: fc.constantFrom('sas', 'x509') }) },
  { weight: 1, arbitrary: fc.constant({ deed: 'forget' as const }) },
  {
    weight: 3,
    arbitrary: fc.record({
      deed: fc.constant('setClock' as const),
      aheadMs: fc.constantFrom(...clockSteps),
      knows: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ deed: 'fillDisk' as const }) },
  { weight: 1, arbitrary: fc.constant({ deed: 'freeDisk' as const }) },
)

const policy: fc.Arbitrary<AuthPolicy> = fc.record({
  born: fc.constantFrom('sas', 'x509'),
  x509Enabled: fc.constant(true),
  downgradeAllowed: fc.boolean(),
  movesPerDay: fc.integer({ min: 1, max: 12 }),
  soakMs: fc.constantFrom(MINUTE_MS, HOUR_MS),
  // A certificate of a story lasts for days: early points and late ones come within it.
  renewal: fc.record({
    enabled: fc.boolean(),
    fraction: fc.constantFrom(0.35, 0.7),
    spread: fc.constantFrom(0, 0.1),
    floorMs: fc.constantFrom(MINUTE_MS, HOUR_MS),
  }),
  fallback: fc.record({
    enabled: fc.constantFrom(true, true, false),
    untilMs: fc.constantFrom(undefined, START_MS + 2 * HOUR_MS, START_MS + 365 * DAY_MS),
    refusals: fc.integer({ min: 1, max: 4 }),
    holdOffMs: fc.constantFrom(0, 5 * MINUTE_MS),
    perDay: fc.integer({ min: 0, max: 3 }),
    returnAfterMs: fc.constantFrom(10 * MINUTE_MS, HOUR_MS),
    retireAfterMs: fc.constantFrom(undefined, HOUR_MS),
  }),
})

const start: fc.Arbitrary<World> = fc
  .record({
    active: fc.constantFrom('sas', 'gen-0001', 'gen-0002'),
    hasSas: fc.boolean(),
    hasRecord: fc.boolean(),
    cutsAtFlip: fc.boolean(),
    remembersMs: fc.constantFrom(0, 0, 30 * MINUTE_MS),
  })
  .map(({ active, hasSas, hasRecord, cutsAtFlip, remembersMs }) =>
    worldOf({
      active,
      certificates: active === 'sas' ? [] : ['gen-0002', 'gen-0001'],
      hasSas: hasSas || active === 'sas',
      hasRecord: hasRecord || active === 'gen-0001',
      cutsAtFlip,
      remembersMs,
      candidate: '',
    }),
  )

const limits = { registerMs: 10 * MINUTE_MS, proveMs: 5 * MINUTE_MS }

/** Any story of a device that has a credential which works. */
export const stories: fc.Arbitrary<Story> = fc
  .record({
    start,
    policy,
    certificateAfterMs: fc.constantFrom(0, 30 * SECOND_MS, HOUR_MS, Number.POSITIVE_INFINITY),
    seed: fc.integer({ min: 1, max: 1_000 }),
    deeds: fc.array(deed, { minLength: 1, maxLength: 30, size: 'max' }),
  })
  .map(({ start, policy, deeds, ...others }) => {
    // Without a record, the device uses what it was born with.
    const born: AuthPolicy['born'] = start.cloud.identity === 'sas' ? 'sas' : 'x509'
    const setting = { ...others, limits, policy: start.disk.record === undefined ? { ...policy, born } : policy }
    return { start, setting, deeds } as const
  })
