/** How fast the hub seems to take messages. */
export interface Pace {
  /** Messages that may be on their way. */
  readonly window: number
  /** Messages a second; undefined when nothing speaks for a bound. */
  readonly perSecond?: number
  /** Monotonic time of the last change for the worse, and of the last one for the better. */
  readonly narrowedAtMs: number
  readonly widenedAtMs: number
}

/** An acknowledgement later than this is the hub's way to say that it is asked too much. */
const LATE_MS = 5_000

/** One earlier than this says that there is room for more. */
const PROMPT_MS = 2_000

/** A session begins with so many, until the first answers are there. */
const FIRST_WINDOW = 4

/** A bound is eased by this much a second without trouble: 100-fold in about a minute. */
const EASE_PER_SECOND = 1.08

/** Slowest and fastest bound, in messages a second; above the fastest there is none. */
const SLOWEST = 5
const FASTEST = 1_000

export function newPace(nowMs: number): Pace {
  return { window: FIRST_WINDOW, narrowedAtMs: nowMs, widenedAtMs: nowMs }
}

/** A session begins: carefully, with what was learnt in those before. */
export function begin(pace: Pace, nowMs: number): Pace {
  return { ...pace, window: Math.min(pace.window, FIRST_WINDOW), narrowedAtMs: nowMs, widenedAtMs: nowMs }
}

/**
 * The hub has acknowledged a message.
 *
 * @param tookMs from its sending to its acknowledgement
 */
export function acknowledged(pace: Pace, tookMs: number, most: number, nowMs: number): Pace {
  const eased = ease(pace, nowMs)
  if (tookMs < PROMPT_MS) return { ...eased, window: Math.min(most, pace.window + 1) }
  // Those that were on their way at that moment say the same once more.
  if (tookMs < LATE_MS || nowMs - tookMs < pace.narrowedAtMs) return eased
  return { ...eased, window: Math.max(1, Math.floor(pace.window / 2)), narrowedAtMs: nowMs }
}

/**
 * The hub closed the session, or did not answer: perhaps because of too many messages (429 looks like this over MQTT
 * 3.1.1), so the next session sends at half the rate. A session that sent next to nothing was not ended for that.
 *
 * @param reachedPerSecond messages a second that were acknowledged lately
 */
export function rejected(pace: Pace, reachedPerSecond: number, nowMs: number): Pace {
  const narrowed = { ...pace, window: 1, narrowedAtMs: nowMs, widenedAtMs: nowMs }
  const perSecond = Math.min(reachedPerSecond, pace.perSecond ?? FASTEST) / 2
  return perSecond < SLOWEST ? narrowed : { ...narrowed, perSecond }
}

function ease(pace: Pace, nowMs: number): Pace {
  const seconds = (nowMs - pace.widenedAtMs) / 1000
  if (pace.perSecond === undefined || seconds < 1) return pace
  const { perSecond, ...others } = pace
  const eased = perSecond * EASE_PER_SECOND ** seconds
  return eased > FASTEST ? { ...others, widenedAtMs: nowMs } : { ...others, perSecond: eased, widenedAtMs: nowMs }
}
