import type { AuthWishes } from '../../../agent/credential/rotation-ports.ts'
import type { FailureCode } from '../../../agent/failure.ts'
import type { Assigned } from '../../../agent/hub/supervise.ts'
import { calm, isPassing } from './troubles.ts'
import type { Conduct, Trouble } from './troubles.ts'

/**
 * What the cloud knows of one device: DPS with an enrollment for each lane, hubs, and one identity that is of one type
 * at a time. A credential is known by its name. Never changed: each request makes another cloud.
 */
export interface Cloud {
  /**
   * The only credential that the hub accepts, or `managed` for every certificate that DPS has issued; DPS rewrites it at
   * each registration. Undefined: no such device.
   */
  readonly identity: string | undefined
  /** The hub that has the identity. */
  readonly hub: string
  /** The credential that DPS took last. */
  readonly tookLast: { readonly name: string; readonly atMs: number } | undefined
  /** What neither DPS nor a hub accepts. */
  readonly revoked: readonly string[]
  /** Registrations that DPS has accepted and will carry out later, whoever still waits for it. */
  readonly late: readonly { readonly name: string; readonly dueMs: number }[]
  /** Whether a hub ends a session at once when the identity is rewritten, or refuses the next one only. */
  readonly cutsAtFlip: boolean
  /** For so long after a registration DPS refuses every other credential, trouble or not. */
  readonly remembersMs: number
  readonly desired: AuthWishes
  readonly trouble: Trouble
  /** The credential whose first registration brings the trouble. */
  readonly candidate: string
  /** The credential that the device began with. */
  readonly first: string | undefined
  readonly troubleSinceMs: number | undefined
  /** What is forgotten once has been forgotten. */
  readonly forgotten: boolean
}

export const newCloud: Cloud = {
  identity: undefined,
  hub: 'hub-1',
  tookLast: undefined,
  revoked: [],
  late: [],
  cutsAtFlip: true,
  remembersMs: 0,
  desired: { version: 1 },
  trouble: calm,
  candidate: '',
  first: undefined,
  troubleSinceMs: undefined,
  forgotten: false,
}

/** A registration that asks for a certificate; DPS knows it by the symmetric key that it shows. */
export const PENDING = 'pending'
export const MANAGED = 'managed'

/** What comes back to the device, and after how long. */
export type Reply =
  | { readonly reply: 'assigned'; readonly assigned: Assigned; readonly afterMs: number }
  | { readonly reply: 'accepted'; readonly afterMs: number }
  | { readonly reply: 'failure'; readonly code: FailureCode; readonly afterMs: number; readonly retryAfterMs?: number }

/** A credential as the cloud sees it. */
export interface Presented {
  readonly name: string
  /** A token or a certificate that is not valid by the clock of the cloud. */
  readonly stale: boolean
}

export type Answered = readonly [Cloud, Reply]

const ANSWER_MS = 50
/** The deadlines of the device: a registration, and a connection. */
const DPS_SILENCE_MS = 180_000
const HUB_SILENCE_MS = 60_000
const RETRY_AFTER_MS = 30_000
const DPS_LATE_MS = 240_000

/** DPS judges a registration, and rewrites the identity if it takes it. */
export function register(cloud: Cloud, presented: Presented, nowMs: number): Answered {
  const awake = awakened(cloud, presented, nowMs)
  const { name } = presented
  const conduct = conductOf(awake, 'dps', name, nowMs)
  const refusal = failureOf(conduct, 'DPS_UNAUTHORIZED', { code: 'DPS_NO_ANSWER', afterMs: DPS_SILENCE_MS })
  if (conduct !== 'losesTheAnswer' && conduct !== 'answersLate' && refusal !== undefined) return [awake, refusal]
  if (isBad(awake, presented) || remembersAnother(awake, name, nowMs)) return [awake, failure('DPS_UNAUTHORIZED')]
  const silence: Reply = { reply: 'failure', code: 'DPS_NO_ANSWER', afterMs: DPS_SILENCE_MS }
  if (conduct === 'answersLate')
    return [{ ...awake, late: [...awake.late, { name, dueMs: nowMs + DPS_LATE_MS }] }, silence]
  const after = rewritten(awake, name, nowMs)
  if (conduct === 'losesTheAnswer') return [after, silence]
  return [after, { reply: 'assigned', assigned: { assignedHub: after.hub, deviceId: 'edge-1' }, afterMs: ANSWER_MS }]
}

/** A hub judges a connection. */
export function connect(cloud: Cloud, presented: Presented, assignedHub: string, nowMs: number): Answered {
  const { name } = presented
  const after = forgetful(cloud, name, nowMs)
  const conduct = conductOf(after, 'hub', name, nowMs)
  const refusal = failureOf(conduct, 'HUB_REFUSED_CREDENTIAL', { code: 'HUB_NO_ANSWER', afterMs: HUB_SILENCE_MS })
  if (conduct !== 'isMute' && refusal !== undefined) return [after, refusal]
  const admitted = after.hub === assignedHub && knows(after, name) && !isBad(after, presented)
  if (admitted) return [after, { reply: 'accepted', afterMs: ANSWER_MS }]
  return [after, failure(after.trouble.closesForRefusal === true ? 'HUB_CLOSED_EARLY' : 'HUB_REFUSED_CREDENTIAL')]
}

/** A request on a session: a twin read, a message. Undefined is no answer at all. */
export function serve(cloud: Cloud, name: string, nowMs: number): Reply | undefined {
  const conduct = conductOf(cloud, 'hub', name, nowMs)
  return conduct === 'isMute' || conduct === 'isSilent' ? undefined : { reply: 'accepted', afterMs: ANSWER_MS }
}

/** Whether a hub lets a session live on. */
export function tolerates(cloud: Cloud, name: string, hub: string, nowMs: number): boolean {
  if (conductOf(cloud, 'hub', name, nowMs) === 'isUnreachable') return false
  return !cloud.cutsAtFlip || (knows(cloud, name) && cloud.hub === hub && !cloud.revoked.includes(name))
}

/** Carries out what DPS has put off. */
export function settleLate(cloud: Cloud, nowMs: number): Cloud {
  if (cloud.late.every(({ dueMs }) => dueMs > nowMs)) return cloud
  const due = cloud.late.filter(({ dueMs }) => dueMs <= nowMs)
  const rest = { ...cloud, late: cloud.late.filter(({ dueMs }) => dueMs > nowMs) }
  return due.reduce<Cloud>((before, { name }) => rewritten(before, name, nowMs), rest)
}

/**
 * The cloud with whatever passes behind it. That the candidate is refused for ever stays, as long as there is another
 * credential: the operator has let the first one in again by then.
 */
export function calmed(cloud: Cloud): Cloud {
  const { trouble, candidate, first } = cloud
  const stays = !isPassing(trouble) && (trouble.towards === 'everybody' || candidate !== first)
  return stays ? { ...cloud, revoked: [] } : { ...cloud, trouble: calm }
}

/** Whether a hub takes this credential for the identity. */
export function knows({ identity }: Cloud, name: string): boolean {
  return identity === name || (identity === MANAGED && name.startsWith('gen-'))
}

function isCandidate({ candidate }: Cloud, name: string): boolean {
  return name === candidate || (name === PENDING && candidate.startsWith('gen-'))
}

/** The candidate shows itself for the first time: from here on there is trouble. */
function awakened(cloud: Cloud, { name }: Presented, nowMs: number): Cloud {
  return cloud.troubleSinceMs === undefined && isCandidate(cloud, name) ? { ...cloud, troubleSinceMs: nowMs } : cloud
}

function isTroubled({ troubleSinceMs, trouble }: Cloud, nowMs: number): boolean {
  return troubleSinceMs !== undefined && nowMs < troubleSinceMs + trouble.lastsMs
}

function conductOf(cloud: Cloud, who: 'dps' | 'hub', name: string, nowMs: number): Conduct | undefined {
  const { trouble } = cloud
  if (!isTroubled(cloud, nowMs) || (trouble.towards === 'candidate' && !isCandidate(cloud, name))) return undefined
  return trouble[who]
}

function failureOf(
  conduct: Conduct | undefined,
  refused: FailureCode,
  silence: { readonly code: FailureCode; readonly afterMs: number },
): Reply | undefined {
  switch (conduct) {
    case 'refuses':
      return failure(refused)
    case 'throttles': {
      const code = refused === 'DPS_UNAUTHORIZED' ? 'DPS_THROTTLED' : 'HUB_BUSY'
      return { reply: 'failure', code, afterMs: ANSWER_MS, retryAfterMs: RETRY_AFTER_MS }
    }
    case 'isSilent':
      return { reply: 'failure', ...silence }
    case 'isUnreachable':
      return failure('NETWORK_UNREACHABLE')
    case 'losesTheAnswer':
    case 'answersLate':
    case 'isMute':
    case undefined:
      return undefined
  }
}

function failure(code: FailureCode): Reply {
  return { reply: 'failure', code, afterMs: ANSWER_MS }
}

function isBad({ revoked }: Cloud, { name, stale }: Presented): boolean {
  return stale || revoked.includes(name)
}

/** DPS has been seen to refuse every other credential for half an hour after a change (azure-protocols 5.1). */
function remembersAnother({ trouble, tookLast, remembersMs }: Cloud, name: string, nowMs: number): boolean {
  const { dpsRemembersMs = remembersMs } = trouble
  return tookLast !== undefined && tookLast.name !== shownAs(name) && nowMs - tookLast.atMs < dpsRemembersMs
}

/** The identity follows the latest registration (azure-protocols 5.2). */
function rewritten(cloud: Cloud, name: string, nowMs: number): Cloud {
  const hub = cloud.trouble.hubOfLane === true ? (name === 'sas' ? 'hub-1' : 'hub-2') : cloud.hub
  const identity = name === PENDING ? MANAGED : name
  return { ...cloud, identity, hub, tookLast: { name: shownAs(name), atMs: nowMs } }
}

function shownAs(name: string): string {
  return name === PENDING ? 'sas' : name
}

/** The identity is deleted once, between the registration of the candidate and its first connection. */
function forgetful(cloud: Cloud, name: string, nowMs: number): Cloud {
  const forgets = cloud.trouble.forgetsIdentity === true && !cloud.forgotten && name === cloud.candidate
  if (!forgets || !isTroubled(cloud, nowMs)) return cloud
  return { ...cloud, identity: undefined, tookLast: undefined, forgotten: true }
}
