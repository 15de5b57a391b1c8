import type { AuthView } from '../credential/auth-view.ts'
import type { Attempt } from '../credential/memory.ts'
import { entryOf } from '../failure.ts'
import type { Finding } from './warning-table.ts'
import type { HealthFacts } from './warnings.ts'

const DAY_MS = 86_400_000

/** After so long of proven X.509 the SAS secret is more of a risk than a way back. */
const SAS_NEEDLESS_AFTER_MS = 30 * DAY_MS

/** What was ordered by hand, or tried by the agent itself, is nobody's standing wish: after a day it is history. */
const TRY_STANDS_MS = DAY_MS

/** What is not as it should be with the credentials and with changing them. */
export function authFindings(facts: HealthFacts): readonly Finding[] {
  const { auth, nowMs } = facts
  if (auth === undefined) return []
  return [
    ...auditFindings(auth),
    ...rollbackFindings(auth),
    ...fallbackFindings(auth),
    ...attemptFindings(auth, facts),
    ...sasFindings(auth, nowMs),
  ]
}

export function clockFindings({ clock }: HealthFacts): readonly Finding[] {
  switch (clock?.trust) {
    case undefined:
    case 'trusted':
      return []
    case 'plausible':
      return [{ code: 'CLOCK_UNTRUSTED', text: 'the clock is not synchronised' }]
    case 'wrong':
      return [{ code: 'CLOCK_WRONG', text: `the clock is ${skewText(clock.skewSeconds)}` }]
  }
}

function skewText(seconds: number | undefined): string {
  if (seconds === undefined || seconds === 0) return 'before what this device has seen already'
  return `${Math.abs(Math.round(seconds))} s ${seconds > 0 ? 'ahead of' : 'behind'} the servers`
}

function auditFindings({ audit }: AuthView): readonly Finding[] {
  if (audit === undefined || audit.intact) return []
  return [{ code: 'AUDIT_TAMPERED', text: `the audit trail of ${audit.seq} entries does not fit together` }]
}

function rollbackFindings({ state, move }: AuthView): readonly Finding[] {
  if (state !== 'rollingBack' || move?.verdict === undefined) return []
  const { code, reason } = move.verdict
  const advice = `Nothing: it goes on until a credential works. To mend the cause: ${adviceOf(code)}`
  return [{ code: 'ROLLING_BACK', text: `${move.candidate ?? move.to} failed: ${code}, ${reason}`, advice }]
}

function fallbackFindings({ fallback: { active } }: AuthView): readonly Finding[] {
  if (active === undefined) return []
  const { cause, sinceMs, returnAtMs } = active
  const text = `on SAS since ${isoTime(sinceMs)} because of ${cause}; X.509 is tried again at ${isoTime(returnAtMs)}`
  return [
    {
      code: 'FALLEN_BACK_TO_SAS',
      text,
      advice: `${adviceOf(cause)} Then, to return at once: iot-device-agent auth x509`,
    },
  ]
}

/** The last move, as long as somebody still wants what it did not reach. */
function attemptFindings(auth: AuthView, facts: HealthFacts): readonly Finding[] {
  const last = auth.history.at(-1)
  if (last?.code === undefined || auth.move !== undefined || !stands(last, auth, facts)) return []
  const text = `${last.to === 'sas' ? 'SAS' : 'X.509'} was wished: ${last.code}, ${last.reason ?? ''}`
  const finding = { text, advice: adviceOf(last.code) }
  switch (last.result) {
    case 'rolledBack':
      return [{ code: 'MOVE_ROLLED_BACK', ...finding }]
    case 'refused':
    case 'rejected':
      return [{ code: 'MOVE_REFUSED', ...finding }]
    // Tried again by itself, or reached.
    case 'unreachable':
    case 'active':
      return []
  }
}

function stands({ cause, to, atMs }: Attempt, { mode, fallback }: AuthView, { nowMs, wished }: HealthFacts): boolean {
  switch (cause) {
    case 'twin':
      return wished === undefined || (to === mode ? wished.renew !== undefined : wished.mode === to)
    // While fallen back that is the warning, and the next try is in it.
    case 'return':
      return fallback.active === undefined && nowMs - atMs < TRY_STANDS_MS
    case 'command':
    case 'method':
    case 'fallback':
    case 'rescue':
    case 'expiry':
    case 'renewal':
      return nowMs - atMs < TRY_STANDS_MS
  }
}

function sasFindings({ mode, sas, x509ProvenSinceMs }: AuthView, nowMs: number): readonly Finding[] {
  const { failure, retirement, available } = sas
  const isNeedless = x509ProvenSinceMs !== undefined && nowMs - x509ProvenSinceMs >= SAS_NEEDLESS_AFTER_MS
  const left = retirement?.left ?? []
  return [
    ...(failure === undefined || retirement !== undefined
      ? []
      : [
          { code: 'SAS_SECRET_UNUSABLE', text: `${failure.code}: ${failure.message}`, advice: failure.advice } as const,
        ]),
    ...(left.length === 0 ? [] : [{ code: 'RETIREMENT_INCOMPLETE', text: left.join('; ') } as const]),
    ...(mode === 'x509' && available && isNeedless
      ? [{ code: 'SAS_STILL_HERE', text: `X.509 has proved itself since ${isoTime(x509ProvenSinceMs)}` } as const]
      : []),
  ]
}

function adviceOf(code: string): string {
  return entryOf(code)?.advice ?? ''
}

function isoTime(ms: number): string {
  return new Date(ms).toISOString()
}
