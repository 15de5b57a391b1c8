/** A fleet that was certified in one hour, and when its devices renew: computed by the rule that they follow. */
import { createHash } from 'node:crypto'
import { planRenewal, shareOf } from '../../agent/credential/renewal.ts'
import type { RenewalPolicy } from '../../agent/credential/renewal.ts'

export interface FleetPlan {
  readonly devices: number
  readonly lifetimeDays: number
  readonly generations: number
  readonly policy: RenewalPolicy
  /** While it lasts nobody is given a certificate; in days from the first certificate on. */
  readonly outage?: { readonly fromDay: number; readonly toDay: number }
}

/** When each device renewed, in milliseconds from the first certificate on, generation by generation. */
export type Waves = readonly (readonly number[])[]

export const HOUR_MS = 3_600_000
export const DAY_MS = 24 * HOUR_MS

/** Whoever waits for an issuer that is away asks again within this; docs/configuration.md, issuer. */
const ASKS_AGAIN_MS = 900_000

export function simulateFleet(plan: FleetPlan): Waves {
  let issuedAtMs = Array.from({ length: plan.devices }, (_, device) => shareOfText(`hour ${device}`) * HOUR_MS)
  return Array.from({ length: plan.generations }, (_, generation) => {
    issuedAtMs = issuedAtMs.map((atMs, device) => {
      const share = shareOfText(`device ${device}, generation ${generation}`)
      const certificate = { notBeforeMs: atMs, notAfterMs: atMs + plan.lifetimeDays * DAY_MS, share }
      return afterOutage(planRenewal(certificate, undefined, 0, plan.policy, atMs).renewAtMs, share, plan)
    })
    return issuedAtMs
  })
}

/** The most renewals in any stretch of so long. */
export function busiest(times: readonly number[], stretchMs: number): number {
  const counts = new Map<number, number>()
  for (const atMs of times) {
    const stretch = Math.floor(atMs / stretchMs)
    counts.set(stretch, (counts.get(stretch) ?? 0) + 1)
  }
  return Math.max(0, ...counts.values())
}

/** Like a thumbprint: uniform, and the same at each run. */
function shareOfText(text: string): number {
  return shareOf(createHash('sha256').update(text).digest('hex'))
}

function afterOutage(atMs: number, share: number, { outage }: FleetPlan): number {
  if (outage === undefined || atMs < outage.fromDay * DAY_MS || atMs >= outage.toDay * DAY_MS) return atMs
  return outage.toDay * DAY_MS + share * ASKS_AGAIN_MS
}
