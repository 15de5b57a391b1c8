import { goingOn, laneText } from './auth-text.ts'
import type { Status } from './status.ts'

/** How `status` ends. Source: ARCHITECTURE.md, "Commands and exit codes". */
export const verdictExits = { fine: 0, notConnected: 1, notAsWanted: 3, needsAttentionSoon: 4 } as const

/** The one answer to "is this device safe?". */
export interface Verdict {
  readonly safe: 'yes' | 'soon not' | 'not as wanted' | 'no'
  readonly exitCode: (typeof verdictExits)[keyof typeof verdictExits]
  /** Why, in one sentence. */
  readonly because: string
}

const DAY_MS = 86_400_000

/**
 * What goes on with the credentials is said before anything else. A move that is only prepared touches nothing that
 * works, and is no reason for concern.
 */
export function judge(status: Status): Verdict {
  const { connection, warnings } = status
  const { doing, isHarmless } = goingOn(status)
  const first = (severity: string) => warnings.find((warning) => warning.severity === severity)?.text
  const wrong = first('wrong')
  if (connection.state === 'disconnected') {
    const because = (isHarmless ? undefined : doing) ?? connection.failure?.message ?? wrong
    return { safe: 'no', exitCode: verdictExits.notConnected, because: because ?? NOT_CONNECTED }
  }
  if (doing !== undefined && !isHarmless)
    return { safe: 'not as wanted', exitCode: verdictExits.notAsWanted, because: doing }
  if (wrong !== undefined) return { safe: 'not as wanted', exitCode: verdictExits.notAsWanted, because: wrong }
  const soon = first('soon')
  if (soon !== undefined) return { safe: 'soon not', exitCode: verdictExits.needsAttentionSoon, because: soon }
  const because = `connected by ${laneText(status.auth.mode)}, ${doing ?? 'and everything is as wanted'}`
  return { safe: 'yes', exitCode: verdictExits.fine, because }
}

const NOT_CONNECTED = 'the device is not connected to its hub'

/** Whole days until the certificate expires, negative since it has. */
export function daysLeft(notAfter: string, nowMs: number): number {
  return Math.floor((Date.parse(notAfter) - nowMs) / DAY_MS)
}
