import type { Bounds } from './judge.ts'
import type { Scenario } from './scenarios.ts'
import type { Trouble } from './troubles.ts'
import type { CutPoint } from './world.ts'

const MINUTE_MS = 60_000

/**
 * How soon a device is at home after the last boot, with a cloud that behaves from then on, and with how many
 * registrations and connections:
 *
 * - at once, but for the minute between two registrations and the first pauses of the backoff;
 * - when a refusal may come from the half hour for which DPS remembers another credential: when that is over;
 * - when the record is lost as well, nobody knows of the registration that DPS remembers, so that the ordinary pauses
 *   after refusals (up to half an hour each) decide when DPS is asked again.
 *   So they do when a hub closes in place of a refusal: DPS is asked after ten of those.
 */
export function boundsOf({ start }: Scenario, trouble: Trouble, cuts: readonly CutPoint[]): Bounds {
  const { dpsRemembersMs = 0, closesForRefusal = false } = trouble
  const isForgotten = cuts.some(({ isTorn }) => isTorn)
  if (isForgotten && dpsRemembersMs > 0) return { homeWithinMs: 120 * MINUTE_MS, attempts: 40 }
  if (isForgotten && closesForRefusal) return { homeWithinMs: 30 * MINUTE_MS, attempts: 25 }
  const mayBeMemory = dpsRemembersMs > 0 || start.cloud.revoked.length > 0
  return mayBeMemory ? { homeWithinMs: 40 * MINUTE_MS, attempts: 15 } : { homeWithinMs: 5 * MINUTE_MS, attempts: 10 }
}
