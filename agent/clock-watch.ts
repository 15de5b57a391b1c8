import type { Attendance } from './connected.ts'
import { parseAddress } from './wire/address.ts'
import { builtAtMs } from './time/build-time.ts'
import { openGoodTime } from './time/floor.ts'
import { measureSkew } from './time/measure.ts'
import { createSynchronisation } from './time/synchronised.ts'
import { systemUptimeMs } from './time/uptime.ts'
import { createClockTrust } from './time/watch.ts'
import type { ClockTrustWatch } from './time/watch.ts'

/** Joins the watch over the clock to this machine, its vault and the server that is asked for its time. */
export async function openClockWatch(
  { config, clock, random, log, facts }: Pick<Attendance, 'config' | 'clock' | 'random' | 'log' | 'facts'>,
  ca: string | undefined,
): Promise<ClockTrustWatch> {
  return createClockTrust({
    ...{ clock, random, log, uptimeMs: systemUptimeMs, buildMs: builtAtMs },
    vaultMs() {
      const certificates = facts.rotation?.inventory().certificates ?? []
      return certificates.length === 0 ? undefined : Math.max(...certificates.map(({ notBeforeMs }) => notBeforeMs))
    },
    good: await openGoodTime({ path: config.paths.clockFile, clock, buildMs: builtAtMs, log }),
    synchronisation: createSynchronisation({ clock }),
    async measure(signal) {
      const { skewSource } = config.clock
      const server = skewSource === 'off' ? undefined : parseAddress(skewSource)
      return server && measureSkew({ ...server, ca }, clock, signal)
    },
  })
}
