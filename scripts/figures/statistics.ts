/** What several runs of one figure come to. */
export interface Summary {
  readonly median: number
  readonly least: number
  readonly most: number
  readonly runs: number
}

/** Undefined without any run. Of an even number of runs the median is the mean of the middle two. */
export function summarize(values: readonly number[]): Summary | undefined {
  const sorted = values.toSorted((a, b) => a - b)
  const [least, most] = [sorted[0], sorted.at(-1)]
  const [low, high] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]]
  if (least === undefined || most === undefined || low === undefined || high === undefined) return undefined
  return { median: (low + high) / 2, least, most, runs: sorted.length }
}

/** At least three significant digits, no more than `decimals` after the point: 1234.5 is 1,235 and 0.1234 is 0.123. */
export function showNumber(value: number, decimals = 3): string {
  const whole = Math.trunc(Math.abs(value)).toString().replace(/^0$/, '').length
  const digits = Math.min(decimals, Math.max(0, 3 - whole))
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })
}
