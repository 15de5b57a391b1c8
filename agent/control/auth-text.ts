import type { AuthView, MoveView } from '../credential/auth-view.ts'
import type { Attempt } from '../credential/memory.ts'
import type { Status } from './status.ts'
import { duration, isoSeconds } from './time-text.ts'

/** Longest reason that is shown; `status --json` has it whole. */
const MAX_REASON = 160

/** What the agent does with the credentials besides using one. */
export interface GoingOn {
  /** One sentence. */
  readonly doing?: string
  /** The credential in use is not touched by it. */
  readonly isHarmless: boolean
}

export function goingOn({ auth, atMs }: Status): GoingOn {
  const { move, state, fallback } = auth
  const active = fallback?.active
  if (move !== undefined) return { doing: moveSentence(auth, move, atMs), isHarmless: isUntouched(state) && !active }
  if (active === undefined) return { isHarmless: true }
  const again = duration(active.returnAtMs - atMs)
  const doing = `fallen back to SAS ${duration(atMs - active.sinceMs)} ago because of ${active.cause}; X.509 is tried again in ${again}`
  return { doing, isHarmless: false }
}

function isUntouched(state: Status['auth']['state']): boolean {
  return state === 'preparing' || state === 'awaitingCertificate'
}

/** `moving to X.509 (gen-0002) for the device twin, version 7: proving it since 12 s` */
function moveSentence({ state, mode }: Status['auth'], move: MoveView, nowMs: number): string {
  const { verdict, sinceMs } = move
  const aim = `${laneText(move.to)}${move.candidate === undefined ? '' : ` (${move.candidate})`}`
  const asked = `${aim} for ${causeText(move)}`
  if (state === 'rollingBack') {
    const why = verdict === undefined ? '' : `: ${verdict.code}, ${short(verdict.reason)}`
    return `going back to ${laneText(mode)}, because ${asked} did not work${why}`
  }
  return `moving to ${asked}: ${stateTexts[state] ?? state} since ${duration(nowMs - sinceMs)}`
}

const stateTexts: Readonly<Partial<Record<string, string>>> = {
  active: 'active',
  newborn: 'no credential yet',
  awaitingCertificate: 'waiting for the certificate',
  preparing: 'getting ready',
  registering: 'registering it at DPS',
  proving: 'proving it at the hub',
  committing: 'writing it down',
  rollingBack: 'going back to the credential before',
}

export function stateText(state: string): string {
  return stateTexts[state] ?? state
}

export function laneText(lane: string): string {
  if (lane === 'sasDirect') return 'SAS without DPS'
  return lane === 'sas' ? 'SAS' : 'X.509'
}

const causeTexts: Readonly<Partial<Record<string, string>>> = {
  twin: 'the device twin',
  command: 'a command',
  method: 'a direct method',
  fallback: 'a fallback',
  return: 'the return from a fallback',
  rescue: 'a rescue',
  expiry: 'an expired certificate',
  renewal: 'a renewal',
}

function causeText({ cause, version, because }: Pick<MoveView, 'cause' | 'version' | 'because'>): string {
  const asked = causeTexts[cause] ?? cause
  return `${asked}${version === undefined ? '' : `, version ${version}`}${because === undefined ? '' : ` (${because})`}`
}

const resultTexts: Readonly<Partial<Record<string, string>>> = {
  active: 'done',
  rolledBack: 'rolled back',
  refused: 'refused',
  unreachable: 'not reached',
  rejected: 'rejected',
}

/** `to X.509 for the device twin, version 7: rolled back 5 min ago, DPS_UNAUTHORIZED: …` */
export function attemptText(attempt: Attempt, nowMs: number): string {
  const { to, result, code, reason, atMs } = attempt
  const why = code === undefined ? '' : `, ${code}${reason === undefined ? '' : `: ${short(reason)}`}`
  const ended = `${resultTexts[result] ?? result} ${duration(nowMs - atMs)} ago${why}`
  return `to ${laneText(to)} for ${causeText(attempt)}: ${ended}`
}

export function waitingText({ code, reason, untilMs }: NonNullable<AuthView['waiting']>, nowMs: number): string {
  const again = untilMs === undefined ? '' : `; again in ${duration(untilMs - nowMs)}`
  return `${code}: ${short(reason)}${again}`
}

export function fallbackText({ enabled, untilMs, leftToday }: AuthView['fallback'], nowMs: number): string {
  if (!enabled) return 'not allowed'
  if (untilMs !== undefined && untilMs < nowMs) return `not allowed any more since ${isoSeconds(untilMs)}`
  const until = untilMs === undefined ? '' : ` until ${isoSeconds(untilMs)}`
  return `allowed${until}, ${leftToday} left today`
}

export function sasText({ available, from, failure, retirement }: AuthView['sas']): string {
  const where = from === undefined ? '' : ` (${from})`
  if (retirement !== undefined) {
    const copies = retirement.left.length === 0 ? '' : `; left: ${short(retirement.left.join('; '))}`
    return `${retirement.done ? 'retired' : 'being retired'} since ${isoSeconds(retirement.atMs)}${copies}`
  }
  if (failure !== undefined) return `cannot be used${where}: ${failure.code}`
  return available ? `secret available${where}` : 'no secret'
}

export function clockText({ trust, skewSeconds }: NonNullable<Status['clock']>): string {
  const words = { trusted: 'trusted', plausible: 'not confirmed by anybody', wrong: 'wrong' } as const
  if (skewSeconds === undefined) return words[trust] ?? trust
  const off = Math.round(skewSeconds)
  return `${words[trust] ?? trust}, ${Math.abs(off)} s ${off < 0 ? 'behind' : 'ahead of'} the servers`
}

export function auditText({ seq, head, intact }: NonNullable<AuthView['audit']>): string {
  return `${seq} entries, head ${head.slice(0, 16)}, ${intact ? 'intact' : 'TAMPERED WITH'}`
}

function short(text: string): string {
  return text.length > MAX_REASON ? `${text.slice(0, MAX_REASON)}…` : text
}
