/** Does to the cable what the plan says. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Cable } from '../../test/kit/cable.ts'
import { planFlaps } from './plan.ts'
import type { Flap } from './plan.ts'

/** A link that died without a sign is noticed within twice the keep-alive, and the agent may wait before it comes back. */
const NOTICED_MS = 2 * 30_000 + 10_000

/**
 * Begins once the device has connected.
 *
 * @param connects how often it has
 * @returns how many flaps there were, by kind
 */
export async function flapUntil(
  over: AbortSignal,
  cable: Cable,
  random: () => number,
  connects: () => number,
): Promise<Readonly<Record<string, number>>> {
  const counts: Record<string, number> = {}
  await until(() => connects() > 0, NOTICED_MS, over)
  for (const flap of planFlaps(random)) {
    await pause(flap.afterMs, over)
    if (over.aborted) break
    counts[flap.kind] = (counts[flap.kind] ?? 0) + 1
    await disturb(flap, cable, connects, over)
  }
  return counts
}

async function disturb(
  { kind, lastsMs }: Flap,
  cable: Cable,
  connects: () => number,
  over: AbortSignal,
): Promise<void> {
  switch (kind) {
    case 'cut':
      return cable.cut()
    case 'halfOpen':
      cable.become('dead')
      await pause(lastsMs, over)
      cable.cut()
      return cable.become('good')
    case 'unnoticed': {
      const before = connects()
      cable.become('dead')
      await pause(1_000, over)
      cable.become('good')
      return until(() => connects() > before, NOTICED_MS, over)
    }
    case 'refused':
      cable.become('pulled')
      await pause(lastsMs, over)
      return cable.become('good')
    case 'away':
      await cable.unplug()
      await pause(lastsMs, over)
      return await cable.plugIn()
    case 'calm':
      return pause(lastsMs, over)
  }
}

async function until(fits: () => boolean, withinMs: number, over: AbortSignal): Promise<void> {
  const endMs = performance.now() + withinMs
  while (!fits() && performance.now() < endMs && !over.aborted) await pause(200, over)
}

/** Ends early when the run does. */
export async function pause(delayMs: number, over: AbortSignal): Promise<void> {
  await sleep(delayMs, undefined, { signal: over }).catch((cause: unknown) => {
    if (!over.aborted) throw cause
  })
}
