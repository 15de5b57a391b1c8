import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { arrows, findViolations } from './kit/structure.ts'

const agent = new URL('../agent/', import.meta.url).pathname

async function readSources(): Promise<Map<string, string>> {
  const names = await readdir(agent, { recursive: true })
  const files = names.filter((name) => name.endsWith('.ts') && !name.endsWith('.d.ts'))
  return new Map(
    await Promise.all(files.map(async (name) => [name, await readFile(join(agent, name), 'utf8')] as const)),
  )
}

/** The whole tree with one more file in it. */
async function withFile(path: string, source: string): Promise<Map<string, string>> {
  return new Map([...(await readSources()), [path, source]])
}

test('every import of the agent follows an arrow of ARCHITECTURE.md, and pure modules are pure', async () => {
  assert.deepEqual(findViolations(await readSources()), [])
})

const broken: readonly (readonly [name: string, path: string, source: string, rule: RegExp])[] = [
  [
    'telemetry that knows the hub',
    'telemetry/x.ts',
    `import { openSession } from '../hub/session.ts'`,
    /no arrow from telemetry to hub/,
  ],
  [
    'credential that knows provisioning',
    'credential/x.ts',
    `import { register } from '../provision/dps.ts'`,
    /no arrow/,
  ],
  [
    'credential that knows the hub lazily',
    'credential/x.ts',
    `const m = await import('../hub/session.ts')`,
    /no arrow/,
  ],
  [
    'credential that re-exports an issuer',
    'credential/x.ts',
    `export { folderIssuer } from '../issue/folder.ts'`,
    /no arrow/,
  ],
  [
    'a command that opens a hub session',
    'commands/x.ts',
    `import {\n  openSession,\n} from '../hub/session.ts'`,
    /no arrow/,
  ],
  ['a second door to the SDK', 'telemetry/x.ts', `import iot from 'azure-iot-device'`, /only the adapters/],
  ['MQTT outside the adapters', 'control/x.ts', `import mqtt from 'mqtt'`, /only the adapters/],
  ['a second door to time', 'hub/x.ts', 'export const at = Date.now()', /only system\/clock.ts/],
  ['a timer outside the clock', 'telemetry/x.ts', 'setTimeout(() => undefined, 10)', /only system\/clock.ts/],
  [
    'a pure module that reads a file',
    'twin/x.ts',
    `import { readFile } from 'node:fs/promises'`,
    /is pure and imports/,
  ],
  [
    'a pure module that rolls dice',
    'hub/supervise-policy.ts',
    'export const chance = Math.random()',
    /is pure and uses/,
  ],
  ['twin that runs code of the vault', 'twin/x.ts', `import { openVault } from '../credential/vault.ts'`, /no arrow/],
  ['a folder that nobody designed', 'misc/x.ts', 'export const x = 1', /in no folder/],
]

for (const [name, path, source, rule] of broken) {
  test(`the check notices ${name}`, async () => {
    const found = findViolations(await withFile(path, source))
    assert.equal(found.length > 0, true)
    assert.match(found.join('\n'), rule)
  })
}

test('twin may know the shape of a credential, and comments are not code', async () => {
  const source = `/** Not Date.now() here. */\nimport type { X509Credential } from '../credential/vault.ts'\n// setTimeout is not here`
  assert.deepEqual(findViolations(await withFile('twin/x.ts', source)), [])
})

test('ARCHITECTURE.md shows the arrows that the check enforces', async () => {
  const page = await readFile(new URL('../ARCHITECTURE.md', import.meta.url), 'utf8')
  for (const [from, to] of Object.entries(arrows)) {
    if (to.includes('*') || from.endsWith('.ts')) continue
    const names = to.map((name) => name.replace('.ts', '')).join(', ')
    assert.ok(
      page.includes(`| \`${from}\` | ${names} |`),
      `ARCHITECTURE.md lacks the row of ${from}: | \`${from}\` | ${names} |`,
    )
  }
})
