/** Put in by scripts/bundle.ts; a program run from its source does not have it. */
declare const BUILT_AT_MS: number | undefined

/** No release of this program is older. Raised with a release, never by hand to "now": it must lie in the past. */
const FIRST_RELEASE_MS = Date.UTC(2026, 0, 1)

/**
 * When this program was made, as far as it can be told so that the same source gives the same bytes: the time of its
 * last commit, or SOURCE_DATE_EPOCH. No clock is right that says less.
 */
export const builtAtMs: number =
  typeof BUILT_AT_MS === 'number' ? Math.max(BUILT_AT_MS, FIRST_RELEASE_MS) : FIRST_RELEASE_MS
