import { freeAtMs, moveFreeAtMs } from './budget.ts'
import { lastDay } from './memory.ts'
import { refusedEnough, stay, waitUntil } from './own-move.ts'
import type { Fallback } from './own-move.ts'
import type { PolicyFacts } from './policy.ts'
import { rescuerOf } from './rescue.ts'

export type { Fallback } from './own-move.ts'
export { judgeRescue } from './rescue.ts'
export { judgeReturn, withFallenBack, withReturned, withReturnFailed } from './return.ts'

/**
 * From the beginning of one fallback to that of the next, in milliseconds. It is longer than DPS answers from its memory of
 * another credential (about 30 minutes), so that an X.509 lane that works by turns does not flip the identity each time:
 * every fallback rests on refusals that are about the present.
 */
const SPACING_MS = 60 * 60_000

/** X.509 → SAS, when the cloud refuses the certificate for good and the policy allows SAS for a while. */
export function judgeFallback(facts: PolicyFacts): Fallback {
  const { refusals, holdOffMs } = facts.policy.fallback
  const why = reasonToStay(facts)
  if (why !== undefined) return stay(why)
  const refused = refusedEnough(facts, refusals, holdOffMs)
  if ('do' in refused) return refused
  if (rescuerOf(facts) !== undefined) return stay('another certificate has its turn first')
  const freeMs = fallbackFreeAtMs(facts)
  if (freeMs !== undefined) return waitUntil(facts.nowMs, freeMs)
  const candidate = { lane: 'sas' } as const
  return { do: 'fall', move: { to: 'sas', candidate, fresh: false, cause: 'fallback', because: refused.code } }
}

/** What no count of refusals changes. */
function reasonToStay({ active, clock, inventory, memory, nowMs, policy }: PolicyFacts): string | undefined {
  const { enabled, untilMs, perDay } = policy.fallback
  if (active?.lane !== 'x509') return 'the device is not on X.509'
  if (!enabled || perDay < 1) return 'the policy has no fallback (auth.fallback.enabled)'
  if (untilMs === undefined || nowMs >= untilMs) return 'the time for fallbacks is over (auth.fallback.until)'
  if (memory.retirement !== undefined) return 'SAS is retired'
  if (inventory.sas !== 'ready') return 'there is no SAS secret that can be used'
  return clock === 'trusted' ? undefined : 'the clock is not trusted'
}

/** When the budgets and the distance to the last fallback allow another; undefined when it is now. */
function fallbackFreeAtMs(facts: PolicyFacts): number | undefined {
  const { memory, policy, nowMs } = facts
  const spacedMs = Math.max(0, ...lastDay(memory.fallbacks, nowMs)) + SPACING_MS
  const ahead = [
    spacedMs > nowMs ? spacedMs : undefined,
    freeAtMs(memory.fallbacks, policy.fallback.perDay, nowMs),
    moveFreeAtMs(facts),
  ].filter((atMs) => atMs !== undefined)
  return ahead.length === 0 ? undefined : Math.max(...ahead)
}
