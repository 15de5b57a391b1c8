import assert from 'node:assert/strict'
import { test } from 'node:test'
import { object, optional, pipe, regex, string } from 'valibot'
import { judge } from '../../../agent/config/judge.ts'
import { formatProblems } from '../../../agent/config/problems.ts'
import { describeKeys, setting, table } from '../../../agent/config/setting.ts'
import { showValue, veil } from '../../../agent/config/show.ts'

const schema = object({
  sas: table('A table with a secret.', {
    key: setting(pipe(string(), regex(/^[a-z]+$/)), { description: 'A secret.', example: 'abc', secret: true }),
    name: optional(setting(string(), { description: 'No secret.' }), 'x'),
  }),
})

test('a secret that is wrong is named without its value', () => {
  const findings = new Map([['sas.key', { value: 'TopSecret1', origin: 'environment SAS_KEY' }]])
  const judged = judge(schema, describeKeys(schema), findings)
  assert.ok(!judged.ok)
  assert.deepEqual(
    judged.problems.map(({ key, value, origin }) => ({ key, value, origin })),
    [{ key: 'sas.key', value: undefined, origin: 'environment SAS_KEY' }],
  )
  assert.doesNotMatch(formatProblems(judged.problems), /TopSecret1/)
  assert.equal(veil({ secret: true }, 'TopSecret1'), '***')
  assert.equal(veil({ secret: true }, undefined), undefined)
  assert.equal(veil({}, 'plain'), 'plain')
})

const programs: readonly (readonly [value: unknown, shown: unknown])[] = [
  [
    ['/usr/bin/curl', '-H', 'TopSecret1'],
    ['/usr/bin/curl', '…'],
  ],
  [['/usr/bin/true'], ['/usr/bin/true']],
  ['/usr/bin/curl -H TopSecret1', '/usr/bin/curl…'],
  [
    ['curl TopSecret1', 'x'],
    ['curl…', '…'],
  ],
  [
    ['TOKEN=TopSecret1', '/bin/x'],
    ['TOKEN…', '…'],
  ],
  [[['/bin/sh', 'TopSecret1']], [['/bin/sh', '…']]],
  [[{ secret: 'TopSecret1' }], ['…']],
  [[], []],
  [7, 7],
  [undefined, undefined],
]

for (const [value, shown] of programs) {
  test(`of a command line only the program is shown: ${JSON.stringify(value)}`, () => {
    assert.deepEqual(veil({ commandLine: true }, value), shown)
  })
}

test('a rule over several keys sees defaults and sound values only', () => {
  const seen: unknown[] = []
  judge(schema, describeKeys(schema), new Map([['sas.key', { value: 7, origin: 'f' }]]), [
    (values) => {
      seen.push([...values])
      return []
    },
  ])
  assert.deepEqual(seen, [[['sas.name', 'x']]])
})

test('a shown value is one bounded line that moves no terminal', () => {
  assert.equal(showValue('a"b\n\u001b[2J\u009b1m'), String.raw`"a\"b\n\u001b[2J\u009b1m"`)
  assert.equal(showValue(Number.NaN), '"NaN"')
  assert.ok(showValue('x'.repeat(10_000)).length < 150)
})

test('problems are shown as one block each, with number, key, value, place and remedy', () => {
  const text = formatProblems([
    { key: 'log.level', value: '"loud"', problem: 'No.', remedy: 'Write info.', origin: '/etc/c.toml' },
    { key: undefined, value: undefined, problem: 'It is not UTF-8 text.', remedy: 'Look.', origin: '/etc/d.toml' },
  ])
  assert.equal(
    text,
    `CONFIG_INVALID: the configuration has 2 problems:

1. log.level
   problem:  No.
   value:    "loud"
   found in: /etc/c.toml
   remedy:   Write info.

2. /etc/d.toml
   problem:  It is not UTF-8 text.
   remedy:   Look.
`,
  )
})
