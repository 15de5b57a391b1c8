/** What happens to the link, and when: endless, and the same for the same seed. Pure. */

/**
 * `cut` once; `halfOpen` for a while and then cut; `unnoticed` half-open until the agent finds out by itself; `refused`
 * accepted and reset at once for a while; `away` nobody listens for a while; `calm` nothing, for long enough that a
 * session counts as one that lasts.
 */
export type FlapKind = 'cut' | 'halfOpen' | 'unnoticed' | 'refused' | 'away' | 'calm'

export interface Flap {
  readonly kind: FlapKind
  /** Milliseconds of good weather before it. */
  readonly afterMs: number
  /** Milliseconds that it lasts. */
  readonly lastsMs: number
}

const DECK: readonly FlapKind[] = ['cut', 'cut', 'cut', 'halfOpen', 'halfOpen', 'refused', 'refused', 'away', 'away']

/** Flaps between two calms. Short sessions make the agent wait longer and longer; a calm ends that. */
const ROUND = 10

/** Longer than the minute after which a session has lasted. */
const CALM_MS = 65_000

/** One round in so many has a link that dies without a sign, which takes up to twice the keep-alive. */
const UNNOTICED_EVERY = 3

/** @param random uniform in [0, 1) */
export function* planFlaps(random: () => number): Generator<Flap, never> {
  const between = (min: number, max: number) => Math.round(min + random() * (max - min))
  for (let round = 0; ; round += 1) {
    for (let place = 0; place < ROUND; place += 1) {
      const kind = DECK[Math.floor(random() * DECK.length)] ?? 'cut'
      yield { kind, afterMs: between(1_000, 5_000), lastsMs: kind === 'cut' ? 0 : between(500, 5_000) }
    }
    if (round % UNNOTICED_EVERY === 0) yield { kind: 'unnoticed', afterMs: between(1_000, 5_000), lastsMs: 0 }
    yield { kind: 'calm', afterMs: 0, lastsMs: CALM_MS }
  }
}
