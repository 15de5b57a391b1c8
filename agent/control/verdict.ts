import type { Status } from './status.ts'

/** The one answer to "is this device safe?". */
export interface Verdict {
  readonly safe: 'yes' | 'soon not' | 'not as wanted' | 'no'
  /** Exit code of `status`: 0 fine, 1 not connected, 3 connected but not as wanted, 4 needs attention soon. */
  readonly exitCode: 0 | 1 | 3 | 4
  /** Why, in one sentence. */
  readonly because: string
}

const DAY_MS = 86_400_000

export function judge(status: Status): Verdict {
  const { connection, warnings } = status
  const first = (severity: string) => warnings.find((warning) => warning.severity === severity)
  if (connection.state === 'disconnected') {
    const because = connection.failure?.message ?? first('wrong')?.text ?? 'the device is not connected to its hub'
    return { safe: 'no', exitCode: 1, because }
  }
  const wrong = first('wrong')
  if (wrong !== undefined) return { safe: 'not as wanted', exitCode: 3, because: wrong.text }
  const soon = first('soon')
  if (soon !== undefined) return { safe: 'soon not', exitCode: 4, because: soon.text }
  return { safe: 'yes', exitCode: 0, because: 'connected by X.509, and everything is as wanted' }
}

/** Whole days until the certificate expires, negative since it has. */
export function daysLeft(notAfter: string, nowMs: number): number {
  return Math.floor((Date.parse(notAfter) - nowMs) / DAY_MS)
}
