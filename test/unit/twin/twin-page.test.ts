import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import model from '../../../docs/model/iot-device-agent-1.json' with { type: 'json' }
import { readDesired } from '../../../agent/twin/desired.ts'
import { isObject } from '../../../agent/twin/json.ts'
import { readModel } from '../../../scripts/pages/model.ts'
import { applyConfiguration } from '../../cloud/service/configuration.ts'
import { parseQuery } from '../../cloud/service/query-parse.ts'

const page = await readFile(new URL('../../../docs/twin.md', import.meta.url), 'utf8')

function blocks(language: string): readonly string[] {
  const pattern = new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, 'gm')
  return [...page.matchAll(pattern)].map(([, block = '']) => block)
}

const jsonBlocks = blocks('json').map((block) => JSON.parse(block) as Record<string, unknown>)

const desiredExamples = [...page.matchAll(/--desired '(.*)'$/gm)].map(([, json = '']) => json)

/** Content of a configuration: paths of the twin and what is put there. */
const contents = jsonBlocks.flatMap(({ deviceContent }) => (isObject(deviceContent) ? [deviceContent] : []))

/** `{'properties.desired.auth.mode': 'x509'}` → `{auth: {mode: 'x509'}}` */
function desiredOf(content: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const [[path, value] = ['', undefined]] = Object.entries(content)
  assert.match(path, /^properties\.desired\./)
  const keys = path.split('.').slice(2)
  return keys.reduceRight<unknown>((inner, key) => ({ [key]: inner }), value) as Record<string, unknown>
}

/** Asserts that a device follows all of it, and that there is something to follow. */
function assertFollowed(desired: object): void {
  const read = readDesired({ ...desired, $version: 7 })
  assert.ok(read.ok)
  assert.deepEqual(read.value.refusals, [])
}

test('there are examples of each kind', () => {
  assert.ok(desiredExamples.length >= 6)
  assert.equal(contents.length, 3)
})

for (const json of desiredExamples) {
  test(`a device follows what the page writes: ${json}`, () => assertFollowed(JSON.parse(json) as object))
}

for (const content of contents) {
  test(`a device follows the configuration ${JSON.stringify(content)}`, () => {
    const read = readDesired({ ...desiredOf(content), $version: 7 })
    assert.ok(read.ok)
    assert.deepEqual(read.value.refusals, [])
    assert.equal(Object.keys(read.value.wishes).length, 1)
  })
}

const metrics = jsonBlocks.flatMap(({ queries }) => (isObject(queries) ? Object.values(queries).map(String) : []))
const queries = [...blocks('sql').map((query) => query.trim()), ...metrics]
const { properties } = readModel(model)

test('there are queries, and metrics of a configuration', () => {
  assert.equal(metrics.length, 4)
  assert.ok(queries.length >= 9)
})

for (const query of queries) {
  test(`the query is one that a hub understands, over what a device reports: ${query.slice(0, 90)}`, () => {
    const parsed = parseQuery(query)
    assert.ok(parsed.ok, parsed.ok ? '' : parsed.problem)
    for (const [, part, path = ''] of query.matchAll(/properties\.(reported|desired)\.([\w.]+)/g)) {
      const known = properties.find((property) => property.path === path)
      assert.ok(known !== undefined, path)
      assert.equal(part === 'desired' && !known.writable, false, path)
    }
    for (const [, path = '', values = ''] of query.matchAll(/reported\.([\w.]+) (?:=|!=|IN) ('\w+'|\[[^\]]*\])/g)) {
      const { type = '' } = properties.find((property) => property.path === path) ?? {}
      for (const [, value = ''] of values.matchAll(/'(\w+)'/g)) assert.ok(type.includes(`\`${value}\``), value)
    }
  })
}

test('the target condition of the page is one that a hub understands', () => {
  const conditions = [...page.matchAll(/--target-condition "(.*?)"/g)].map(([, condition = '']) => condition)
  assert.equal(conditions.length, 2)
  for (const targetCondition of conditions) {
    const hub = { identities: () => [] } as unknown as Parameters<typeof applyConfiguration>[0]
    assert.deepEqual(applyConfiguration(hub, { targetCondition, desired: {} }), [])
  }
})

test('each link of the page to a place of its own leads somewhere', () => {
  const headings = [...page.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) => heading.toLowerCase())
  const anchors = headings.map((heading) => heading.replaceAll(/[^\w -]/g, '').replaceAll(' ', '-'))
  for (const [, link = ''] of page.matchAll(/\]\(#([^)]*)\)/g)) assert.ok(anchors.includes(link), link)
})
