/** The query language: which rows come back, and what is said of a query that is not spoken. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseQuery } from '../cloud/service/query-parse.ts'
import { runQuery } from '../cloud/service/query-run.ts'

const devices = [
  {
    ...{ deviceId: 'a', status: 'enabled', authenticationType: 'sas', connectionState: 'Connected' },
    tags: { wave: 'pilot', floor: 1 },
    properties: { desired: { auth: { mode: 'x509' } }, reported: { auth: { mode: 'sas' }, temperature: 20.5 } },
  },
  {
    ...{ deviceId: 'b', status: 'disabled', authenticationType: 'selfSigned', connectionState: 'Disconnected' },
    tags: { wave: 'main', floor: 2 },
    properties: { desired: {}, reported: { auth: { mode: 'x509' }, ok: true, temperature: -3 } },
  },
  {
    ...{ deviceId: "c'd", status: 'enabled', authenticationType: 'selfSigned', connectionState: 'Disconnected' },
    tags: {},
    properties: { desired: {}, reported: { gone: null } },
  },
]

function rows(text: string): Record<string, unknown>[] {
  const parsed = parseQuery(text)
  assert.ok(parsed.ok, parsed.ok ? '' : parsed.problem)
  return runQuery(parsed.value, devices)
}

function ids(where: string): unknown[] {
  return rows(`SELECT * FROM devices WHERE ${where}`).map((row) => row['deviceId'])
}

for (const [where, expected] of [
  ["deviceId = 'a'", ['a']],
  ['deviceId = "a"', ['a']],
  ["deviceId = 'A'", []],
  ["deviceId = 'c''d'", ["c'd"]],
  ["status = 'enabled'", ['a', "c'd"]],
  ["status != 'enabled'", ['b']],
  ["status <> 'enabled'", ['b']],
  ["authenticationType = 'selfSigned' AND connectionState = 'Disconnected'", ['b', "c'd"]],
  ["tags.wave = 'pilot' OR tags.floor > 1", ['a', 'b']],
  ['tags.floor < 2', ['a']],
  ['tags.floor >= 1', ['a', 'b']],
  ['tags.floor <= 1', ['a']],
  ["NOT tags.wave = 'pilot'", ['b']],
  ["tags.wave != 'pilot'", ['b']],
  ["tags.wave IN ['pilot', 'main']", ['a', 'b']],
  ["tags.wave IN ('pilot')", ['a']],
  ["tags.wave NIN ['pilot']", ['b']],
  ["tags.wave NOT IN ['pilot']", ['b']],
  ['is_defined(properties.reported.auth.mode)', ['a', 'b']],
  ['NOT IS_DEFINED(properties.reported.auth.mode)', ["c'd"]],
  ["properties.desired.auth.mode = 'x509'", ['a']],
  ['properties.reported.ok = true', ['b']],
  ['properties.reported.temperature < -2.5', ['b']],
  ['properties.reported.gone = null', ["c'd"]],
  ['properties.reported.temperature > tags', undefined],
  ["deviceId = 'a' OR deviceId = 'b' AND status = 'enabled'", ['a']],
  ["(deviceId = 'a' OR deviceId = 'b') AND status = 'disabled'", ['b']],
  ["tags.floor > 'a'", []],
  ["tags.constructor = 'x' OR is_defined(tags.toString)", []],
] as const)
  test(`WHERE ${where}`, () => {
    if (expected === undefined) assert.equal(parseQuery(`SELECT * FROM devices WHERE ${where}`).ok, false)
    else assert.deepEqual(ids(where), expected)
  })

test('fields are projected by their last name or their alias, and what is absent is left out', () => {
  assert.deepEqual(
    rows("SELECT deviceId, tags.wave, properties.reported.auth.mode AS auth FROM devices WHERE deviceId != 'b'"),
    [{ deviceId: 'a', wave: 'pilot', auth: 'sas' }, { deviceId: "c'd" }],
  )
})

test('COUNT counts all rows, also none, and groups with what they are grouped by', () => {
  assert.deepEqual(rows('SELECT COUNT() AS n FROM devices'), [{ n: 3 }])
  assert.deepEqual(rows("SELECT COUNT() AS n FROM devices WHERE deviceId = 'x'"), [{ n: 0 }])
  assert.deepEqual(rows('select authenticationType, count() as n from devices group by authenticationType'), [
    { authenticationType: 'sas', n: 1 },
    { authenticationType: 'selfSigned', n: 2 },
  ])
})

for (const [query, problem] of [
  ['', /expected SELECT/],
  ['DELETE FROM devices', /expected SELECT/],
  ['SELECT * WHERE a = 1', /expected FROM/],
  ['SELECT * FROM devices WHERE', /expected a name/],
  ['SELECT * FROM devices WHERE tags.a', /not supported after tags\.a/],
  ['SELECT * FROM devices WHERE tags.a = b', /expected a value and not b/],
  ['SELECT * FROM devices WHERE tags.a LIKE 1', /LIKE is not supported/],
  ["SELECT * FROM devices WHERE STARTSWITH(deviceId, 'a')", /STARTSWITH is not supported/],
  ['SELECT AVG(tags.floor) FROM devices', /AVG is not supported/],
  ['SELECT TOP 5 * FROM devices', /expected FROM and not 5/],
  ['SELECT * FROM devices ORDER BY deviceId', /ORDER is not supported/],
  ['SELECT deviceId, COUNT() AS n FROM devices', /deviceId stands beside COUNT/],
  ['SELECT status FROM devices GROUP BY status', /needs COUNT/],
  ['SELECT * FROM devices WHERE (tags.a = 1', /expected \)/],
  ['SELECT * FROM devices; DROP', /cannot read the query from: ; DROP/],
  ["SELECT * FROM devices WHERE deviceId = 'open", /cannot read/],
  [`SELECT * FROM devices WHERE ${'('.repeat(5000)}`, /deeper than 50/],
  [`SELECT * FROM devices WHERE deviceId = '${'x'.repeat(9000)}'`, /longer than 8192/],
] as const)
  test(`the query ${query.slice(0, 60)} is refused with its reason`, () => {
    const parsed = parseQuery(query)
    assert.ok(!parsed.ok)
    assert.match(parsed.problem, problem)
  })
