/** What a package says about itself: manual page, completions, copyright, changelog, contents, commented configuration. */
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { program } from '../../agent/command-line.ts'
import { maintainer } from './about.ts'
import type { PackageAbout } from './about.ts'
import { bashCompletion, fishCompletion, zshCompletion } from './completions.ts'
import type { Component } from './contents.ts'
import { copyrightOf } from './copyright.ts'
import { manualPage } from './man.ts'
import { sbomOf } from './sbom.ts'

const top = fileURLToPath(new URL('../..', import.meta.url))

/** Writes below `root`/usr/share and beside the program. */
export async function writeDocuments(
  root: string,
  about: PackageAbout,
  components: readonly Component[],
): Promise<void> {
  const example = await sourceText('packaging/config.example.toml')
  const doc = `usr/share/doc/${about.name}`
  const completions = 'usr/share/bash-completion/completions/iot-device-agent'
  const files: Readonly<Record<string, string | Buffer>> = {
    [`${doc}/copyright`]: copyrightOf(await sourceText('LICENSE'), components),
    [`${doc}/changelog.gz`]: packed(changelogOf(about, await sourceText('CHANGELOG.md'))),
    [`${doc}/config.example.toml`]: example,
    [`${doc}/sbom.cdx.json`]: sbomOf(about, components),
    'usr/lib/iot-device-agent/config.example.toml': example,
    'usr/share/man/man8/iot-device-agent.8.gz': packed(manualPage(program, about)),
    [completions]: bashCompletion(program),
    'usr/share/zsh/vendor-completions/_iot-device-agent': zshCompletion(program),
    'usr/share/fish/vendor_completions.d/iot-device-agent.fish': fishCompletion(program),
  }
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true })
    await writeFile(join(root, path), content)
  }
}

function sourceText(name: string): Promise<string> {
  return readFile(join(top, name), 'utf8')
}

/** The header of gzip has no name and no time here, so the same text gives the same bytes. */
function packed(text: string): Buffer {
  return gzipSync(text, { level: 9 })
}

/** Longest line of a Debian changelog, in characters. */
const LINE = 79

/** The changes of CHANGELOG.md as Debian writes them. Source: Debian Policy, section 4.4. */
export function changelogOf({ name, version, sourceTimeMs }: PackageAbout, markdown: string): string {
  const [, newest = ''] = markdown.split(/^## .*$/m)
  const items = newest.split(/^- /m).slice(1)
  const changes = items.map((item) => wrap(item.replace(/\s+/g, ' ').trim()))
  const date = new Date(sourceTimeMs).toUTCString().replace('GMT', '+0000')
  return `${name} (${version}) unstable; urgency=medium\n\n${changes.join('\n')}\n\n -- ${maintainer}  ${date}\n`
}

function wrap(text: string): string {
  const lines = ['  *']
  for (const word of text.split(' ')) {
    const longer = `${lines.at(-1) ?? ''} ${word}`
    if (longer.length <= LINE) lines[lines.length - 1] = longer
    else lines.push(`    ${word}`)
  }
  return lines.join('\n')
}
