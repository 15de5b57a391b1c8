import { asFailure, Failure } from '../failure.ts'
import { backoffMs } from '../system/backoff.ts'
import type { Clock } from '../system/clock.ts'
import { applyDesiredPatch } from './twin-document.ts'
import type { Twin, TwinDocument } from './twin-document.ts'

export interface DesiredOptions {
  /** Reads the whole twin from the hub. */
  readonly read: () => Promise<Twin>
  readonly clock: Clock
  readonly random: () => number
  /** The whole desired part, after every change that follows the first read. */
  readonly onDesired: (desired: TwinDocument) => void
  /** Told when reading again has failed; the next attempt follows by itself. */
  readonly onTrouble: (failure: Failure) => void
}

/** Our own copy of the desired part, kept current by pushes and, after a missed one, by reading again. */
export interface DesiredCopy {
  /** Reads the twin; pushes that came in the meantime count. */
  load(): Promise<Twin>
  /** Takes a push; undefined is one that could not be understood. */
  take(patch: TwinDocument | undefined): void
}

/** Schedule of reading again after a gap. The hub allows 100 twin reads a second to all its devices. */
const READ_AGAIN = { baseMs: 1_000, capMs: 60_000 }

/** @param signal ends reading again; aborted when the connection is over */
export function createDesiredCopy(options: DesiredOptions, signal: AbortSignal): DesiredCopy {
  let held: TwinDocument | undefined
  /** The newest push since the last reading began: it may be missing in the answer. */
  let newestSinceAsked = 0
  let readingAgain = false

  /** What the hub answers is the truth, unless a push came meanwhile: then only the next answer is. */
  const read = async () => {
    newestSinceAsked = 0
    const twin = await options.read()
    const overtaken = newestSinceAsked > twin.desired.$version
    const news = twin.desired.$version !== held?.$version
    if (!overtaken || held === undefined) held = twin.desired
    return { twin, overtaken, news }
  }

  const readAgain = () => {
    if (readingAgain) return
    readingAgain = true
    untilRead()
      .finally(() => (readingAgain = false))
      .catch((error: unknown) => {
        if (!signal.aborted) options.onTrouble(asFailure(error))
      })
  }

  const untilRead = async () => {
    for (let attempt = 0; ; attempt += 1) {
      await options.clock.wait(backoffMs(attempt, READ_AGAIN, options.random), signal)
      const outcome = await read().catch(asFailure)
      signal.throwIfAborted()
      if (outcome instanceof Failure) options.onTrouble(outcome)
      else if (!outcome.overtaken) return outcome.news ? options.onDesired(outcome.twin.desired) : undefined
    }
  }

  return {
    async load() {
      const { twin, overtaken } = await read()
      if (overtaken) readAgain()
      return twin
    },
    take(patch) {
      if (patch === undefined) return readAgain()
      newestSinceAsked = Math.max(newestSinceAsked, patch.$version)
      if (held === undefined) return
      const outcome = applyDesiredPatch(held, patch)
      if (outcome.patched === 'gap') return readAgain()
      if (outcome.patched === 'stale') return
      held = outcome.desired
      options.onDesired(held)
    },
  }
}
