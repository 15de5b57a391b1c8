/**
 * How far the clock of this device may be believed. `trusted`: synchronised, or measured against a server; `plausible`:
 * not before what this device has seen already; `wrong`: before it, or measured to be off.
 */
export type ClockTrust = 'trusted' | 'plausible' | 'wrong'

/** Times before which it cannot be. Wall time in milliseconds. */
export interface ClockFloors {
  /** When this program was made. */
  readonly buildMs: number
  /** The newest `notBefore` in the vault. */
  readonly vaultMs?: number | undefined
  /** The last time that was trusted. */
  readonly goodMs?: number | undefined
}

/** What a server said about our clock. */
export interface MeasuredSkew {
  /** Its time minus ours: positive when we are late. */
  readonly skewMs: number
  readonly ageMs: number
  /** Its certificate holds in all respects. False: in all but its dates, which a wrong clock puts in the wrong. */
  readonly verified: boolean
}

/** What the clock is judged from. */
export interface ClockFacts {
  readonly nowMs: number
  readonly floors: ClockFloors
  /** Undefined where nothing on the system can tell. */
  readonly synchronised: boolean | undefined
  /** Since when it has been so without a break, a step or a sleep; 0 unless `synchronised`. */
  readonly synchronisedForMs: number
  readonly measured?: MeasuredSkew | undefined
}

export interface ClockVerdict {
  readonly trust: ClockTrust
  /** Why, without a full stop, for log, status and twin. */
  readonly reason: string
}

/** More than this and the cloud refuses us. Source: IoT Hub and DPS documentation, "drift beyond about 5 minutes". */
export const TOLERANCE_MS = 5 * 60_000

/** A measurement says nothing about the clock any more when it is this old. */
export const MEASUREMENT_HOLDS_MS = 24 * 3_600_000

/** No device runs one build for longer: a clock beyond it comes from a dead battery or a broken register. */
const LONGEST_LIFE_YEARS = 30

/** A floor farther ahead than this was wrong itself, once something vouches for the clock. Nearer ones pass by themselves. */
export const FLOOR_IN_DOUBT_MS = 24 * 3_600_000

/** NTP is not authenticated: by itself it overrules a floor only after it has held for so long. */
const NTP_OVERRULES_AFTER_MS = 3_600_000

/**
 * Judges the clock. What contradicts it comes first, so that no voucher makes a clock `trusted` that a server or a floor
 * denies, with one way out: a floor that lies more than a day ahead yields to a server whose certificate holds, or to NTP
 * that has held for an hour. Without it, one boot in a wrong year that was believed would be believed for ever.
 */
export function judgeClock(facts: ClockFacts): ClockVerdict {
  const contradiction = contradictionOf(facts)
  if (contradiction !== undefined) return { trust: 'wrong', reason: contradiction }
  const voucher = voucherOf(facts)
  if (voucher !== undefined) return { trust: 'trusted', reason: voucher }
  return { trust: 'plausible', reason: 'nothing vouches for the clock, and nothing contradicts it' }
}

/** After this instant no clock is believed, and no time that was saved. */
export function latestBelievableMs(buildMs: number): number {
  const latest = new Date(buildMs)
  return latest.setUTCFullYear(latest.getUTCFullYear() + LONGEST_LIFE_YEARS)
}

function contradictionOf(facts: ClockFacts): string | undefined {
  const { nowMs, floors } = facts
  const says = `the clock says ${instant(nowMs)}`
  if (nowMs < floors.buildMs - TOLERANCE_MS) return `${says}, before this program was made (${instant(floors.buildMs)})`
  if (nowMs > latestBelievableMs(floors.buildMs)) {
    return `${says}, more than ${LONGEST_LIFE_YEARS} years after this program was made`
  }
  const measured = freshOf(facts)
  if (measured !== undefined && Math.abs(measured.skewMs) > TOLERANCE_MS) {
    return `${says}, ${seconds(measured.skewMs)} ${measured.skewMs > 0 ? 'behind' : 'ahead of'} the time of a server`
  }
  if (isBelow(floors.vaultMs, facts)) {
    return `${says}, before the newest certificate became valid (${instant(floors.vaultMs)})`
  }
  if (isBelow(floors.goodMs, facts))
    return `${says}, before a time that was trusted already (${instant(floors.goodMs)})`
  return undefined
}

function isBelow(floorMs: number | undefined, facts: ClockFacts): floorMs is number {
  if (floorMs === undefined || facts.nowMs >= floorMs - TOLERANCE_MS) return false
  return floorMs - facts.nowMs <= FLOOR_IN_DOUBT_MS || !overrulesFloors(facts)
}

function overrulesFloors(facts: ClockFacts): boolean {
  return isMeasuredRight(facts) || (facts.synchronised === true && facts.synchronisedForMs >= NTP_OVERRULES_AFTER_MS)
}

function voucherOf(facts: ClockFacts): string | undefined {
  if (isMeasuredRight(facts)) return 'a server was asked for its time, and it is ours'
  return facts.synchronised === true ? 'the system says that the clock is synchronised' : undefined
}

function isMeasuredRight(facts: ClockFacts): boolean {
  const measured = freshOf(facts)
  return measured !== undefined && measured.verified && Math.abs(measured.skewMs) <= TOLERANCE_MS
}

function freshOf({ measured }: ClockFacts): MeasuredSkew | undefined {
  return measured !== undefined && measured.ageMs < MEASUREMENT_HOLDS_MS ? measured : undefined
}

function instant(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`
}

function seconds(ms: number): string {
  return `${Math.round(Math.abs(ms) / 1000)} s`
}
