/** Counts numbered samples as they come, a bit each: a million of them take 125 kB. */
export interface Tally {
  /** Takes one arrival. A number outside of the range throws. */
  add(number: number): void
  /** Arrivals, repeats included. */
  readonly arrivals: number
  /** Numbers that came at least once. */
  readonly distinct: number
  /** Numbers that came for the first time after a higher one had come. */
  readonly late: number
  /** Numbers of `from` to `to` (exclusive) that did not come; at most `most` of them. */
  missing(from: number, to: number, most?: number): readonly number[]
}

/** @param size numbers go from 0 to `size` (exclusive) */
export function createTally(size: number): Tally {
  const bits = new Uint8Array(Math.ceil(size / 8))
  const has = (number: number) => ((bits[number >> 3] ?? 0) & (1 << (number & 7))) !== 0
  let arrivals = 0
  let distinct = 0
  let late = 0
  let highest = -1
  return {
    add(number) {
      if (!Number.isInteger(number) || number < 0 || number >= size)
        throw new RangeError(`${number} is not from 0 to ${size}`)
      arrivals += 1
      if (has(number)) return
      bits[number >> 3] = (bits[number >> 3] ?? 0) | (1 << (number & 7))
      distinct += 1
      if (number < highest) late += 1
      highest = Math.max(highest, number)
    },
    get arrivals() {
      return arrivals
    },
    get distinct() {
      return distinct
    },
    get late() {
      return late
    },
    missing(from, to, most = 100) {
      const found: number[] = []
      for (let number = from; number < to && found.length < most; number += 1) if (!has(number)) found.push(number)
      return found
    },
  }
}
