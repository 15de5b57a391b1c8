const DAY = /^\d{4}-\d\d-\d\d$/
const MOMENT = /^(\d{4}-\d\d-\d\d)T\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)$/

const DAY_MS = 86_400_000

/**
 * Wall time in milliseconds of `2027-01-31`, whose end in UTC is meant, or of `2027-01-31T18:00:00+01:00`; undefined for
 * anything else, a day that no month has and a time without zone included.
 */
export function parseInstant(text: string): number | undefined {
  if (DAY.test(text)) return isDay(text) ? Date.parse(text) + DAY_MS : undefined
  const [, day = ''] = MOMENT.exec(text) ?? []
  const ms = Date.parse(text)
  return isDay(day) && !Number.isNaN(ms) ? ms : undefined
}

/** `Date.parse` takes the 30th of February for the 2nd of March. */
function isDay(text: string): boolean {
  const ms = Date.parse(text)
  return !Number.isNaN(ms) && new Date(ms).toISOString().slice(0, 10) === text
}
