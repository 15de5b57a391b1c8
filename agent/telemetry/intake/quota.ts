/** A share that fills again by itself: `tokens` as of `atMs`. May be owed for, and is then below zero. */
interface Bucket {
  tokens: number
  atMs: number
}

export type Admission =
  | { readonly ok: true; /** How long to wait before what was asked for is done. */ readonly afterMs: number }
  | { readonly ok: false; readonly retryAfterMs: number }

/** How many samples each user may hand in. Times are monotonic, in milliseconds. */
export interface Quota {
  /** As long as all users together stay below the limit of one, nobody is above it and nobody need be known. */
  takeTogether(count: number, nowMs: number): boolean
  /**
   * Takes from the share of one user; those who are not known share one. With patience, what is not there yet is taken
   * in advance, in the order of the calls. More than a whole share is let through when the share is whole.
   */
  take(uid: number | undefined, count: number, patienceMs: number, nowMs: number): Admission
}

/** How much a share holds, in seconds of its rate. */
const BURST_SECONDS = 10

/**
 * What the share of a user holds who was not known before, in seconds. Users are told apart only after all of them have
 * used up the first share together, and nobody knows who did.
 */
const FIRST_SECONDS = 1

/** Users that are remembered; the one who was silent for longest is forgotten first. */
const MAX_USERS = 256

/** @param perSecond samples; 0 for no bound */
export function createQuota(perSecond: number): Quota {
  if (perSecond === 0) return { takeTogether: () => true, take: () => ({ ok: true, afterMs: 0 }) }
  const burst = perSecond * BURST_SECONDS
  const together: Bucket = { tokens: burst, atMs: -Infinity }
  const users = new Map<number | undefined, Bucket>()
  let apart = false

  const fill = (bucket: Bucket, nowMs: number) => {
    bucket.tokens = Math.min(burst, bucket.tokens + ((nowMs - bucket.atMs) / 1000) * perSecond)
    bucket.atMs = nowMs
  }

  const bucketOf = (uid: number | undefined, nowMs: number): Bucket => {
    const bucket = users.get(uid) ?? { tokens: perSecond * FIRST_SECONDS, atMs: nowMs }
    users.delete(uid)
    users.set(uid, bucket)
    const [oldest] = users.keys()
    if (users.size > MAX_USERS) users.delete(oldest)
    fill(bucket, nowMs)
    return bucket
  }

  return {
    takeTogether(count, nowMs) {
      fill(together, nowMs)
      // Users are told apart until all of them together have been calm for so long that nobody can owe anything.
      if (apart && together.tokens < burst) return false
      apart = together.tokens < Math.min(count, burst)
      if (apart) users.clear()
      else together.tokens -= count
      return !apart
    },
    take(uid, count, patienceMs, nowMs) {
      const bucket = bucketOf(uid, nowMs)
      const missing = Math.min(count, burst) - bucket.tokens
      const waitMs = Math.max(0, Math.ceil((missing / perSecond) * 1000))
      if (waitMs > patienceMs) return { ok: false, retryAfterMs: waitMs }
      bucket.tokens -= count
      fill(together, nowMs)
      together.tokens = Math.max(0, together.tokens - count)
      return { ok: true, afterMs: waitMs }
    },
  }
}
