/** What is made from the commands and from the changelog for those who install the package. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { program } from '../../../agent/command-line.ts'
import { bashCompletion } from '../../../scripts/packaging/completions.ts'
import { copyrightOf } from '../../../scripts/packaging/copyright.ts'
import { changelogOf } from '../../../scripts/packaging/documents.ts'
import { leaves, manualPage } from '../../../scripts/packaging/man.ts'
import { sbomOf } from '../../../scripts/packaging/sbom.ts'
import { makeTemporaryFolder } from '../../kit/openssl.ts'

const run = promisify(execFile)

const about = {
  name: 'iot-device-agent',
  version: '0.1.0',
  arch: 'arm64',
  withRuntime: true,
  sourceTimeMs: Date.UTC(2026, 10, 24, 12),
} as const

const component = {
  name: '@pinojs/redact',
  version: '1.0.0',
  licence: 'MIT',
  text: 'First line\n\nSecond line',
  integrity: `sha512-${Buffer.from('00ff', 'hex').toString('base64')}`,
}

test('the manual page has every command', () => {
  const page = manualPage(program, about)
  for (const { words } of leaves(program, []))
    assert.ok(page.includes(`\\fB${words.join(' ').replaceAll('-', '\\-')}\\fR`), words.join(' '))
})

/** What bash offers after these words. */
async function offered(...words: readonly string[]): Promise<readonly string[]> {
  await using folder = await makeTemporaryFolder()
  const file = join(folder.path, 'completion')
  await writeFile(file, bashCompletion(program))
  const script = `. "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _iot_device_agent; printf '%s\\n' "\${COMPREPLY[@]}"`
  const { stdout } = await run('bash', ['-c', script, 'bash', file, 'iot-device-agent', ...words])
  return stdout.trim().split('\n')
}

test('bash completes commands, the commands within a command, choices and options', async () => {
  assert.deepEqual(await offered('acc'), ['accept-machine'])
  assert.deepEqual(await offered('config', ''), ['check', 'list', 'show-origin'])
  assert.deepEqual(await offered('auth', 's'), ['sas'])
  assert.deepEqual(await offered('config', 'list', '--d'), ['--doc'])
  assert.deepEqual(await offered('status', '--'), ['--json'])
})

test('the changelog is one of Debian: newest version only, lines of at most 80 characters, a date', () => {
  const word = 'durability'
  const text = changelogOf(
    about,
    `# Changelog\n\n## 0.1.0\n\n- ${`${word} `.repeat(20)}\n  more\n\n## 0.0.9\n\n- old\n`,
  )
  const lines = text.split('\n')
  assert.equal(lines[0], 'iot-device-agent (0.1.0) unstable; urgency=medium')
  assert.ok(lines.filter((line) => !line.startsWith(' --')).every((line) => line.length <= 80))
  assert.doesNotMatch(text, /old/)
  assert.match(text, /^ -- .+ <.+@.+>  Tue, 24 Nov 2026 12:00:00 \+0000$/m)
})

test('the copyright file passes on every licence, in the form of Debian', () => {
  const text = copyrightOf('MIT License\n\nCopyright (c) 2026 us\n\nPermission is hereby granted', [component])
  assert.match(text, /^Format: https:\/\/www\.debian\.org\//)
  assert.match(text, /Comment: @pinojs\/redact 1\.0\.0, MIT\n First line\n \.\n Second line\n/)
})

test('the bill of materials names each part by its purl and the hash of what was fetched', () => {
  const first = sbomOf(about, [component])
  const { components, serialNumber } = JSON.parse(first) as {
    components: readonly { purl: string; hashes: readonly unknown[] }[]
    serialNumber: string
  }
  // Source: package-url specification, the npm type: the @ of a scope is encoded.
  assert.equal(components[0]?.purl, 'pkg:npm/%40pinojs/redact@1.0.0')
  assert.deepEqual(components[0]?.hashes, [{ alg: 'SHA-512', content: '00ff' }])
  assert.match(serialNumber, /^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$/)
  assert.equal(sbomOf(about, [component]), first)
})
