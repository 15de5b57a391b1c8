/** What has happened, newest first; shared by all worlds that grow from one, and never changed. */
export interface Trace {
  readonly trueMs: number
  readonly what: string
  readonly before: Trace | undefined
}

/** The trace as lines that can be read, oldest first, each with the time since the first. */
export function readable(trace: Trace | undefined): string {
  const lines: Trace[] = []
  for (let at = trace; at !== undefined; at = at.before) lines.push(at)
  const startMs = lines.at(-1)?.trueMs ?? 0
  return lines
    .toReversed()
    .map(({ trueMs, what }) => `  ${elapsed(trueMs - startMs)}  ${what}`)
    .join('\n')
}

function elapsed(ms: number): string {
  const seconds = Math.floor(ms / 1_000)
  const clock = `${pad(Math.floor(seconds / 3_600) % 24)}:${pad(Math.floor(seconds / 60) % 60)}:${pad(seconds % 60)}`
  return `${Math.floor(seconds / 86_400)}d ${clock}.${pad(ms % 1_000, 3)}`
}

function pad(value: number, width = 2): string {
  return String(value).padStart(width, '0')
}
