import assert from 'node:assert/strict'
import { appendFile, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { parse } from 'smol-toml'
import { loadConfig } from '../../agent/config/load.ts'
import { configSchema } from '../../agent/config/schema.ts'
import { describeKeys } from '../../agent/config/setting.ts'
import { failureTable } from '../../agent/failure-table.ts'
import { configurationPage } from '../../scripts/pages/configuration.ts'
import { documents } from '../../scripts/pages/documents.ts'
import { exampleFile } from '../../scripts/pages/example.ts'
import { failuresPage, makeFailuresPage } from '../../scripts/pages/failures.ts'
import { findStale, writeStale } from '../../scripts/pages/generate.ts'
import { replaceBetweenMarkers } from '../../scripts/pages/markers.ts'
import { makeTemporaryFolder } from '../kit/openssl.ts'

const root = new URL('../../', import.meta.url).pathname

test('the generated documents are current: scripts/docs has nothing to write', async () => {
  assert.deepEqual(await findStale(root, documents), [])
})

test('a document that is missing or was edited is stale, and one run makes all current', async () => {
  await using folder = await makeTemporaryFolder()
  const all = documents.map(({ path }) => path)
  await mkdir(join(folder.path, 'docs'))
  await writeFile(join(folder.path, 'README.md'), '<!-- generated: demo -->\n<!-- end -->\n')
  const parts = ['desired', 'reported', 'warnings', 'methods', 'statuses']
  const twinParts = parts.map((name) => `<!-- generated: ${name} -->\n<!-- end -->\n`)
  await writeFile(join(folder.path, 'docs/twin.md'), twinParts.join(''))
  await writeFile(join(folder.path, 'docs/telemetry.md'), '<!-- generated: fields -->\n<!-- end -->\n')
  const sections = '<!-- generated: diagram -->\n<!-- end -->\n<!-- generated: steps -->\n<!-- end -->\n'
  await writeFile(join(folder.path, 'docs/transitions.md'), sections)
  await writeFile(join(folder.path, 'docs/renewal.md'), '<!-- generated: fleet -->\n<!-- end -->\n')
  assert.deepEqual(await findStale(folder.path, documents), all)
  assert.deepEqual(await writeStale(folder.path, documents), all)
  assert.deepEqual(await findStale(folder.path, documents), [])
  await appendFile(join(folder.path, 'docs/failures.md'), ' ')
  assert.deepEqual(await findStale(folder.path, documents), ['docs/failures.md'])
})

test('a page that is generated in part keeps what people wrote', async () => {
  await using folder = await makeTemporaryFolder()
  await mkdir(join(folder.path, 'docs'))
  await writeFile(join(folder.path, 'docs/a.md'), 'before\n<!-- generated: table -->\nold\n<!-- end -->\nafter\n')
  const made = { path: 'docs/a.md', make: (text = '') => replaceBetweenMarkers(text, 'table', 'new\n') }
  assert.deepEqual(await writeStale(folder.path, [made]), ['docs/a.md'])
  assert.equal(
    await readFile(join(folder.path, 'docs/a.md'), 'utf8'),
    'before\n<!-- generated: table -->\nnew\n<!-- end -->\nafter\n',
  )
  assert.deepEqual(await findStale(folder.path, [made]), [])
})

test('of two sections only the one that is named changes, and dollar signs in a body are text', () => {
  const text = '<!-- generated: a -->\n<!-- end -->\n<!-- generated: b -->\nB\n<!-- end -->\n'
  assert.equal(
    replaceBetweenMarkers(text, 'a', '$& $1'),
    '<!-- generated: a -->\n$& $1\n<!-- end -->\n<!-- generated: b -->\nB\n<!-- end -->\n',
  )
})

test('markers that are missing, doubled, unclosed or part of a body are refused', () => {
  const open = '<!-- generated: a -->\n'
  for (const text of [
    '',
    open,
    `${open}<!-- generated: b -->\n<!-- end -->`,
    `${open}<!-- end -->\n${open}<!-- end -->`,
  ]) {
    assert.throws(() => replaceBetweenMarkers(text, 'a', 'x'), text)
  }
  assert.throws(() => replaceBetweenMarkers(`${open}<!-- end -->\n`, 'a', 'x\n<!-- end -->\ny'))
})

test('the example with every key uncommented, but for one of two SAS secrets, is a configuration without problems, and holds every key once', async () => {
  const every = describeKeys(configSchema).map(({ key }) => key.replace('[]', '[0]'))
  const secrets = [
    'keyFile = "/etc/iot-device-agent/secrets/sas.key"',
    'connectionStringFile = "credential:iot-device-agent.connection-string"',
  ]
  for (const [index, commented] of secrets.entries()) {
    const uncommented = exampleFile().replaceAll(/^# (\w+ = .*|\[\[.*\]\])$/gm, (line, setting) =>
      setting === commented ? line : setting,
    )
    await using folder = await makeTemporaryFolder()
    await writeFile(join(folder.path, 'config.toml'), uncommented)
    const loaded = loadConfig({ environment: {}, folder: folder.path })
    assert.deepEqual(loaded.ok ? [] : loaded.problems, [])
    const absent = ['auth.sas.keyFile', 'auth.sas.connectionStringFile'][index]
    assert.deepEqual(
      Object.keys(loaded.ok ? loaded.origins : {}),
      every.filter((key) => key !== absent),
    )
  }
})

test('the example as it is shipped sets nothing', () => {
  const tree = parse(exampleFile())
  assert.deepEqual(JSON.parse(JSON.stringify(tree)), {
    ...Object.fromEntries(
      ['device', 'dps', 'hub', 'clock', 'methods', 'log', 'tls', 'paths'].map((name) => [name, {}]),
    ),
    issuer: { est: {}, dps: {} },
    auth: { x509: {}, sas: {}, renewal: {}, fallback: {} },
    telemetry: { outbox: {}, drain: {}, socket: {} },
  })
})

test('the page of the configuration names every key, default and variable', () => {
  const text = configurationPage()
  for (const info of describeKeys(configSchema)) {
    const row = text
      .split('\n')
      .find((line) => line.startsWith(`| \`${info.name}\` |`) && line.includes(info.description))
    assert.ok(row !== undefined, info.key)
    if (info.environment !== undefined) assert.ok(row.includes(`\`${info.environment}\``), info.key)
    if (info.defaultValue !== undefined) assert.ok(row.includes(JSON.stringify(info.defaultValue)), info.key)
  }
})

test('the page of the failures has one section a code with meaning and advice, and every link of it leads somewhere', () => {
  const text = failuresPage()
  for (const [code, entry] of Object.entries(failureTable)) {
    assert.equal(text.split(`\n### ${code}\n`).length, 2, code)
    assert.ok(text.includes(`${entry.meaning} (\`${entry.kind}\`)\n\n${entry.advice}\n`), code)
  }
  const headings = [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) => heading.toLowerCase())
  const anchors = new Set(headings.map((heading) => heading.replaceAll(/[^\w -]/g, '').replaceAll(' ', '-')))
  const links = [...text.matchAll(/\]\(#([^)]*)\)/g)].map(([, link = '']) => link)
  assert.ok(links.length > Object.keys(failureTable).length)
  assert.deepEqual(
    links.filter((link) => !anchors.has(link)),
    [],
  )
})

test('a code of an unknown family is not lost from the page', () => {
  const text = makeFailuresPage({ NOVEL_THING: { kind: 'broken', meaning: 'It is new.', advice: 'Look.' } })
  assert.match(text, /## Other\n\n### NOVEL_THING\n\nIt is new\. \(`broken`\)\n\nLook\./)
})
