/** What the owner wants of renewals. */
export interface RenewalPolicy {
  /** Whether the agent renews by itself. */
  readonly enabled: boolean
  /** The middle of the span in which certificates are renewed, as a part of the lifetime. */
  readonly fraction: number
  /** Half of that span, as a part of the lifetime: each certificate has its own point in it. */
  readonly spread: number
  /** Least time between two attempts, in milliseconds; of a short lifetime at most a fiftieth. */
  readonly floorMs: number
}

/** A certificate as far as its renewal goes. Times are wall time in milliseconds. */
export interface Renewable {
  readonly notBeforeMs: number
  readonly notAfterMs: number
  /** When it came to this device: an authority may have set the begin back by more than a short lifetime. */
  readonly acceptedAtMs?: number | undefined
  /** Where in the span its point lies, in [0, 1): `shareOf` its thumbprint. */
  readonly share: number
}

/** What came of the renewal of this certificate so far. */
export interface RenewalAttempts {
  readonly failed: number
  /** Wall time. */
  readonly lastAtMs: number
}

export interface RenewalPlan {
  /** From here on it is to be renewed. Wall time. */
  readonly renewAtMs: number
  /** The next attempt, not before `renewAtMs`. Wall time. */
  readonly nextAttemptMs: number
  readonly state: 'notYet' | 'due' | 'expired'
}

/** The earliest point, as a part of the lifetime, whatever the longest spell offline asks for. */
const EARLIEST = 1 / 3

/** After its point a certificate must outlast so many of the longest spells that this device was offline. */
const SPELLS = 2

/** Attempts get denser towards the end: the pause is this part of what is left, and never longer than a day. */
const PART_OF_THE_REST = 8
const LONGEST_PAUSE_MS = 24 * 3_600_000

/** Least attempts that fit into a lifetime, so that a certificate of a minute has more than one. */
const FLOORS_A_LIFETIME = 50

/**
 * When a certificate is renewed. The point lies in `fraction` ± `spread` of the lifetime, by the thumbprint: the same at
 * each start, another one for each device and each generation, so that a fleet that was certified in one hour is not
 * renewed in one. It is earlier when the device has been offline for long, and never before a third of the lifetime.
 * After an attempt that failed the next comes after an eighth of what is left, at most a day, at least the floor.
 */
export function planRenewal(
  certificate: Renewable,
  attempts: RenewalAttempts | undefined,
  longestOfflineMs: number,
  policy: RenewalPolicy,
  nowMs: number,
): RenewalPlan {
  const { notAfterMs } = certificate
  const renewAtMs = pointOf(certificate, longestOfflineMs, policy)
  const nextAttemptMs = Math.max(
    renewAtMs,
    attempts === undefined ? renewAtMs : afterFailure(certificate, attempts, policy),
  )
  if (nowMs >= notAfterMs) return { renewAtMs, nextAttemptMs, state: 'expired' }
  return { renewAtMs, nextAttemptMs, state: nowMs >= renewAtMs ? 'due' : 'notYet' }
}

/** Uniform in [0, 1) over all certificates, and always the same for one. @param thumbprint in hexadecimal */
export function shareOf(thumbprint: string): number {
  return Number.parseInt(thumbprint.slice(0, 8), 16) / 2 ** 32
}

function pointOf(certificate: Renewable, longestOfflineMs: number, { fraction, spread }: RenewalPolicy): number {
  const { beginMs, lifetimeMs } = lifetimeOf(certificate)
  const own = beginMs + lifetimeMs * (fraction + (2 * certificate.share - 1) * spread)
  const safe = certificate.notAfterMs - SPELLS * longestOfflineMs
  return Math.round(Math.max(beginMs + lifetimeMs * EARLIEST, Math.min(own, safe)))
}

function afterFailure(certificate: Renewable, { lastAtMs }: RenewalAttempts, { floorMs }: RenewalPolicy): number {
  const { lifetimeMs } = lifetimeOf(certificate)
  const floor = Math.min(floorMs, lifetimeMs / FLOORS_A_LIFETIME)
  const rest = Math.max(0, certificate.notAfterMs - lastAtMs)
  return Math.round(lastAtMs + Math.max(floor, Math.min(rest / PART_OF_THE_REST, LONGEST_PAUSE_MS)))
}

function lifetimeOf({ notBeforeMs, notAfterMs, acceptedAtMs = notBeforeMs }: Renewable) {
  const beginMs = acceptedAtMs > notBeforeMs && acceptedAtMs < notAfterMs ? acceptedAtMs : notBeforeMs
  return { beginMs, lifetimeMs: Math.max(0, notAfterMs - beginMs) }
}
