import type { Origin, Problem } from './problems.ts'
import { lineOf } from './setting.ts'
import type { KeyInfo } from './setting.ts'
import { suggestKey } from './suggest.ts'

/** A key that the schema does not have, and the keys that may have been meant. */
export interface Unknown {
  readonly key: string
  readonly candidates: readonly KeyInfo[]
}

/** Unknown keys that are reported one by one; a file with more is probably not ours. */
const MAX_UNKNOWN = 20

/** A problem for each unknown key of one file, up to a bound, then one for the rest. */
export function unknownKeys(unknown: readonly Unknown[], origin: Origin): readonly Problem[] {
  const shown = unknown.slice(0, MAX_UNKNOWN).map((one) => unknownKey(one, origin))
  const left = unknown.length - shown.length
  if (left <= 0) return shown
  const rest = { key: undefined, value: undefined, problem: `${left} more keys of this file are unknown.`, origin }
  return [...shown, { ...rest, remedy: 'Is this the right file? Every key: iot-device-agent config list --doc' }]
}

/** The value is not shown: nobody knows whether it is a secret. */
function unknownKey({ key, candidates }: Unknown, origin: Origin): Problem {
  const meant = suggestKey(key, candidates)
  const remedy =
    meant === undefined
      ? 'Remove it. Every key: iot-device-agent config list --doc'
      : [`Did you mean ${meant.key}? Write it as: ${lineOf(meant)}`, meant.caution]
          .filter((sentence) => sentence !== undefined)
          .join('. ')
  return { key, value: undefined, problem: 'This key is unknown.', remedy, origin }
}
