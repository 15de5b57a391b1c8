/** First line of a generated section. */
const openingOf = (name: string): string => `<!-- generated: ${name} -->`

/** Last line of a generated section. */
const CLOSING = '<!-- end -->'

/**
 * Puts `body` between the lines `<!-- generated: NAME -->` and `<!-- end -->` of a page; everything else stays.
 *
 * @throws Error when the opening is not there exactly once, or no end follows before the next opening
 */
export function replaceBetweenMarkers(text: string, name: string, body: string): string {
  const lines = text.split('\n')
  const start = lines.indexOf(openingOf(name))
  if (start === -1) throw new Error(`the page has no line: ${openingOf(name)}`)
  if (lines.lastIndexOf(openingOf(name)) !== start) throw new Error(`the page has twice: ${openingOf(name)}`)
  const end = lines.indexOf(CLOSING, start)
  const next = lines.findIndex((line, index) => index > start && line.startsWith('<!-- generated: '))
  if (end === -1 || (next !== -1 && next < end)) throw new Error(`no ${CLOSING} follows ${openingOf(name)}`)
  if (body.split('\n').some((line) => line === CLOSING || line.startsWith('<!-- generated: '))) {
    throw new Error(`what is generated for ${name} holds a marker of its own`)
  }
  return [...lines.slice(0, start + 1), body.replace(/\n+$/, ''), ...lines.slice(end)].join('\n')
}
