import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { Clock } from '../system/clock.ts'
import { errorCode } from '../system/error-code.ts'
import type { BootTime } from './creation.ts'
import type { Sample } from './sample.ts'

/** When a sample is taken. */
export type Stamp = () => Pick<Sample, 'createdAtMs' | 'unsure'>

export interface Stamping {
  readonly stamp: Stamp
  /** When this boot of the machine began, by the best clock that there has been in it. */
  readonly bootTime: () => BootTime
}

export interface StampOptions {
  readonly clock: Pick<Clock, 'now' | 'monotonicMs'>
  /** `trusted` something vouches for the clock, `wrong` something contradicts it, `plausible` neither. */
  readonly trust: () => 'trusted' | 'plausible' | 'wrong'
  /** Time since the start of the machine, its sleep included; nobody can set it. */
  readonly uptimeMs: () => number
  readonly bootId: string
}

/**
 * A clock that has parted this far from the one that was trusted has been set since, and nobody vouches for it; what a
 * crystal drifts in a month is less.
 */
const SET_SINCE_MS = 5 * 60_000

/** How long a judgement holds while the clock is not set. */
const JUDGED_FOR_MS = 1_000

interface Judgement {
  readonly atMonotonicMs: number
  /** Wall time minus monotonic time. */
  readonly offsetMs: number
  readonly sure: boolean
  readonly beganAtMs: number | undefined
}

/**
 * Says when a sample is taken, and keeps a second way to know it for as long as nothing has vouched for the clock.
 *
 * A `plausible` clock is sure only once it has been `trusted` in this boot and was not set since. Without that it may be
 * late by as long as the machine was off: where no battery keeps the clock, the system starts it at the time at which it
 * stopped, which contradicts nothing. It still serves to date this boot, as long as there is nothing better: then a
 * sample has the time that the clock gave it, and is set right if the clock is.
 */
export function createStamp({ clock, trust, uptimeMs, bootId }: StampOptions): Stamping {
  /** Wall time at which this boot began, by a clock that was trusted. */
  let vouchedMs: number | undefined
  let last: Judgement | undefined

  const judge = (offsetMs: number, atMonotonicMs: number): Judgement => {
    const verdict = trust()
    const beganAtMs = clock.now() - uptimeMs()
    if (verdict === 'trusted') vouchedMs = beganAtMs
    const asVouched = vouchedMs !== undefined && Math.abs(beganAtMs - vouchedMs) <= SET_SINCE_MS
    // What contradicts a clock that was not set since contradicts whatever vouched for it.
    if (verdict === 'wrong' && asVouched) vouchedMs = undefined
    return {
      ...{ atMonotonicMs, offsetMs },
      sure: verdict === 'trusted' || (verdict === 'plausible' && asVouched),
      beganAtMs: vouchedMs ?? (verdict === 'plausible' ? beganAtMs : undefined),
    }
  }
  const current = (): Judgement => {
    const monotonicMs = clock.monotonicMs()
    const offsetMs = clock.now() - monotonicMs
    const holds =
      last !== undefined &&
      monotonicMs - last.atMonotonicMs < JUDGED_FOR_MS &&
      Math.abs(offsetMs - last.offsetMs) < JUDGED_FOR_MS
    last = holds && last !== undefined ? last : judge(offsetMs, monotonicMs)
    return last
  }

  return {
    stamp() {
      const { sure } = current()
      const createdAtMs = clock.now()
      return sure ? { createdAtMs } : { createdAtMs, unsure: { bootId, uptimeMs: uptimeMs() } }
    },
    bootTime() {
      const { beganAtMs } = current()
      return beganAtMs === undefined ? { bootId } : { bootId, beganAtMs }
    },
  }
}

/** Source: proc_sys_kernel(5), `random`. */
const BOOT_ID_FILE = '/proc/sys/kernel/random/boot_id'

/**
 * Names this boot of the machine. Where the system does not, the name is a new one, so that nothing is set right by the
 * uptime of a boot that may have been another.
 */
export async function readBootId(path: string = BOOT_ID_FILE): Promise<string> {
  try {
    const name = (await readFile(path, 'utf8')).trim()
    return name === '' ? randomUUID() : name
  } catch (error) {
    if (errorCode(error) === undefined) throw error
    return randomUUID()
  }
}
