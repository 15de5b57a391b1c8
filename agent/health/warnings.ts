import type { AuthView } from '../credential/auth-view.ts'
import type { Lane } from '../credential/credential-ref.ts'
import type { ClockTrust } from '../credential/policy.ts'
import { authFindings, clockFindings } from './auth-findings.ts'
import { telemetryFindings } from './telemetry-findings.ts'
import type { DropFacts, OutboxFacts, SourceHealth } from './telemetry-findings.ts'
import { warningTable } from './warning-table.ts'
import type { Finding, Severity } from './warning-table.ts'

/** What the warnings are judged from. Times are wall time in milliseconds. */
export interface HealthFacts {
  readonly nowMs: number
  /** `sinceMs` of a connection that is lost or was never there; `reason` of its last failure. */
  readonly hub:
    | { readonly state: 'connected' }
    | { readonly state: 'disconnected'; readonly sinceMs: number; readonly reason?: string }
  readonly certificate?: { readonly notBeforeMs: number; readonly notAfterMs: number }
  readonly awaitingCertificateSinceMs?: number
  /**
   * `remedy` is the command that makes the key private again, if it is open to others; only whoever knows the owner
   * can tell that. `legacy` keys were made elsewhere.
   */
  readonly key?: {
    readonly path: string
    readonly mode: number
    readonly remedy?: string | undefined
    readonly legacy: boolean
  }
  readonly outbox?: OutboxFacts
  readonly drops?: DropFacts
  /** When the outbox was found damaged. */
  readonly tornAtMs?: number | undefined
  readonly sources?: readonly SourceHealth[]
  /** Desired keys that were refused: `telemetry.intervalSeconds`. */
  readonly refusedDesired?: readonly string[]
  readonly auth?: AuthView | undefined
  /** What the twin wishes about credentials; undefined until a twin was read. */
  readonly wished?: { readonly mode?: Lane; readonly renew?: string } | undefined
  /** `skewSeconds` is positive when the clock is ahead of the servers. */
  readonly clock?: { readonly trust: ClockTrust; readonly skewSeconds?: number | undefined } | undefined
}

/** The agent never writes to files of others, and reads them when it starts. */
const REPLACE_THE_PAIR =
  'put a new certificate, and its key if that is new too, in the place of the files and: ' +
  'systemctl restart iot-device-agent; or move to a key made here, as LEGACY_KEY_PAIR says'

const REPLACE_THE_READ_PAIR =
  'if others may have read it, have another key and certificate put in the place of the files'

/** A good certificate is not renewed, so that a device gets another key only by starting anew. */
const REPLACE_THE_READ_KEY =
  'if others may have read it, disable the device until it has another key: stop the agent, move the folder ' +
  'credentials out of its state folder, start it, then: iot-device-agent csr'

/** Where `import` lays a key down. */
const IMPORTED_KEY = /\/iot-device-agent\/secrets\/imported\.key$/

const DAY_MS = 86_400_000

/** A reconnection after a cut takes seconds; half-open TCP is noticed within 90 s. */
const RECONNECTION_MS = 120_000

/** A renewal that takes no longer is not told of. */
const RENEWAL_NOTICE_MS = 3_600_000

/** Long enough for an operator to sign a request by hand, short enough to be heard. */
const SOONEST_NOTICE_MS = 30 * DAY_MS

/** Everything that is not as it should be, the gravest first. */
export function findWarnings(facts: HealthFacts): readonly Finding[] {
  const found = [
    ...hubFindings(facts),
    ...clockFindings(facts),
    ...authFindings(facts),
    ...certificateFindings(facts),
    ...keyFindings(facts),
    ...telemetryFindings(facts),
    ...desiredFindings(facts),
  ]
  const rank: Readonly<Record<Severity, number>> = { wrong: 0, soon: 1, note: 2 }
  return found.toSorted((a, b) => rank[warningTable[a.code].severity] - rank[warningTable[b.code].severity])
}

function hubFindings({ nowMs, hub }: HealthFacts): readonly Finding[] {
  if (hub.state === 'connected' || nowMs - hub.sinceMs < RECONNECTION_MS) return []
  const because = hub.reason === undefined ? '' : `: ${hub.reason}`
  return [{ code: 'HUB_DISCONNECTED', text: `not connected since ${isoTime(hub.sinceMs)}${because}` }]
}

function certificateFindings(facts: HealthFacts): readonly Finding[] {
  const { awaitingCertificateSinceMs: since, certificate } = facts
  const awaiting = since === undefined ? [] : awaitingFindings(since, facts)
  return certificate === undefined ? awaiting : [...awaiting, ...dateFindings(facts, certificate)]
}

/** While the present certificate is good, waiting for the next is no trouble, and an issuer that answers soon is no news. */
function awaitingFindings(sinceMs: number, { nowMs, certificate }: HealthFacts): readonly Finding[] {
  const text = `a CSR waits since ${isoTime(sinceMs)}`
  const isGood = certificate !== undefined && certificate.notBeforeMs <= nowMs && nowMs <= certificate.notAfterMs
  if (!isGood) return [{ code: 'AWAITING_CERTIFICATE', text }]
  return nowMs - sinceMs < RENEWAL_NOTICE_MS ? [] : [{ code: 'RENEWAL_AWAITED', text }]
}

function dateFindings(
  { nowMs, key }: HealthFacts,
  { notBeforeMs, notAfterMs }: NonNullable<HealthFacts['certificate']>,
): readonly Finding[] {
  const leftMs = notAfterMs - nowMs
  const legacy = key?.legacy === true
  if (leftMs < 0) {
    const advice = legacy && { advice: `Check the clock (timedatectl); if it is right: ${REPLACE_THE_PAIR}` }
    return [{ code: 'CERTIFICATE_EXPIRED', text: `expired on ${isoTime(notAfterMs)}`, ...advice }]
  }
  if (nowMs < notBeforeMs) return [{ code: 'CERTIFICATE_NOT_YET_VALID', text: `valid from ${isoTime(notBeforeMs)}` }]
  if (leftMs > Math.min((notAfterMs - notBeforeMs) / 5, SOONEST_NOTICE_MS)) return []
  const advice = legacy && { advice: REPLACE_THE_PAIR }
  return [{ code: 'CERTIFICATE_EXPIRES_SOON', text: `expires on ${isoTime(notAfterMs)}`, ...advice }]
}

function keyFindings({ key }: HealthFacts): readonly Finding[] {
  if (key === undefined) return []
  const mode = key.mode.toString(8).padStart(4, '0')
  return [
    ...(key.remedy === undefined
      ? []
      : [
          {
            code: 'KEY_EXPOSED',
            text: `${key.path} (mode ${mode}) is open to others than the agent`,
            advice: `${key.remedy}; ${key.legacy ? REPLACE_THE_READ_PAIR : REPLACE_THE_READ_KEY}`,
          } as const,
        ]),
    ...(key.legacy ? [{ code: foreignOrLegacy(key.path), text: `the key in use is ${key.path}` }] : []),
  ]
}

/** A pair that `import` has copied is replaced by a renewal; of another one only its owner knows what is meant. */
function foreignOrLegacy(path: string): 'KEY_FOREIGN' | 'LEGACY_KEY_PAIR' {
  return IMPORTED_KEY.test(path) ? 'KEY_FOREIGN' : 'LEGACY_KEY_PAIR'
}

function desiredFindings({ refusedDesired = [] }: HealthFacts): readonly Finding[] {
  return refusedDesired.length === 0 ? [] : [{ code: 'DESIRED_REFUSED', text: `refused: ${refusedDesired.join(', ')}` }]
}

function isoTime(ms: number): string {
  return new Date(ms).toISOString()
}
