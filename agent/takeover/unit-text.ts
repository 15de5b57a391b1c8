/** One assignment of a unit file. */
export interface Assignment {
  readonly section: string
  readonly key: string
  readonly value: string
}

/**
 * The assignments of a unit file in their order: continued lines joined, comments left out. Nothing is unquoted yet.
 * Source: systemd.syntax(7).
 */
export function readAssignments(text: string): readonly Assignment[] {
  let section = ''
  return joinLines(text, /^\s*[#;]/).flatMap((line) => {
    const head = /^\s*\[([^\]]*)\]\s*$/.exec(line)
    if (head !== null) section = head[1] ?? ''
    const at = line.indexOf('=')
    if (head !== null || at < 1) return []
    return [{ section, key: line.slice(0, at).trim(), value: line.slice(at + 1).trim() }]
  })
}

/**
 * The variables of an `EnvironmentFile=`. Text without quotes keeps its blanks inside; a backslash takes the meaning of
 * the next character, in double quotes only of those four that have one. Source: systemd.exec(5).
 */
export function readEnvironmentFile(text: string): readonly Variable[] {
  return joinLines(text, /^\s*[#;]/).flatMap((line) => {
    const match = /^\s*([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)$/s.exec(line)
    return match === null ? [] : [{ name: match[1] ?? '', value: unquoteValue((match[2] ?? '').trimEnd()) }]
  })
}

export interface Variable {
  readonly name: string
  readonly value: string
}

/** The variables of one `Environment=` line, quotes taken away and `%%` made one. */
export function readEnvironmentLine(value: string): readonly Variable[] {
  return splitWords(value).flatMap((word) => {
    const at = word.indexOf('=')
    return at < 1 ? [] : [{ name: word.slice(0, at), value: word.slice(at + 1).replaceAll('%%', '%') }]
  })
}

/** Splits as systemd does: at blanks outside of quotes; a quote may open anywhere in a word. */
export function splitWords(text: string): readonly string[] {
  const words: string[] = []
  const word = /(?:"(?:\\[^]|[^"\\])*"?|'(?:\\[^]|[^'\\])*'?|\\[^]|[^\s"'\\])+/g
  for (const [raw] of text.matchAll(word)) words.push(unquote(raw, (escaped) => escapes[escaped] ?? escaped))
  return words
}

/** What a C-like escape of systemd stands for; every other character stands for itself. */
const escapes: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', s: ' ' }

function unquoteValue(text: string): string {
  return unquote(text, (escaped, quote) => (quote === '"' && !'"\\`$'.includes(escaped) ? `\\${escaped}` : escaped))
}

function unquote(text: string, escape: (escaped: string, quote: string) => string): string {
  const piece = /"((?:\\[^]|[^"\\])*)"?|'((?:\\[^]|[^'\\])*)'?|\\([^])|([^"'\\]+)/g
  return [...text.matchAll(piece)]
    .map(([, double, single, escaped, plain]) => {
      if (double !== undefined) return double.replaceAll(/\\([^])/g, (_, next: string) => escape(next, '"'))
      if (single !== undefined) return single.replaceAll(/\\([^])/g, (_, next: string) => escape(next, "'"))
      return escaped === undefined ? (plain ?? '') : escape(escaped, '')
    })
    .join('')
}

/** A line that ends in a backslash goes on in the next; comments in between are no part of it. */
function joinLines(text: string, comment: RegExp): readonly string[] {
  const lines: string[] = []
  let open: string | undefined
  for (const line of text.replaceAll('\r\n', '\n').split('\n')) {
    if (comment.test(line)) continue
    const whole = open === undefined ? line : `${open} ${line.trimStart()}`
    open = whole.endsWith('\\') ? whole.slice(0, -1) : undefined
    if (open === undefined) lines.push(whole)
  }
  return open === undefined ? lines : [...lines, open]
}
