import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { table } from '../../agent/credential/lifecycle.ts'
import { failureTable } from '../../agent/failure-table.ts'
import { warningTable } from '../../agent/health/warning-table.ts'
import { readIfThere } from '../../agent/system/files.ts'
import { eventNames, legalSteps, phases } from '../../scripts/pages/steps.ts'
import type { Step } from '../../scripts/pages/steps.ts'
import { drawSteps, stepsTable } from '../../scripts/pages/transitions.ts'
import { missingTests, namedTests } from '../kit/named-tests.ts'

const root = new URL('../../', import.meta.url).pathname
const page = await readFile(join(root, 'docs/transitions.md'), 'utf8')

test('every test that the page of the transitions names exists', async () => {
  const named = namedTests(page)
  assert.ok(named.length > 30, `${named.length} tests are named`)
  assert.deepEqual(await missingTests(named, (file) => readIfThere(join(root, file))), [])
})

test('every row of what can happen names a test', () => {
  const rows = tableAfter('## What can happen')
  assert.ok(rows.length > 20)
  for (const row of rows) assert.notEqual(namedTests(row).length, 0, row)
})

test('a test that is only mentioned, that is called otherwise or whose file is gone counts as missing', async () => {
  const source = `// as 'in a comment', and so on\ntest('whole title', () => {})\ntest("it's quoted", () => {})\ntest('it\\'s', () => {})\ntest(\`a \${phase} cut\`, () => {})`
  const sourceOf = (file: string) => Promise.resolve(file === 'test/a.test.ts' ? source : undefined)
  const titles = [
    'whole title',
    "it's quoted",
    "it's",
    'whole',
    'title',
    'in a comment',
    'absent',
    'whole.title',
    'a … cut',
    'a … cat',
  ]
  const links = titles.map((title) => `[${title}](../test/a.test.ts)`)
  const named = namedTests([...links, '[whole title](../test/gone.test.ts)'].join('<br>'))
  assert.deepEqual(
    (await missingTests(named, sourceOf)).map(({ file, title }) => `${file} ${title}`),
    [
      ...['whole', 'title', 'in a comment', 'absent', 'whole.title', 'a … cat'].map(
        (title) => `test/a.test.ts ${title}`,
      ),
      'test/gone.test.ts whole title',
    ],
  )
})

test('every code that the page names is that of a failure or a warning', () => {
  const known = new Set([...Object.keys(failureTable), ...Object.keys(warningTable)])
  const codes = [...page.matchAll(/`([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)`/g)].map(([, code = '']) => code)
  assert.ok(codes.length > 20)
  assert.deepEqual(
    codes.filter((code) => !known.has(code)),
    [],
  )
})

test('every phase is explained, in the order of the table', () => {
  const explained = tableAfter('## What each phase means').map((row) => row.split('`')[1])
  assert.deepEqual(explained, Object.keys(table))
})

test('the steps are exactly the cells of the table, and what is adopted is said', () => {
  const cells = Object.entries(table).flatMap(([phase, row]) => Object.keys(row).map((event) => `${phase} ${event}`))
  const steps = legalSteps()
  assert.deepEqual(steps.map(({ from, event }) => `${from} ${event}`).toSorted(), cells.toSorted())
  assert.deepEqual(
    steps.filter(({ adopts }) => adopts).map(({ from, event }) => `${from} ${event}`),
    ['newborn prepared', 'committing committed'],
  )
  assert.deepEqual([phases.length, eventNames.length], [7, 11])
})

/** Three phases: one step down, one that stays, two that lead back by one line, and one that jumps over its neighbour. */
const few: readonly Step[] = [
  { from: 'steady', event: 'wanted', to: 'preparing', adopts: false },
  { from: 'steady', event: 'prepared', to: 'proving', adopts: true },
  { from: 'preparing', event: 'restarted', to: 'preparing', adopts: false },
  { from: 'preparing', event: 'failed', to: 'steady', adopts: false },
  { from: 'preparing', event: 'withdrawn', to: 'steady', adopts: false },
]

test('the drawing has a box for each phase, the way down, and beside a box what leads elsewhere or stays', () => {
  assert.equal(
    drawSteps(['steady', 'preparing', 'proving'], few),
    `┌───────────┐
│ steady    │  ── prepared * ─▶ proving
└───────────┘
     │ wanted
     ▼
┌───────────┐  ⟲  restarted
│ preparing │  ── failed, withdrawn ─▶ steady
└───────────┘

┌───────────┐
│ proving   │
└───────────┘`,
  )
})

test('the table of steps has a row for each phase, and an event that is ignored has an empty cell', () => {
  assert.equal(
    stepsTable(['steady', 'preparing'], ['wanted', 'prepared', 'restarted'], few),
    `|  | \`wanted\` | \`prepared\` | \`restarted\` |
| --- | --- | --- | --- |
| \`steady\` | preparing | proving * |  |
| \`preparing\` |  |  | stays |`,
  )
})

/** The rows of the first table below a heading. */
function tableAfter(heading: string): readonly string[] {
  const below = page.slice(page.indexOf(`\n${heading}\n`) + heading.length + 2).split('\n')
  const start = below.findIndex((line) => line.startsWith('| --- '))
  const end = below.findIndex((line, index) => index > start && !line.startsWith('|'))
  return below.slice(start + 1, end)
}
