// Parts of a JSON text are cut out as they were written: 1.0 stays 1.0, and a long number keeps its digits.

const MEMBER = /^[ \t\r\n]*("(?:[^"\\]|\\.)*")[ \t\r\n]*:/s

/** Whether a JSON text can only be an array. */
export function isArrayText(text: string): boolean {
  return trimBlank(text).startsWith('[')
}

/**
 * What stands between the commas of the array that `text` is, JSON or not: each is for the caller to read, one by one, as
 * a text of some MiB may have millions of them.
 *
 * @param most  one more than this, and nothing behind it is looked at
 * @returns undefined when it is no JSON array, for another reason than that of an element
 */
export function elementsOf(text: string, most = Infinity): readonly string[] | undefined {
  const parts = partsOf(text, '[', ']', most)
  if (parts === undefined) return undefined
  if (parts.length === 1 && trimBlank(parts[0] ?? '') === '') return []
  return parts.map(trimBlank)
}

/** The members of the JSON object that `text` is, by name; the last one counts when a name comes twice. */
export function membersOf(text: string): ReadonlyMap<string, string> {
  const members = (partsOf(text, '{', '}') ?? []).flatMap((part) => {
    const [head, name] = MEMBER.exec(part) ?? []
    if (head === undefined || name === undefined) return []
    return [[JSON.parse(name) as string, trimBlank(part.slice(head.length))] as const]
  })
  return new Map(members)
}

/** The text without what JSON takes for white space around it, which is less than `trim` does. */
export function trimBlank(text: string): string {
  let start = 0
  let end = text.length
  while (start < end && isBlank(text.charCodeAt(start))) start += 1
  while (end > start && isBlank(text.charCodeAt(end - 1))) end -= 1
  return text.slice(start, end)
}

/** What stands between the outer brackets, cut at their commas; undefined when they do not enclose the whole text. */
function partsOf(text: string, open: string, close: string, most = Infinity): readonly string[] | undefined {
  const whole = trimBlank(text)
  if (!whole.startsWith(open) || !whole.endsWith(close)) return undefined
  const parts: string[] = []
  let depth = 0
  let start = 1
  for (let at = 0; at < whole.length; at += 1) {
    const code = whole.charCodeAt(at)
    if (code === QUOTE) at = endOfString(whole, at)
    else if (code === SQUARE_OPEN || code === CURLY_OPEN) depth += 1
    else if (code === SQUARE_CLOSE || code === CURLY_CLOSE) {
      depth -= 1
      if (depth > 0) continue
      return at === whole.length - 1 ? [...parts, whole.slice(start, at)] : undefined
    } else if (code === COMMA && depth === 1) {
      parts.push(whole.slice(start, at))
      if (parts.length > most) return parts
      start = at + 1
    }
  }
  return undefined
}

const QUOTE = 0x22
const BACKSLASH = 0x5c
const COMMA = 0x2c
const SQUARE_OPEN = 0x5b
const SQUARE_CLOSE = 0x5d
const CURLY_OPEN = 0x7b
const CURLY_CLOSE = 0x7d

/** Where the string that begins at `from` ends; the end of the text when it does not. */
function endOfString(text: string, from: number): number {
  for (let at = from + 1; at < text.length; at += 1) {
    const code = text.charCodeAt(at)
    if (code === BACKSLASH) at += 1
    else if (code === QUOTE) return at
  }
  return text.length
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09 || code === 0x0a || code === 0x0d
}
