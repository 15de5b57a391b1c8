import { Failure } from '../../failure.ts'
import { backoffMs } from '../../system/backoff.ts'
import type { BackoffLimits } from '../../system/backoff.ts'
import type { Refusal, Said } from './answer.ts'

/** What follows from an answer to a certificate request. */
export type Next =
  /** Further answers are waited for until then, wall time in milliseconds. */
  | { readonly do: 'listen'; readonly untilMs: number }
  | { readonly do: 'take'; readonly pem: string }
  /** The same request once more, after a while; with what it is to replace, or under another request ID. */
  | {
      readonly do: 'again'
      readonly afterMs: number
      readonly failure: Failure
      readonly replace?: string
      readonly anew?: true
    }
  /** The hub does not issue for this request. */
  | { readonly do: 'giveUp'; readonly failure: Failure }

export interface Asked {
  readonly rid: string
  /** Tries before this one that came to nothing. */
  readonly failed: number
  readonly nowMs: number
  /** Uniform in [0, 1). */
  readonly random: () => number
}

/** What the hub grants by its own account, and where it names no end. Source: azure-protocols, 3.3: about 12 h. */
const OPERATION_MS = 12 * 3_600_000
const LONGEST_OPERATION_MS = 48 * 3_600_000

/** A form of request ID that the hub takes for `replace`; anything else of it is asked to make room for all. */
const RID = /^[A-Za-z0-9][A-Za-z0-9-]{2,34}[A-Za-z0-9]$/

/** How long each kind of refusal is left alone. Source: azure-protocols, 3.4. */
const THROTTLED: BackoffLimits = { baseMs: 1_000, capMs: 300_000 }
const UNAVAILABLE: BackoffLimits = { baseMs: 5_000, capMs: 600_000 }
const FAULTY: BackoffLimits = { baseMs: 300_000, capMs: 1_800_000 }
const NOT_READY: BackoffLimits = { baseMs: 1_800_000, capMs: 14_400_000 }

/** Tries that come to nothing, whatever the reason: then DPS is asked. */
export const MAX_TRIES = 8

export function decide(said: Said, asked: Asked): Next {
  switch (said.said) {
    case 'accepted':
      return { do: 'listen', untilMs: endOf(said.expiresAtMs, asked.nowMs) }
    case 'issued':
      return { do: 'take', pem: said.pem }
    case 'nonsense':
      return later(said.why, UNAVAILABLE, asked, { anew: true })
    case 'refused':
      return afterRefusal(said.refusal, asked)
  }
}

/** No answer within its time, or none that ended the operation. */
export function afterSilence(wasAccepted: boolean, asked: Asked): Next {
  const what = wasAccepted ? 'the operation has expired' : 'the hub did not answer the certificate request'
  return later(what, UNAVAILABLE, asked, wasAccepted ? { anew: true } : {})
}

/** The request could not even be handed in, although the session lives. */
export function afterFailure({ message }: Failure, asked: Asked): Next {
  return later(message, UNAVAILABLE, asked)
}

function afterRefusal(refusal: Refusal, asked: Asked): Next {
  const { code, requestId } = refusal
  const words = `the hub answered ${code}${refusal.message === '' ? '' : `: ${refusal.message}`}`
  switch (code) {
    case 409_004:
    case 409_005: {
      if (requestId === asked.rid) return { do: 'listen', untilMs: endOf(refusal.expiresAtMs, asked.nowMs) }
      const replace = requestId !== undefined && RID.test(requestId) ? requestId : '*'
      return later(words, THROTTLED, asked, { replace })
    }
    // Nothing is there to be replaced any more: the next one goes without.
    case 412_001:
      return later(words, THROTTLED, asked)
    case 412_005:
      return later(words, NOT_READY, asked)
    case 500_001:
      return later(words, FAULTY, asked, {}, refusal.retryAfterMs)
    case 503_001:
    case 503_102:
      return later(words, UNAVAILABLE, asked, {}, refusal.retryAfterMs)
    case 400_037:
    case 400_040:
      return { do: 'giveUp', failure: new Failure('HUB_CSR_REFUSED', words) }
    default:
      // The family of throttling, whichever it is. Source: azure-protocols, 4.5.
      if (code >= 429_000 && code < 430_000) return later(words, THROTTLED, asked, {}, refusal.retryAfterMs)
      if (code >= 500_000) return later(words, FAULTY, asked, {}, refusal.retryAfterMs)
      return { do: 'giveUp', failure: new Failure('HUB_ISSUES_NOTHING', words) }
  }
}

/** An hour is the longest that the hub may ask for. */
const LONGEST_WISH_MS = 3_600_000

function later(
  words: string,
  limits: BackoffLimits,
  { failed, random }: Asked,
  more: { readonly replace?: string; readonly anew?: true } = {},
  wishedMs = 0,
): Next {
  if (failed + 1 >= MAX_TRIES) {
    const failure = new Failure('HUB_ISSUES_NOTHING', `${words}; that was try ${failed + 1} of ${MAX_TRIES}`)
    return { do: 'giveUp', failure }
  }
  const afterMs = Math.max(backoffMs(failed, limits, random), Math.min(wishedMs, LONGEST_WISH_MS))
  return { do: 'again', afterMs, failure: new Failure('HUB_ISSUES_LATER', words), ...more }
}

/** By the clock of the hub, which may not be ours: never in the past, and not without end. */
function endOf(expiresAtMs: number | undefined, nowMs: number): number {
  const ms = expiresAtMs ?? nowMs + OPERATION_MS
  return Math.min(Math.max(ms, nowMs + 60_000), nowMs + LONGEST_OPERATION_MS)
}
