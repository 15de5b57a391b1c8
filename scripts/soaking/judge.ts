/** What the figures of a soak say. Pure. */

/** The agent at one moment. */
export interface Look {
  readonly atMs: number
  readonly rssMb: number
  readonly anonymousMb: number
  /** Open files and sockets. */
  readonly descriptors: number
  /** Samples that wait; undefined while the agent did not answer. */
  readonly depth: number | undefined
}

export interface Growth {
  /** Medians of the window that begins at 5 minutes, and of the last one. */
  readonly earlyMb: number
  readonly lateMb: number
  readonly percent: number
  readonly mbPerHour: number
}

export interface Delivery {
  /** Samples that the agent counts as acknowledged. */
  readonly acknowledged: number
  /** Samples in the cloud, each counted once. */
  readonly came: number
  /** Samples that the agent took by HTTP and that did not come. */
  readonly missing: number
  /** What the agent says that it gave up. */
  readonly dropped: number
}

/** A run of an hour has its first window at 5 minutes, of 2 minutes; a shorter run has them in proportion. */
const EARLY_MS = 5 * 60_000
const WINDOW_MS = 2 * 60_000

const MAX_GROWTH_PERCENT = 10

/** @param startMs of the run, on the clock of the looks */
export function growthOf(looks: readonly Look[], what: 'rssMb' | 'anonymousMb', startMs: number): Growth {
  const endMs = looks.at(-1)?.atMs ?? startMs
  const earlyMs = startMs + Math.min(EARLY_MS, (endMs - startMs) / 3)
  const windowMs = Math.min(WINDOW_MS, (endMs - startMs) / 6)
  const within = (fromMs: number, toMs: number) =>
    median(looks.filter(({ atMs }) => atMs >= fromMs && atMs <= toMs).map((look) => look[what]))
  const earlyMb = within(earlyMs, earlyMs + windowMs)
  const lateMb = within(endMs - windowMs, endMs)
  const hours = (endMs - windowMs - earlyMs) / 3_600_000
  return { earlyMb, lateMb, percent: (lateMb / earlyMb - 1) * 100, mbPerHour: (lateMb - earlyMb) / hours }
}

const COURSE_EVERY_MS = 5 * 60_000

/** The first look at or after every fifth minute. */
export function courseOf(
  looks: readonly Look[],
  startMs: number,
): readonly { readonly minute: number; readonly rssMb: number; readonly anonymousMb: number }[] {
  const endMs = looks.at(-1)?.atMs ?? startMs
  const marks = Array.from({ length: Math.floor((endMs - startMs) / COURSE_EVERY_MS) }, (_, at) => at + 1)
  return marks.flatMap((mark) => {
    const look = looks.find(({ atMs }) => atMs - startMs >= mark * COURSE_EVERY_MS)
    return look === undefined ? [] : [{ minute: mark * 5, rssMb: look.rssMb, anonymousMb: look.anonymousMb }]
  })
}

/** Samples that were promised and did not come. */
export function lostOf({ acknowledged, came, missing, dropped }: Delivery): number {
  return Math.max(0, acknowledged - came, missing) + dropped
}

/** Why the run has failed; empty when it has not. Growth that cannot be told is a failure too. */
export function problemsOf(growths: Readonly<Record<string, Growth>>, lost: number): readonly string[] {
  const grown = Object.entries(growths)
    .filter(([, { percent }]) => !(percent <= MAX_GROWTH_PERCENT))
    .map(([name, { percent }]) => `${name} grew by ${percent.toFixed(1)} %, ${MAX_GROWTH_PERCENT} % are allowed`)
  return lost === 0 ? grown : [...grown, `${lost} samples were lost`]
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}
