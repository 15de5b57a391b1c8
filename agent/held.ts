import type { ReloadAnswer } from './control/reload.ts'
import { openControl } from './control/server.ts'
import type { Failure } from './failure.ts'
import type { Clock } from './system/clock.ts'
import { onHangUp } from './system/hang-up.ts'
import type { Log } from './system/log.ts'
import type { Notify } from './system/notify.ts'
import { createBell } from './telemetry/bell.ts'
import type { Bell } from './telemetry/bell.ts'

/** What a process that waits needs to be seen. */
export interface HeldWorld {
  readonly clock: Clock
  readonly log: Log
  readonly notify: Notify
  /** Where commands ask; the agent has it later. */
  readonly socket: string
}

/** What a look gave: what was waited for, or what stands in the way. */
export type Outcome<T> = { readonly value: T } | { readonly failure: Failure }

/** Time between two looks at what is missing, in milliseconds. */
const LOOK_EVERY_MS = 5_000

/** A look that takes longer than this is stuck, in milliseconds: the watchdog is fed no more. */
const STUCK_AFTER_MS = 60_000

/** What a reload is answered with when it has ended the waiting. */
const begins: ReloadAnswer = { taken: [], overruled: [], pending: [], begins: true }

/**
 * Waits until `attempt` gives something else than a failure, and shows meanwhile what it waits for: to systemd, to the
 * log, and to whoever asks on the control socket. It looks again every few seconds, and at once on SIGHUP or a reload,
 * which is answered with what that look has found.
 *
 * @throws Failure AGENT_ALREADY_RUNNING, CONTROL_UNAVAILABLE, and what `attempt` throws
 * @throws signal.reason when aborted
 */
export async function held<T>(attempt: () => Promise<Outcome<T>>, world: HeldWorld, signal: AbortSignal): Promise<T> {
  const first = await attempt()
  return 'failure' in first ? waitVisibly(first.failure, attempt, world, signal) : first.value
}

async function waitVisibly<T>(
  first: Failure,
  attempt: () => Promise<Outcome<T>>,
  { clock, log, notify, socket }: HeldWorld,
  signal: AbortSignal,
): Promise<T> {
  const news = createBell()
  let failure = first
  let next = Promise.withResolvers<Failure | undefined>()
  let lookedAtMs = clock.monotonicMs()
  using _hangUps = onHangUp(() => news.ring())
  await using _control = await openControl({
    path: socket,
    clock,
    onFailure: (trouble) => log.failure(trouble, { event: 'control socket' }),
    async answer({ ask }) {
      if (ask !== 'reload') throw failure
      const found = next.promise
      news.ring()
      const still = await found
      if (still !== undefined) throw still
      return begins
    },
  })
  await using parts = new AsyncDisposableStack()
  const over = new AbortController()
  const either = AbortSignal.any([signal, over.signal])
  const feeding = notify.feedWatchdog(() => clock.monotonicMs() - lookedAtMs < STUCK_AFTER_MS, either)
  parts.defer(async () => {
    over.abort()
    await feeding
  })
  log.failure(failure)
  await notify.ready(firstLine(failure))
  for (let rings = 0; ;) {
    // Who asked while the last look was under way is owed one that begins after that.
    if (news.rings() === rings) await untilNextLook({ clock, news }, signal)
    rings = news.rings()
    const asked = next
    next = Promise.withResolvers()
    const outcome = await attempt()
    lookedAtMs = clock.monotonicMs()
    if ('value' in outcome) {
      log.info('what was missing is there', { code: failure.code })
      asked.resolve(undefined)
      return outcome.value
    }
    const isNews = outcome.failure.message !== failure.message
    failure = outcome.failure
    asked.resolve(failure)
    if (!isNews) continue
    log.failure(failure)
    await notify.status(firstLine(failure))
  }
}

/** @throws signal.reason when aborted */
async function untilNextLook(
  { clock, news }: { readonly clock: Clock; readonly news: Bell },
  signal: AbortSignal,
): Promise<void> {
  const done = new AbortController()
  const either = AbortSignal.any([signal, done.signal])
  const ways = [clock.wait(LOOK_EVERY_MS, either), news.next(either)]
  try {
    await Promise.race(ways)
  } finally {
    done.abort()
    await Promise.allSettled(ways)
  }
}

/** Status texts of systemd have one line. */
function firstLine({ message }: Failure): string {
  return message.split('\n', 1)[0] ?? ''
}
