/** Who made what, and under what terms. Source: Debian Policy 12.5, "Machine-readable debian/copyright file". */
import type { Component } from './contents.ts'

/** @param own text of our LICENSE file, which begins with its name */
export function copyrightOf(own: string, components: readonly Component[]): string {
  const holder = /Copyright \(c\) (.*)/.exec(own)?.[1] ?? ''
  const mit = own.slice(own.indexOf('Permission is hereby')).trim()
  return [
    `Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: iot-device-agent
Comment: The program holds parts of the works below, in one file. Each is named with
 its version, the terms that its package states, and the licence as it came.

Files: *
Copyright: ${holder}
License: Expat
${folded(mit)}
`,
    ...components.map(stanza),
  ].join('\n')
}

function stanza({ name, version, licence, text }: Component): string {
  const words = text === '' ? 'Its package holds no text of a licence; it states the terms named above.' : text
  return `Comment: ${name} ${version}, ${licence}
${folded(words)}
`
}

/** Lines after the first of a field begin with a blank; an empty one has a dot. */
function folded(text: string): string {
  return text
    .split(/\r?\n/)
    .map((line) => (line.trim() === '' ? ' .' : ` ${line.replace(/^\f/, '')}`))
    .join('\n')
}
