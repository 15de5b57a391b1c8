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
  /** Pushes before the first read cannot be applied; the newest tells whether that read already contains them. */
  let newestSeen = 0
  let readingAgain = false

  const load = async () => {
    const twin = await options.read()
    held = twin.desired
    if (newestSeen > twin.desired.$version) readAgain()
    return twin
  }

  const readAgain = () => {
    if (readingAgain) return
    readingAgain = true
    untilRead()
      .finally(() => (readingAgain = false))
      .catch(unlessOver)
  }

  const unlessOver = (error: unknown) => {
    if (!signal.aborted) throw error
  }

  const untilRead = async () => {
    for (let attempt = 0; !signal.aborted; attempt += 1) {
      await options.clock.wait(backoffMs(attempt, READ_AGAIN, options.random), signal)
      const before = held
      const twin = await options.read().catch(tryAgain)
      if (twin === undefined || twin.desired.$version < newestSeen) continue
      if (twin.desired.$version === before?.$version) return
      held = twin.desired
      options.onDesired(held)
      return
    }
  }

  return {
    load,
    take(patch) {
      if (patch === undefined) return readAgain()
      newestSeen = Math.max(newestSeen, patch.$version)
      if (held === undefined) return
      const outcome = applyDesiredPatch(held, patch)
      if (outcome.patched === 'gap') return readAgain()
      if (outcome.patched === 'stale') return
      held = outcome.desired
      options.onDesired(held)
    },
  }
}

/** A failed reading is followed by the next one, or ends with the connection. */
function tryAgain(): undefined {
  return undefined
}
