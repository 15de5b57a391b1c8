import { asFailure, Failure } from '../failure.ts'
import type { Clock } from '../system/clock.ts'
import { readIfThere, setAside, writeDurably } from '../system/files.ts'
import { isObject, parseJson } from '../system/json.ts'
import type { Log } from '../system/log.ts'
import { FLOOR_IN_DOUBT_MS, latestBelievableMs } from './trust.ts'

/** The last time that was trusted, over restarts and power cuts. */
export interface GoodTime {
  /** Undefined as long as no time was ever trusted. */
  knownMs(): number | undefined
  /**
   * Takes the present time, which is trusted. Raises what is known, and lowers it only when it lies more than a day ahead:
   * then it was wrong itself. On disk with the next `save`.
   */
  note(trustedMs: number): void
  /**
   * Writes what is known if it is an hour newer than what is on disk, or lower; `now` leaves out the hour. A failure is
   * told once and tried again an hour later. Never rejects.
   */
  save(now?: boolean): Promise<void>
}

export interface GoodTimeOptions {
  /** The file `clock` in the state folder. */
  readonly path: string
  readonly clock: Clock
  readonly buildMs: number
  readonly log: Pick<Log, 'warn' | 'failure'>
}

const SAVE_AFTER_MS = 3_600_000

/**
 * Reads the saved time. Never throws: what cannot be used is set aside and told, and without it the clock is judged by
 * the other floors alone.
 */
export async function openGoodTime(options: GoodTimeOptions): Promise<GoodTime> {
  const { path, clock, log } = options
  let savedMs = await readGoodTime(options)
  let knownMs = savedMs
  let notBeforeMs = Number.NEGATIVE_INFINITY
  let failing = false
  let writes: Promise<void> = Promise.resolve()

  const isDue = (now: boolean) => {
    if (knownMs === undefined || knownMs === savedMs || clock.monotonicMs() < notBeforeMs) return false
    return now || savedMs === undefined || knownMs < savedMs || knownMs - savedMs >= SAVE_AFTER_MS
  }
  const writeIfDue = async (now: boolean) => {
    const goodMs = knownMs
    if (!isDue(now)) return
    try {
      await writeDurably(path, `${JSON.stringify({ version: 1, goodMs })}\n`)
      savedMs = goodMs
      failing = false
    } catch (error) {
      notBeforeMs = clock.monotonicMs() + SAVE_AFTER_MS
      if (!failing) log.failure(asFailure(error), { event: 'the time was not saved' })
      failing = true
    }
  }

  return {
    knownMs: () => knownMs,
    note(trustedMs) {
      const goodMs = Math.floor(trustedMs)
      if (knownMs === undefined || goodMs > knownMs) knownMs = goodMs
      if (knownMs - goodMs <= FLOOR_IN_DOUBT_MS) return
      log.warn('a saved time was wrong and is corrected', { saved: iso(knownMs), now: iso(goodMs) })
      knownMs = goodMs
    },
    save(now = false) {
      writes = writes.then(() => writeIfDue(now))
      return writes
    },
  }
}

async function readGoodTime({ path, clock, buildMs, log }: GoodTimeOptions): Promise<number | undefined> {
  try {
    const text = await readIfThere(path)
    if (text === undefined) return undefined
    const goodMs = parseGoodTime(text, latestBelievableMs(buildMs))
    if (goodMs !== undefined) return goodMs
    // Where it cannot be moved, it stays: the next save replaces it.
    const movedTo = await setAside(path, clock.now()).catch(() => 'still in place')
    log.failure(new Failure('STATE_TORN', `${path}: not a time of version 1; it is now ${movedTo}`))
  } catch (error) {
    log.failure(asFailure(error), { event: 'the saved time cannot be read' })
  }
  return undefined
}

/** The time in a file's text, or undefined when it is torn, of another version, or too late to have been trusted. */
export function parseGoodTime(text: string, latestMs: number): number | undefined {
  const value = parseJson(text)
  if (!isObject(value) || value['version'] !== 1) return undefined
  const { goodMs } = value
  return typeof goodMs === 'number' && Number.isSafeInteger(goodMs) && goodMs >= 0 && goodMs <= latestMs
    ? goodMs
    : undefined
}

function iso(ms: number): string {
  return new Date(ms).toISOString()
}
