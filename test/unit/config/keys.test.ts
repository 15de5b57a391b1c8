import assert from 'node:assert/strict'
import { test } from 'node:test'
import { configSchema } from '../../../agent/config/schema.ts'
import { describeKeys } from '../../../agent/config/setting.ts'
import { editDistance, suggestKey } from '../../../agent/config/suggest.ts'
import { loadText, onlyProblem, problemsOf } from './folder.ts'

const keys = describeKeys(configSchema)

const meant: readonly (readonly [written: string, key: string])[] = [
  ['dps.idscope', 'dps.idScope'],
  ['dps.id_scope', 'dps.idScope'],
  ['dps.id-scope', 'dps.idScope'],
  ['dps.idScpoe', 'dps.idScope'],
  ['dps.scopeId', 'dps.idScope'],
  ['dsp.idScope', 'dps.idScope'],
  ['id_scope', 'dps.idScope'],
  ['DPS_ID_SCOPE', 'dps.idScope'],
  ['provisioning_host', 'dps.host'],
  ['DPS_HOST', 'dps.host'],
  ['device.device_id', 'device.registrationId'],
  ['DEVICE_ID', 'device.registrationId'],
  ['registration_id', 'device.registrationId'],
  ['CERT_PATH', 'auth.x509.certificateFile'],
  ['auth.certPath', 'auth.x509.certificateFile'],
  ['auth.x509.cert_file', 'auth.x509.certificateFile'],
  ['auth.x509.key_path', 'auth.x509.keyFile'],
  ['auth.x509.keytype', 'auth.x509.keyType'],
  ['TELEMETRY_INTERVAL', 'telemetry.intervalSeconds'],
  ['telemetry.interval', 'telemetry.intervalSeconds'],
  ['telemetry.interval_seconds', 'telemetry.intervalSeconds'],
  ['telemetry.bufferSamples', 'telemetry.outbox.maxMegabytes'],
  ['telemetry.outbox.max_days', 'telemetry.outbox.maxDays'],
  ['telemetry.drain.rate', 'telemetry.drain.messagesPerSecond'],
  ['telemetry.socket.rate', 'telemetry.socket.samplesPerSecond'],
  ['outbox.maxMegabytes', 'telemetry.outbox.maxMegabytes'],
  ['hub.keepalive', 'hub.keepAliveSeconds'],
  ['logLevel', 'log.level'],
  ['log.levle', 'log.level'],
  ['tls.ca', 'tls.caFile'],
  ['paths.state_dir', 'paths.stateDir'],
  ['stateDir', 'paths.stateDir'],
  ['issuer.path', 'issuer.folder'],
  ['auth.sas.groupKey', 'auth.sas.keyFile'],
  ['auth.sas.symmetricKey', 'auth.sas.keyFile'],
  ['auth.symmetric_key', 'auth.sas.keyFile'],
  ['auth.sas.primaryKey', 'auth.sas.keyFile'],
  ['sharedAccessKey', 'auth.sas.keyFile'],
  ['auth.sas.deviceKey', 'auth.sas.keyFile'],
  ['auth.sas.key', 'auth.sas.keyFile'],
  ['auth.sas.key_file', 'auth.sas.keyFile'],
  ['auth.sas.connectionString', 'auth.sas.connectionStringFile'],
  ['auth.key', 'auth.x509.keyFile'],
  ['auth.auth_mode', 'auth.mode'],
  ['auth.fallback.untilDate', 'auth.fallback.until'],
  ['auth.fallback.holdOffMinutes', 'auth.fallback.holdOffSeconds'],
  ['auth.soakHours', 'auth.soakSeconds'],
  ['fallback.enabled', 'auth.fallback.enabled'],
  ['method.allowed', 'methods.allowed'],
]

for (const [written, key] of meant) {
  test(`who writes ${written} is told ${key}`, () => {
    assert.equal(suggestKey(written, keys)?.key, key)
  })
}

test('nothing is suggested for what resembles no key, however long the name of its table', () => {
  for (const written of [
    'proxy.url',
    'x',
    'auth.fallback.zzzz',
    'telemetry.socket.zzzzzz',
    '__proto__',
    'a'.repeat(100_000),
  ]) {
    assert.equal(suggestKey(written, keys), undefined, written.slice(0, 30))
  }
})

test('edit distance counts insertions, deletions, replacements and swaps of neighbours', () => {
  assert.equal(editDistance('', 'abc'), 3)
  assert.equal(editDistance('abc', ''), 3)
  assert.equal(editDistance('kitten', 'sitting'), 3)
  assert.equal(editDistance('hots', 'host'), 1)
  assert.equal(editDistance('host', 'host'), 0)
})

test('every key and every variable is there once, and every key says what it is for', () => {
  assert.equal(new Set(keys.map((info) => info.key)).size, keys.length)
  const variables = keys.flatMap((info) => info.environment ?? [])
  assert.equal(new Set(variables).size, variables.length)
  for (const info of keys) {
    assert.match(info.description, /^[A-Z].{20,}\.$/, info.key)
    assert.ok(info.defaultValue !== undefined || info.example !== undefined, `${info.key} shows no value`)
    assert.ok(info.required || info.defaultValue !== undefined || info.otherwise !== undefined, info.key)
  }
})

test('an unknown key is named whole, with a suggestion, and its value is not shown', async () => {
  const problem = onlyProblem(await loadText('[dps]\nid_scope = "0neSecret"\n'))
  assert.equal(problem.key, 'dps.id_scope')
  assert.match(problem.remedy, /Did you mean dps\.idScope\?/)
  assert.equal(problem.value, undefined)
  assert.doesNotMatch(JSON.stringify(problem), /0neSecret/)
})

const misplaced: readonly (readonly [name: string, text: string, keys: readonly string[]])[] = [
  ['keys of an unknown table', '[dsp]\nhots = 1\nidScope = 2\n', ['dsp.hots', 'dsp.idScope']],
  ['an empty unknown table', '[server]\n', ['server']],
  ['an inner table as a value', 'auth.fallback = true\n', ['auth.fallback']],
  ['a table where an inner value is expected', '[auth.mode]\nx = 1\n', ['auth.mode']],
  ['keys beside and below an inner table', '[auth]\nmod = 1\n[auth.sas]\nx = 2\n', ['auth.mod', 'auth.sas.x']],
  ['a key at the wrong level', '[auth]\nkeyType = "ec-p256"\n', ['auth.keyType']],
  ['a table too deep', '[dps.tls]\nhost = "a"\n', ['dps.tls.host']],
  ['a table where a value is expected', '[log.level]\nx = 1\n', ['log.level']],
  ['a value where a table is expected', 'dps = "0ne"\n', ['dps']],
  ['an array of tables', '[[log]]\nlevel = "info"\n', ['log']],
  ['an array where an inner table is expected', '[auth]\nx509 = []\n', ['auth.x509']],
  ['a dotted key in quotes', '"log.level" = "info"\n', ['"log.level"']],
  ['prototype keys', '__proto__ = 1\n[constructor]\nprototype = 2\n', ['__proto__', 'constructor.prototype']],
  ['a prototype table', '["__proto__"]\npolluted = true\n', ['__proto__.polluted']],
  ['names of inherited methods', '[dps]\ntoString = 1\nhasOwnProperty = 2\n', ['dps.toString', 'dps.hasOwnProperty']],
  ['terminal escapes in a name', '"\\u001b[2J" = 1\n', ['"\\u001b[2J"']],
]

for (const [name, text, expected] of misplaced) {
  test(`${name}: each wrong key is a problem of its own`, async () => {
    const problems = problemsOf(await loadText(text))
    assert.deepEqual(
      problems.map(({ key }) => key),
      expected,
    )
    assert.equal(Object.hasOwn(Object.prototype, 'polluted'), false)
  })
}

test('a required key that has a table in its place is one problem: it is not missing', async () => {
  const problem = onlyProblem(await loadText('[dps.idScope]\nx = 1\n', { DEVICE_ID: 'press-07' }))
  assert.match(problem.problem, /^A table stands/)
})

test('a file full of unknown keys gives a bounded list and the count of the rest', async () => {
  const text = Array.from({ length: 60_000 }, (_, index) => `k${index} = 1`).join('\n')
  const problems = problemsOf(await loadText(text))
  assert.equal(problems.length, 21)
  assert.match(problems.at(-1)?.problem ?? '', /^59980 more keys/)
})

test('a key that is nested very deeply is cut, not followed', async () => {
  const problem = onlyProblem(await loadText(`${'a.'.repeat(20_000)}a = 1\n`))
  assert.ok((problem.key?.length ?? 0) < 100)
})
