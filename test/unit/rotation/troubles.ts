/** How DPS or a hub treats a request. */
export type Conduct =
  | 'refuses'
  /** 429, or CONNACK 3. */
  | 'throttles'
  | 'isSilent'
  /** DPS carries the registration out, and the answer does not arrive. */
  | 'losesTheAnswer'
  /** DPS carries the registration out when the device has long given up. */
  | 'answersLate'
  | 'isUnreachable'
  /** A hub lets the device in and then answers nothing. */
  | 'isMute'

/** How the cloud behaves from the first registration of the candidate on. */
export interface Trouble {
  readonly name: string
  /** Infinity: for ever. */
  readonly lastsMs: number
  readonly towards: 'candidate' | 'everybody'
  readonly dps?: Conduct
  readonly hub?: Conduct
  /** For so long after a registration DPS refuses every other credential. */
  readonly dpsRemembersMs?: number
  readonly forgetsIdentity?: boolean
  /** The enrollments of the two lanes assign different hubs. */
  readonly hubOfLane?: boolean
  /** A hub ends the connection in place of a refusal, so that nobody says what is wrong. */
  readonly closesForRefusal?: boolean
}

const MINUTE_MS = 60_000

const everybody = { towards: 'everybody' as const }
const candidate = { towards: 'candidate' as const }
const forEver = { lastsMs: Number.POSITIVE_INFINITY }
const passing = { lastsMs: 12 * MINUTE_MS }

export const calm: Trouble = { name: 'accepts', ...everybody, lastsMs: 0 }

/** All that the cloud can do to a change of credential. */
export const troubles: readonly Trouble[] = [
  calm,
  { name: 'refuses the candidate at DPS', ...candidate, ...forEver, dps: 'refuses' },
  { name: 'refuses the candidate at the hub', ...candidate, ...forEver, hub: 'refuses' },
  {
    name: 'refuses the candidate at the hub and remembers it at DPS',
    ...candidate,
    ...forEver,
    hub: 'refuses',
    dpsRemembersMs: 30 * MINUTE_MS,
  },
  { name: 'remembers the last credential at DPS', ...everybody, ...passing, dpsRemembersMs: 30 * MINUTE_MS },
  { name: 'throttles at DPS', ...everybody, ...passing, dps: 'throttles' },
  { name: 'throttles at the hub', ...everybody, ...passing, hub: 'throttles' },
  { name: 'forgets the identity', ...everybody, ...passing, forgetsIdentity: true },
  { name: 'assigns another hub', ...everybody, ...forEver, hubOfLane: true },
  { name: 'closes in place of a refusal', ...everybody, ...forEver, closesForRefusal: true },
  { name: 'falls silent at DPS', ...everybody, ...passing, dps: 'isSilent' },
  { name: 'loses the answer of DPS', ...everybody, ...passing, dps: 'losesTheAnswer' },
  { name: 'carries a registration out late', ...everybody, ...passing, dps: 'answersLate' },
  { name: 'falls silent at the hub', ...everybody, ...passing, hub: 'isSilent' },
  { name: 'lets in and says nothing', ...everybody, ...passing, hub: 'isMute' },
  { name: 'cannot be reached', ...everybody, ...passing, dps: 'isUnreachable', hub: 'isUnreachable' },
]

/** Whether it is over some day. What only differs from the ordinary, and refuses nothing, need not pass. */
export function isPassing({ lastsMs }: Trouble): boolean {
  return Number.isFinite(lastsMs)
}
