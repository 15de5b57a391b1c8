import { Failure } from '../failure.ts'
import type { Clock } from '../system/clock.ts'
import type { Log } from '../system/log.ts'
import { createEvidence } from './evidence.ts'
import type { Movement, Sight } from './evidence.ts'
import type { GoodTime } from './floor.ts'
import type { Measurement } from './measure.ts'
import { afterMeasurement, afterMovement, afterSuspicion, dueMs, firstPlan } from './measure-plan.ts'
import { createNap, noLongerThan } from './nap.ts'
import type { Synchronisation } from './synchronised.ts'
import { judgeClock } from './trust.ts'
import type { ClockVerdict } from './trust.ts'

/** What is known of the clock now. */
export interface ClockState extends ClockVerdict {
  /** The time of a server minus ours, while it was measured within a day. */
  readonly skewMs?: number
}

export type OnClockChange = (now: ClockState, before: ClockState) => void

/** Watches the clock of the device, and says how far it may be believed. */
export interface ClockTrustWatch {
  /** The last trusted time that an earlier run has saved; undefined when there is none. */
  readonly savedMs?: number | undefined
  /** Judged anew at each call, so that a step counts from the moment in which it was made. */
  current(): ClockState
  /** Looks at least once a minute until `signal` aborts, then rejects with its reason. Nothing is asked without it. */
  run(signal: AbortSignal): Promise<never>
  /** Something was seen that a wrong clock would explain: a server is asked soon, at most once in ten minutes. */
  suspect(): void
  /** A connection with the hub has proved itself: the first time, a trusted time is saved at once. Never rejects. */
  proven(): Promise<void>
  /**
   * Waits until the clock is no longer `wrong`, but no longer than `boundMs`; 0 does not wait. Needs `run`.
   *
   * @throws signal.reason when aborted
   */
  untilPlausible(boundMs: number, signal: AbortSignal): Promise<ClockState>
  /** Calls back when the trust changes; returns what ends that. A callback must not throw. */
  onChange(callback: OnClockChange): () => void
}

export interface ClockTrustPorts {
  readonly clock: Clock
  /** Time since the start of the machine, its sleep included. */
  readonly uptimeMs: () => number
  /** Uniform in [0, 1). */
  readonly random: () => number
  readonly log: Pick<Log, 'debug' | 'info' | 'failure'>
  readonly buildMs: number
  /** The newest `notBefore` in the vault; undefined when it is empty. */
  readonly vaultMs: () => number | undefined
  readonly good: GoodTime
  readonly synchronisation: Synchronisation
  /** Asks a server for its time; undefined, or left out, while that is switched off. */
  readonly measure?: ((signal: AbortSignal) => Promise<Measurement | undefined>) | undefined
}

const TICK_MS = 60_000

/** While somebody waits for the clock: a synchronisation after boot is noticed so soon. */
const WAITING_TICK_MS = 5_000

/** Never sooner again, whatever is due. */
const LEAST_TICK_MS = 1_000

/** A tick that is longer late than this was not late by load. */
const STOOD_STILL_MS = 5_000

/** Holds evidence, judgement and plan together; what each of them is worth is decided in trust.ts and evidence.ts. */
export function createClockTrust(ports: ClockTrustPorts): ClockTrustWatch {
  const { clock, uptimeMs, random, log, good } = ports
  const savedMs = good.knownMs()
  const evidence = createEvidence(clock, uptimeMs)
  const nap = createNap(clock)
  const callbacks = new Set<OnClockChange>()
  let plan = firstPlan(uptimeMs(), random())
  let synchronised = false
  let moved = false
  let waiting = 0
  let everProven = false
  let state = stateOf(evidence.look(), ports)
  logState(state, log)

  const look = (): ClockState => {
    const sight = evidence.look()
    if (sight.movement !== undefined) follow(sight.movement)
    const before = state
    state = stateOf(sight, ports)
    if (state.trust === 'trusted') good.note(sight.wallMs)
    if (state.trust !== before.trust) {
      logState(state, log)
      for (const callback of callbacks) callback(state, before)
    }
    return state
  }
  const follow = ({ event, byMs }: Movement) => {
    log.info(event, { seconds: Math.round(byMs / 1000) })
    ports.synchronisation.forget()
    plan = afterMovement(plan, uptimeMs(), random())
    moved = true
    // Wakes nobody when this look is part of a round: then the next nap is short.
    nap.wake()
  }
  const round = async (signal: AbortSignal) => {
    look()
    moved = false
    const answer = await ports.synchronisation.ask(signal)
    evidence.takeSynchronised(answer)
    synchronised = answer === true
    look()
    if (!moved && dueInMs() <= 0) await measure(signal)
    await good.save()
  }
  // Where the system's word stands alone against a floor or a server, servers are asked as if it had said nothing.
  const dueInMs = () => dueMs(plan, synchronised && state.trust === 'trusted') - uptimeMs()
  const measure = async (signal: AbortSignal) => {
    const measured = await ports.measure?.(signal)
    plan = afterMeasurement(uptimeMs(), random())
    if (measured?.found === 'time') {
      const { skewMs, verified } = measured
      log.info('a server was asked for its time', { skewSeconds: Math.round(skewMs / 1000), verified })
      evidence.takeMeasured(skewMs, verified)
    } else if (measured !== undefined) log.debug('no server told its time', { reason: measured.reason })
    look()
  }
  const napMs = () => Math.max(LEAST_TICK_MS, Math.min(waiting > 0 ? WAITING_TICK_MS : TICK_MS, dueInMs()))
  const onChange = (callback: OnClockChange) => {
    callbacks.add(callback)
    return () => void callbacks.delete(callback)
  }

  return {
    savedMs,
    current: look,
    onChange,
    async run(signal) {
      for (;;) {
        await round(signal)
        const askedMs = napMs()
        const beganMs = clock.monotonicMs()
        await nap.take(askedMs, signal)
        const lateMs = clock.monotonicMs() - beganMs - askedMs
        if (lateMs > STOOD_STILL_MS) log.info('this process stood still', { seconds: Math.round(lateMs / 1000) })
      }
    },
    suspect() {
      if (plan.suspectMs !== undefined) return
      plan = afterSuspicion(plan, uptimeMs(), random())
      nap.wake()
    },
    async proven() {
      if (everProven || look().trust !== 'trusted') return
      everProven = true
      await good.save(true)
    },
    async untilPlausible(boundMs, signal) {
      signal.throwIfAborted()
      if (look().trust !== 'wrong' || boundMs <= 0) return state
      const believed = Promise.withResolvers<void>()
      const forget = onChange((now) => (now.trust === 'wrong' ? undefined : believed.resolve()))
      waiting += 1
      nap.wake()
      try {
        await noLongerThan(boundMs, believed.promise, clock, signal)
      } finally {
        waiting -= 1
        forget()
      }
      return look()
    },
  }
}

function stateOf({ wallMs, facts }: Sight, { buildMs, vaultMs, good }: ClockTrustPorts): ClockState {
  const floors = { buildMs, vaultMs: vaultMs(), goodMs: good.knownMs() }
  const verdict = judgeClock({ ...facts, nowMs: wallMs, floors })
  return facts.measured === undefined ? verdict : { ...verdict, skewMs: facts.measured.skewMs }
}

function logState({ trust, reason, skewMs }: ClockState, log: ClockTrustPorts['log']): void {
  const context = skewMs === undefined ? {} : { skewSeconds: Math.round(skewMs / 1000) }
  if (trust === 'wrong') log.failure(new Failure('CLOCK_UNTRUSTED', reason, { context }))
  else log.info(`the clock is ${trust}`, { reason, ...context })
}
