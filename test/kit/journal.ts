/** What an agent says, for tests that wait for a line. */

/** One line of the agent's log. */
export type LogLine = Readonly<Record<string, unknown>> & { readonly msg: string }

export interface Journal {
  /** Takes what was said, in pieces of any size. */
  readonly write: (chunk: string | Uint8Array) => void
  /** Nothing more will be said; whoever still waits fails. */
  end(): void
  text(): string
  /** The whole lines so far; what is not JSON is a line with only a message. */
  lines(): readonly LogLine[]
  /** The first line that fits, past or future. A text fits the line with this message or this code. */
  heard(wanted: Wanted, options?: HeardOptions): Promise<LogLine>
  /** Reads on from here: each call passes over what the one before has found. */
  follow(): Reader
}

export type Wanted = string | ((line: LogLine) => boolean)

export interface Reader {
  /** The first line that fits after the one found last. */
  next(wanted: Wanted): Promise<LogLine>
}

export interface HeardOptions {
  /** Passes over so many lines: what `lines().length` was, for lines that are still to come. */
  readonly since?: number
  /** Real milliseconds after which it gives up; 20 s when left out. */
  readonly withinMs?: number
}

export function createJournal(): Journal {
  const chunks: Buffer[] = []
  const listeners = new Set<() => void>()
  let over = false

  const text = () => Buffer.concat(chunks).toString('utf8')
  const lines = () => parseLines(text())
  const tell = () => {
    for (const listener of listeners) listener()
  }

  const find = (wanted: Wanted, { since = 0, withinMs = 20_000 }: HeardOptions): Promise<Found> => {
    const fits = typeof wanted === 'string' ? (line: LogLine) => said(line, wanted) : wanted
    return new Promise((resolve, reject) => {
      const leave = () => {
        clearTimeout(timer)
        listeners.delete(look)
      }
      const give = (up: string) => {
        leave()
        reject(new Error(`${up} without ${describe(wanted)}; the agent said:\n${text()}`))
      }
      const look = () => {
        const all = lines()
        const at = all.findIndex((line, index) => index >= since && fits(line))
        const line = all[at]
        if (line === undefined) return over ? give('the agent ended') : undefined
        leave()
        return resolve({ line, at })
      }
      const timer = setTimeout(() => give(`${withinMs} ms went by`), withinMs)
      listeners.add(look)
      look()
    })
  }

  return {
    text,
    lines,
    write(chunk) {
      chunks.push(Buffer.from(chunk))
      tell()
    },
    end() {
      over = true
      tell()
    },
    heard: async (wanted, options = {}) => (await find(wanted, options)).line,
    follow() {
      let since = lines().length
      return {
        async next(wanted) {
          const { line, at } = await find(wanted, { since })
          since = at + 1
          return line
        },
      }
    },
  }
}

interface Found {
  readonly line: LogLine
  readonly at: number
}

function said(line: LogLine, wanted: string): boolean {
  return line.msg === wanted || line['code'] === wanted
}

function describe(wanted: Wanted): string {
  return typeof wanted === 'string' ? `"${wanted}"` : 'the line that was waited for'
}

function parseLines(text: string): readonly LogLine[] {
  return text
    .split('\n')
    .slice(0, -1)
    .filter((line) => line !== '')
    .map((line) => (line.startsWith('{') ? (JSON.parse(line) as LogLine) : { msg: line }))
}
