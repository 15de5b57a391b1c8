/** Later years do not fit the four digits in which the hub is told. */
const LAST_MS = Date.UTC(9999, 11, 31, 23, 59, 59, 999)

/** In March 1973. A smaller number is a time in seconds that was taken for one in milliseconds. */
const FIRST_MS = 100_000_000_000

const MOMENT = /^(\d{4}-\d\d-\d\d)[Tt ]\d\d:\d\d(:\d\d([.,]\d{1,9})?)?([Zz]|[+-]\d\d:?\d\d)$/
const NUMBER = /^\d{1,15}(\.\d+)?$/

/**
 * Wall time in milliseconds of `2026-07-01T12:00:00.5Z` or of a number of milliseconds since 1970, as number or text.
 *
 * @returns what is wrong with it when it is text
 */
export function parseTime(written: unknown): number | string {
  const text = String(written)
  if (typeof written === 'number' || NUMBER.test(text)) return inRange(Math.round(Number(text)))
  if (typeof written !== 'string') return 'must be an ISO 8601 time with zone, or milliseconds since 1970'
  // A plus sign that nobody encoded is a space in a query.
  const asMeant = text.replace(/ (\d\d:?\d\d)$/, '+$1')
  const [, day = ''] = MOMENT.exec(asMeant) ?? []
  const ms = Date.parse(asMeant.replace(',', '.').toUpperCase())
  if (day === '' || !isDay(day) || Number.isNaN(ms)) {
    return `must be a time like 2026-07-01T12:00:00Z, or milliseconds since 1970`
  }
  return inYears(ms)
}

function inRange(ms: number): number | string {
  if (ms < FIRST_MS) return 'looks like seconds since 1970: it is to be milliseconds'
  return inYears(ms)
}

function inYears(ms: number): number | string {
  return ms >= 0 && ms <= LAST_MS ? ms : 'must be of the years 1970 to 9999'
}

/** `Date.parse` takes the 30th of February for the 2nd of March. */
function isDay(text: string): boolean {
  const ms = Date.parse(text)
  return !Number.isNaN(ms) && new Date(ms).toISOString().slice(0, 10) === text
}
