/** A machine in memory whose clock can be wrong: wall clock, uptime, the kernel's flag, a server, a file that survives restarts. */
import type { Clock } from '../../../agent/system/clock.ts'
import type { GoodTime } from '../../../agent/time/floor.ts'
import type { Measurement } from '../../../agent/time/measure.ts'
import { FLOOR_IN_DOUBT_MS } from '../../../agent/time/trust.ts'
import { createClockTrust } from '../../../agent/time/watch.ts'
import type { ClockTrustWatch } from '../../../agent/time/watch.ts'
import { createFakeClock } from '../../kit/clock.ts'
import type { FakeClock } from '../../kit/clock.ts'
import { createTestLog } from './kit.ts'
import type { TestLog } from './kit.ts'

export interface MachineOptions {
  /** What the wall clock says at boot. */
  readonly wallMs: number
  readonly buildMs: number
  readonly savedMs?: number
  readonly vaultMs?: number
  /** What the system says of its clock at boot. */
  readonly synchronised?: boolean
  /** What `random` gives; the middle when left out. */
  readonly chance?: number
}

export interface Machine {
  readonly clock: FakeClock
  readonly log: TestLog
  readonly watch: ClockTrustWatch
  /** Time since boot, sleep included: what nobody can set. */
  uptimeMs(): number
  /** How often the system's word was declared void. */
  forgets(): number
  /** What is on disk. */
  savedMs(): number | undefined
  /** Uptime at which servers were asked, in milliseconds. */
  readonly measuredAt: readonly number[]
  /** Sets the wall clock, as `date -s` does: the kernel no longer calls it synchronised. */
  set(byMs: number): void
  /** What NTP does: sets the clock if need be, and vouches for it. */
  synchronise(byMs?: number): void
  /** What the system says of its clock. */
  say(answer: boolean | undefined): void
  /** Sleeps: wall clock and uptime go on, monotonic time does not. */
  sleep(ms: number): void
  /** All clocks go on while this process does not. */
  freeze(ms: number): void
  /** Uptime alone jumps, as in a container whose /proc is exchanged. */
  jumpUptime(ms: number): void
  /** What a server will say; undefined when none can be reached. */
  serve(answer: ((wallMs: number) => Measurement) | undefined): void
  /** Starts `run`; stops with the signal. */
  start(signal: AbortSignal): Promise<void>
}

export const MINUTE = 60_000
export const HOUR = 60 * MINUTE
export const DAY = 24 * HOUR

export function bootMachine(options: MachineOptions): Machine {
  const clock = createFakeClock(options.wallMs)
  const log = createTestLog()
  const measuredAt: number[] = []
  const { good, savedMs } = keepInMemory(options.savedMs)
  let answer = options.synchronised
  let sleptMs = 0
  let frozenMs = 0
  let forgets = 0
  let server: ((wallMs: number) => Measurement) | undefined
  const seen: Clock = { ...clock, monotonicMs: () => clock.monotonicMs() + frozenMs }
  const uptimeMs = () => seen.monotonicMs() + sleptMs
  const watch = createClockTrust({
    ...{ clock: seen, uptimeMs, log, good, buildMs: options.buildMs },
    random: () => options.chance ?? 0.5,
    vaultMs: () => options.vaultMs,
    synchronisation: {
      ask: () => Promise.resolve(answer),
      forget() {
        forgets += 1
      },
    },
    measure() {
      measuredAt.push(uptimeMs())
      return Promise.resolve(server?.(clock.now()) ?? { found: 'nothing', reason: 'no network' })
    },
  })
  return {
    ...{ clock, log, watch, uptimeMs, savedMs, measuredAt, forgets: () => forgets },
    set(byMs) {
      clock.stepWall(byMs)
      if (byMs !== 0) answer = answer === undefined ? undefined : false
    },
    synchronise(byMs = 0) {
      clock.stepWall(byMs)
      answer = true
    },
    say(said) {
      answer = said
    },
    sleep(ms) {
      clock.stepWall(ms)
      sleptMs += ms
    },
    freeze(ms) {
      clock.stepWall(ms)
      frozenMs += ms
    },
    jumpUptime(ms) {
      sleptMs += ms
    },
    serve(said) {
      server = said
    },
    async start(signal) {
      watch.run(signal).catch((reason: unknown) => {
        if (!signal.aborted) throw reason
      })
      await clock.advance(0)
    },
  }
}

/** A server whose time is `aheadMs` ahead of the fake wall clock as it stands at the time of asking. */
export function tellingSkew(skewMs: number, verified = true): () => Measurement {
  return () => ({ found: 'time', skewMs, verified })
}

/** The port over a variable: the rules of floor.ts without its file. */
function keepInMemory(initialMs: number | undefined): { good: GoodTime; savedMs: () => number | undefined } {
  let savedMs = initialMs
  let knownMs = initialMs
  return {
    savedMs: () => savedMs,
    good: {
      knownMs: () => knownMs,
      note(trustedMs) {
        if (knownMs === undefined || trustedMs > knownMs || knownMs - trustedMs > FLOOR_IN_DOUBT_MS) knownMs = trustedMs
      },
      save() {
        savedMs = knownMs
        return Promise.resolve()
      },
    },
  }
}
