/** A message that was the oldest without an answer when the hub closed a session. */
export interface Suspect {
  readonly epoch: number
  readonly stream: number
  readonly first: number
  /** Sessions in a row that ended so. */
  readonly ends: number
  /** Of these, those in which it was alone on its way, after the hub had taken another message. */
  readonly alone: number
}

/** Where a message lies. */
export type Place = Pick<Suspect, 'epoch' | 'stream' | 'first'>

/** A link that breaks ends sessions as well: from the second time on the message travels alone. */
const ENDS_BEFORE_ALONE = 2

/** So often it must have been the message, and nothing else, that the hub did not bear. */
const ALONE_BEFORE_VERDICT = 3

/** A close that comes later than this after the sending has another reason. */
export const BLAMED_WITHIN_MS = 20_000

/** Whether the message has to wait until another one was acknowledged, and then go alone. */
export function travelsAlone(suspect: Suspect | undefined, place: Place): boolean {
  return suspect !== undefined && isSame(suspect, place) && suspect.ends >= ENDS_BEFORE_ALONE
}

/** Whether the hub will never take it. */
export function isPoison(suspect: Suspect | undefined): boolean {
  return suspect !== undefined && suspect.alone >= ALONE_BEFORE_VERDICT
}

/**
 * The hub has closed a session.
 *
 * @param oldest the oldest message without an answer; undefined when there was none or it was sent long ago
 * @param alone  it was alone on its way, and another had been acknowledged in the same session
 */
export function suspectAfterClose(
  suspect: Suspect | undefined,
  oldest: Place | undefined,
  alone: boolean,
): Suspect | undefined {
  // A session that ended before the suspect had its turn says nothing about it.
  if (oldest === undefined) return suspect
  const before = suspect !== undefined && isSame(suspect, oldest) ? suspect : undefined
  const { epoch, stream, first } = oldest
  return { epoch, stream, first, ends: (before?.ends ?? 0) + 1, alone: (before?.alone ?? 0) + (alone ? 1 : 0) }
}

/** The hub has taken it, or it is gone: whatever it was suspected of. */
export function cleared(suspect: Suspect | undefined, place: Place): Suspect | undefined {
  return suspect !== undefined && isSame(suspect, place) ? undefined : suspect
}

function isSame(a: Place, b: Place): boolean {
  return a.epoch === b.epoch && a.stream === b.stream && a.first === b.first
}
