import type { Attempt } from '../credential/memory.ts'
import type { AuthView, MoveView, SasView, WaitingView } from '../credential/auth-view.ts'
import type { Desired, Refusal } from './desired.ts'
import { present } from './json.ts'
import type { Json, JsonObject } from './json.ts'
import { cut } from './limits.ts'
import { COMPONENT, COMPONENT_KEY } from './model.ts'

/** The certificate that the device proves itself with; times in ISO 8601. */
export interface ReportedCertificate {
  readonly thumbprintSha256: string
  readonly thumbprintSha1: string
  readonly subject: string
  readonly issuer: string
  readonly serial: string
  readonly notBefore: string
  readonly notAfter: string
  /** When it will be renewed, where the agent does that by itself. */
  readonly renewAt?: string
  /** The issuer adapter that brought it, or `file` for one that was there. */
  readonly issuedBy: string
  /** Where its private key lives: `file`, `pkcs11` or `tpm`. */
  readonly keyStore?: string
}

export interface AuthReportFacts {
  readonly view: AuthView
  readonly certificate?: ReportedCertificate | undefined
  /** The request that waits for a certificate, PKCS#10 in PEM. */
  readonly csrPem?: string | undefined
  /** What the twin wishes at this moment, and since when this agent knows; undefined until a twin was read. */
  readonly desired?: (Desired & { readonly readAtMs: number }) | undefined
}

/** Longest sentence in bytes of UTF-8: with eight moves, eleven refusals and long names a twin still holds them all. */
const SENTENCE_BYTES = 512

/** Copies of the SAS secret that are named at most. */
const MAX_LEFT = 8

/** The section `auth`. Only what the contract names, whatever else the caller knows. */
export function reportedAuth(facts: AuthReportFacts): JsonObject {
  const { view, certificate, desired, csrPem } = facts
  const { mode, lane, state, awaitingSinceMs, move, waiting, history, sas, audit } = view
  return present({
    [COMPONENT_KEY]: COMPONENT,
    ...{ mode, lane, state },
    awaitingSince: time(awaitingSinceMs),
    csr: awaitingSinceMs === undefined ? undefined : csrPem && base64Of(csrPem),
    requested: desired && requested(desired),
    refused: desired && refused(desired),
    move: move && reportedMove(move),
    waiting: waiting && reportedWaiting(waiting),
    lastAttempt: lastAttempt(facts),
    certificate: certificate && reportedCertificate(certificate),
    fallback: reportedFallback(view.fallback),
    sas: reportedSas(sas),
    audit: audit && { seq: audit.seq, head: audit.head },
    history: history.map(reportedAttempt),
  })
}

/** The refusals that are told here and not in the form of IoT Plug and Play. */
export function authRefusals({ refusals }: Pick<Desired, 'refusals'>): readonly Refusal[] {
  return refusals.filter(({ key }) => key.startsWith('auth.'))
}

function requested({ version, wishes }: Desired): JsonObject | undefined {
  const { mode, renew } = wishes.auth ?? {}
  return mode === undefined && renew === undefined ? undefined : present({ mode, renew, version })
}

function refused({ version, ...desired }: Desired): Json | undefined {
  const refusals = authRefusals(desired).map(({ key, reason }) => ({ key, version, reason: sentence(reason) }))
  return refusals.length === 0 ? undefined : refusals
}

/** The last move, or the wish that could not even be understood if that one came later. */
function lastAttempt({ view, desired }: AuthReportFacts): JsonObject | undefined {
  const last = view.history.at(-1)
  const rejected = desired && authRefusals(desired).find(({ key }) => key === 'auth.mode' || key === 'auth.renew')
  if (desired === undefined || rejected === undefined) return last && reportedAttempt(last)
  const { version, readAtMs } = desired
  if (last !== undefined && last.atMs > readAtMs) return reportedAttempt(last)
  const reason = sentence(`${rejected.key} ${rejected.reason}`)
  return present({ version, result: 'rejected', code: 'AUTH_WISH_INVALID', reason, at: time(readAtMs) })
}

function reportedAttempt({ to, cause, version, result, code, reason, atMs }: Attempt): JsonObject {
  return present({ to, cause, version, result, code, reason: reason && sentence(reason), at: time(atMs) })
}

function reportedWaiting({ code, reason, untilMs }: WaitingView): JsonObject {
  return present({ code, reason: sentence(reason), until: time(untilMs) })
}

function reportedMove({ to, cause, version, because, candidate, sinceMs }: MoveView): JsonObject {
  return present({ to, cause, version, because, candidate, since: time(sinceMs) })
}

function reportedCertificate(certificate: ReportedCertificate): JsonObject {
  const { thumbprintSha256, thumbprintSha1, subject, issuer, serial } = certificate
  const { notBefore, notAfter, renewAt, issuedBy, keyStore } = certificate
  return present({
    ...{ thumbprintSha256, thumbprintSha1, subject, issuer, serial },
    ...{ notBefore, notAfter, renewAt, issuedBy, keyStore },
  })
}

function reportedFallback({ enabled, untilMs, leftToday, active }: AuthView['fallback']): JsonObject {
  return present({
    ...{ enabled, leftToday },
    until: time(untilMs),
    active: active !== undefined,
    cause: active?.cause,
    since: time(active?.sinceMs),
    returnAt: time(active?.returnAtMs),
  })
}

/** `retired` is said when the secret is destroyed, not when that was decided. */
function reportedSas({ available, from, failure, retirement }: SasView): JsonObject {
  const left = retirement?.left.slice(0, MAX_LEFT).map(sentence)
  return present({
    available,
    retired: retirement?.done ?? false,
    from: from && sentence(from),
    code: failure?.code,
    reason: failure && sentence(failure.message),
    retiredAt: time(retirement?.atMs),
    left: left?.length === 0 ? undefined : left,
  })
}

/** What stands between the lines of PEM: base64 of the DER, in one line. */
function base64Of(pem: string): string {
  return pem.replaceAll(/-----[^-]+-----|\s/g, '')
}

function sentence(text: string): string {
  return cut(text, SENTENCE_BYTES)
}

function time(ms: number | undefined): string | undefined {
  return ms === undefined ? undefined : new Date(ms).toISOString()
}
