import type { Sample } from './sample.ts'

/** When a sample was taken, as far as that is known now. */
export type Creation =
  | { readonly clock?: undefined; readonly atMs: number }
  | { readonly clock: 'corrected'; readonly atMs: number }
  | { readonly clock: 'untrusted'; readonly atMs?: undefined }

/** What is known of this boot of the machine. */
export interface BootTime {
  /** As /proc/sys/kernel/random/boot_id names it. */
  readonly bootId: string
  /** Wall time at which it began, when the clock can be believed now. */
  readonly beganAtMs?: number
}

/** A time that was this near is not called corrected: the clock was right when the sample was taken. */
const SAME_MS = 1_000

/** Farthest instant that a date can be, on both sides of 1970. Source: ECMA-262, "Time Values and Time Range". */
const FARTHEST_MS = 8.64e15

/**
 * The time of a sample by a clock that can be believed: its own, or counted from the start of the machine when it was
 * taken in the boot that still lasts. Nothing is known of a boot that is over.
 */
export function creationOf({ createdAtMs, unsure }: Pick<Sample, 'createdAtMs' | 'unsure'>, boot: BootTime): Creation {
  if (unsure === undefined) return isInstant(createdAtMs) ? { atMs: createdAtMs } : { clock: 'untrusted' }
  if (unsure.bootId !== boot.bootId || boot.beganAtMs === undefined) return { clock: 'untrusted' }
  const atMs = Math.round(boot.beganAtMs + unsure.uptimeMs)
  if (!isInstant(atMs)) return { clock: 'untrusted' }
  return Math.abs(atMs - createdAtMs) < SAME_MS ? { atMs: createdAtMs } : { clock: 'corrected', atMs }
}

function isInstant(ms: number): boolean {
  return Math.abs(ms) <= FARTHEST_MS
}
