import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { runConfigCheck, runConfigList, runConfigShowOrigin } from '../../../agent/commands/config.ts'
import { configSchema } from '../../../agent/config/schema.ts'
import { describeKeys, describeTables } from '../../../agent/config/setting.ts'
import { enough, makeConfigFolder } from './folder.ts'

/** Every key of the schema; of a list without entries the list itself. */
const plainKeys = describeTables(configSchema).flatMap(({ keys, list }) =>
  (list === undefined ? keys : [list]).map(({ key }) => key),
)

function createOutput() {
  const written = { out: '', err: '' }
  return {
    written,
    stdout: (text: string) => void (written.out += text),
    stderr: (text: string) => void (written.err += text),
  }
}

test('config check ends with 0 for a good configuration', async () => {
  await using folder = await makeConfigFolder({})
  const io = createOutput()
  assert.equal(runConfigCheck(io, { environment: enough, folder: folder.path }), 0)
  assert.match(io.written.out, /press-07/)
  assert.equal(io.written.err, '')
})

test('config check names every problem on stderr and ends with 78', async () => {
  await using folder = await makeConfigFolder({ 'config.toml': 'dps.hots = 1\nlog.level = "loud"\n' })
  const io = createOutput()
  assert.equal(runConfigCheck(io, { environment: {}, folder: folder.path }), 78)
  for (const key of ['dps.hots', 'log.level', 'device.registrationId', 'dps.idScope']) {
    assert.ok(io.written.err.includes(key), key)
  }
  assert.equal(io.written.out, '')
})

test('config list shows every key with its value and origin', async () => {
  await using folder = await makeConfigFolder({ 'config.toml': 'log.level = "warn"\n' })
  const io = createOutput()
  const options = { environment: enough, folder: folder.path }
  assert.equal(runConfigList(io, options, { json: true }), 0)
  const rows = JSON.parse(io.written.out) as { key: string; value: unknown; origin: string }[]
  assert.deepEqual(
    rows.map(({ key }) => key),
    plainKeys,
  )
  const row = (key: string) => rows.find((one) => one.key === key)
  assert.deepEqual(row('log.level'), { key: 'log.level', value: 'warn', origin: join(folder.path, 'config.toml') })
  assert.deepEqual(row('dps.idScope')?.origin, 'environment DPS_ID_SCOPE')
  assert.equal(row('tls.caFile')?.value, null)
  assert.deepEqual(row('issuer.folder'), {
    key: 'issuer.folder',
    value: '/var/lib/iot-device-agent',
    origin: 'follows paths.stateDir',
  })
  const text = createOutput()
  runConfigList(text, options)
  assert.match(text.written.out, /^log\.level = "warn" +\/.*config\.toml$/m)
})

test('config list of an invalid configuration ends with 78, in JSON with the problems on stdout', async () => {
  await using folder = await makeConfigFolder({ 'config.toml': 'log.level = "loud"\n' })
  const io = createOutput()
  assert.equal(runConfigList(io, { environment: enough, folder: folder.path }, { json: true }), 78)
  const answer = JSON.parse(io.written.out) as { ok: boolean; problems: { key: string }[] }
  assert.equal(answer.ok, false)
  assert.equal(answer.problems[0]?.key, 'log.level')
})

test('config list --doc explains every key and its variable, also while the configuration is invalid', () => {
  const io = createOutput()
  assert.equal(runConfigList(io, { environment: {} }, { doc: true }), 0)
  const words = io.written.out.replaceAll(/\s+/g, ' ')
  for (const info of describeKeys(configSchema)) {
    assert.ok(words.includes(info.description), info.key)
    assert.ok(words.includes(info.environment ?? info.name), info.key)
  }
})

test('config show-origin names the place that counts and the places that lost', async () => {
  await using folder = await makeConfigFolder({
    'config.toml': 'log.level = "warn"\n',
    'config.d/a.toml': 'log.level = "error"\n',
  })
  const io = createOutput()
  const environment = { ...enough, IOT_AGENT_LOG_LEVEL: 'debug' }
  assert.equal(runConfigShowOrigin(io, { environment, folder: folder.path }), 0)
  const [line = ''] = io.written.out.split('\n').filter((one) => one.startsWith('log.level'))
  const [a, b] = [join(folder.path, 'config.d/a.toml'), join(folder.path, 'config.toml')]
  assert.equal(line.replace(/ +/, ' '), `log.level environment IOT_AGENT_LOG_LEVEL (overrides ${a}, ${b})`)
})
