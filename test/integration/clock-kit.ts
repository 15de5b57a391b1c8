/** Devices whose clock is not that of their cloud, and what may put it right. */
import type { World } from '../../agent/agent.ts'
import type { Clock } from '../../agent/system/clock.ts'
import { builtAtMs } from '../../agent/time/build-time.ts'
import { openGoodTime } from '../../agent/time/floor.ts'
import { measureSkew } from '../../agent/time/measure.ts'
import { createClockTrust } from '../../agent/time/watch.ts'
import { parseAddress } from '../../agent/wire/address.ts'
import type { Lapse } from '../kit/lapse.ts'

/** The clock of one device: it runs as the cloud's does, and may be set. */
export interface DeviceClock extends Clock {
  /** Sets it so far ahead of the cloud's; behind when negative. */
  set(aheadMs: number): void
  /** What the system says of it: whether something keeps it right. */
  synchronised: boolean | undefined
}

export function clockBeside(time: Lapse, aheadMs = 0): DeviceClock {
  let ahead = aheadMs
  return {
    synchronised: undefined,
    now: () => time.now() + ahead,
    monotonicMs: () => time.monotonicMs(),
    wait: (delayMs, signal) => time.wait(delayMs, signal),
    set(next) {
      ahead = next
    },
  }
}

/**
 * The agent's own watch over a clock of the test: its uptime is that of the simulated time, the system's word is that of the
 * test, and the server that is asked for its time is the one that the configuration names.
 */
export function watchOf(clock: DeviceClock): NonNullable<World['watchClock']> {
  return async ({ config, random, log, facts }, ca) => {
    const { skewSource } = config.clock
    const server = skewSource === 'off' ? undefined : parseAddress(skewSource)
    return createClockTrust({
      ...{ clock, random, log, buildMs: builtAtMs, uptimeMs: () => clock.monotonicMs() },
      vaultMs() {
        const held = facts.rotation?.inventory().certificates ?? []
        return held.length === 0 ? undefined : Math.max(...held.map(({ notBeforeMs }) => notBeforeMs))
      },
      good: await openGoodTime({ path: config.paths.clockFile, clock, buildMs: builtAtMs, log }),
      synchronisation: { ask: () => Promise.resolve(clock.synchronised), forget: () => undefined },
      ...(server && { measure: (signal: AbortSignal) => measureSkew({ ...server, ca }, clock, signal) }),
    })
  }
}

/** What a device that lives by this clock is booted with. */
export function worldOf(clock: DeviceClock): Partial<World> {
  return { clock, watchClock: watchOf(clock) }
}

/** How far ahead of the cloud's clock one is that stands at this instant. */
export function standingAt(time: Lapse, instant: string): number {
  return Date.parse(instant) - time.now()
}
