/** Line under the title of every page that is generated whole. */
export const GENERATED = '<!-- Made by scripts/docs from the code. Edit the code, then run scripts/docs. -->'

/** A table of Markdown; cells may hold any text of one line. */
export function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.map(cell).join(' | ')} |`).join('\n')
}

/** Text as code; without a backtick in it, none of ours has one. */
export function code(text: string): string {
  return `\`${text}\``
}

/** The anchor that GitHub gives to a heading of plain words. */
export function anchor(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^a-z0-9_ -]/g, '')
    .replaceAll(' ', '-')
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ')
}
