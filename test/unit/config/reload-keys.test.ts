import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createLiveConfig } from '../../../agent/config/live.ts'
import { compareSettings, reloadKeys, takenUpBy } from '../../../agent/config/reload-keys.ts'
import type { Comparison } from '../../../agent/config/reload-keys.ts'
import { configSchema } from '../../../agent/config/schema.ts'
import { describeKeys } from '../../../agent/config/setting.ts'
import { configOf, loadText } from './folder.ts'

async function settingsOf(text: string) {
  return configOf(await loadText(text)).written
}

/** What a reload makes of this change. */
async function compared(before: string, after: string): Promise<Comparison> {
  return compareSettings(await settingsOf(before), await settingsOf(after))
}

test('it is decided for every key of the schema what takes it up, and for no other', () => {
  const keys = describeKeys(configSchema).map(({ key }) => key)
  assert.deepEqual(
    keys.filter((key) => takenUpBy(key) === undefined),
    [],
  )
  const names = new Set(keys.map((key) => key.replace(/\[\].*$/, '')))
  assert.deepEqual(
    Object.keys(reloadKeys).filter((key) => !names.has(key)),
    [],
  )
})

test('nothing has changed when the files say the same in other words', async () => {
  const same = await compared('', '[telemetry]\nintervalSeconds = 60\n[log]\nlevel = "info"\n')
  assert.deepEqual([same.taken, same.pending], [[], []])
})

test('what can be taken up is, and the rest keeps the value that it had and is named', async () => {
  const { settings, taken, pending } = await compared(
    '[telemetry]\nintervalSeconds = 60\n[paths]\nstateDir = "/var/lib/old"\n',
    '[telemetry]\nintervalSeconds = 5\n[paths]\nstateDir = "/var/lib/new"\n[dps]\nhost = "dps.example"\n',
  )
  assert.deepEqual(taken, ['telemetry.intervalSeconds'])
  assert.deepEqual(pending, ['dps.host', 'paths.stateDir'])
  assert.equal(settings.telemetry.intervalSeconds, 5)
  assert.equal(settings.paths.stateDir, '/var/lib/old')
  assert.equal(settings.dps.host, 'global.azure-devices-provisioning.net')
})

test('what waits for a restart waits no more once the files say again what they did', async () => {
  const old = await settingsOf('')
  const first = compareSettings(old, await settingsOf('[dps]\nhost = "dps.example"\n[log]\nlevel = "warn"\n'))
  assert.deepEqual(first.pending, ['dps.host'])
  const second = compareSettings(first.settings, await settingsOf('[log]\nlevel = "warn"\n'))
  assert.deepEqual([second.taken, second.pending], [[], []])
})

test('a value that is no longer written is taken out, and the default returns', async () => {
  const fallback = '[auth.fallback]\nretireAfterDays = 90\n'
  const { settings, taken } = await compared(`${fallback}[telemetry]\nbatchSamples = 10\n`, '')
  assert.deepEqual(taken, ['auth.fallback.retireAfterDays', 'telemetry.batchSamples'])
  assert.equal('retireAfterDays' in settings.auth.fallback, false)
  assert.equal(settings.telemetry.batchSamples, 1)
})

function entry(name: string, ...args: readonly string[]): string {
  return `[[telemetry.command]]\nname = "${name}"\nprogram = ${JSON.stringify(['/bin/echo', ...args])}\n`
}

test('programs are compared as a list: one more, one less, one argument more', async () => {
  for (const after of [entry('a') + entry('b'), '', entry('a', '{}')]) {
    const { settings, taken } = await compared(entry('a'), after)
    assert.deepEqual(taken, ['telemetry.command'])
    assert.deepEqual(settings.telemetry.command, (await settingsOf(after)).telemetry.command)
  }
})

const allowed = '[auth.fallback]\nenabled = true\nuntil = "2027-01-31"\nrefusals = 7\n'
const secret = '[auth.sas]\nkeyFile = "/etc/iot-device-agent/secrets/sas.key"\n'

test('a fallback that is allowed together with its first secret waits with it', async () => {
  const { settings, taken, pending } = await compared('', `${allowed}${secret}[log]\nlevel = "warn"\n`)
  assert.deepEqual(taken, ['log.level'])
  const waits = ['auth.sas.keyFile', 'auth.fallback.enabled', 'auth.fallback.until', 'auth.fallback.refusals']
  assert.deepEqual(pending, waits)
  assert.equal(settings.auth.fallback.enabled, false)
})

test('a fallback is allowed at once where the secret is there, and forbidden at once when that is to go', async () => {
  const given = await compared(secret, allowed + secret)
  assert.deepEqual([given.settings.auth.fallback.enabled, given.pending], [true, []])
  const gone = await compared(allowed + secret, '')
  assert.deepEqual([gone.settings.auth.fallback.enabled, gone.pending], [false, ['auth.sas.keyFile']])
})

test('whoever holds the configuration in force sees all values change together, with what follows from them', async () => {
  const live = createLiveConfig(configOf(await loadText('')))
  const { config } = live
  const before = config.clock
  live.replace(await settingsOf('[clock]\nskewSource = "off"\n[methods]\nallowed = "ping"\n'))
  assert.equal(before.skewSource, 'global.azure-devices-provisioning.net:443')
  assert.equal(config.clock.skewSource, 'off')
  assert.deepEqual(config.methods.allowed, ['ping'])
})
