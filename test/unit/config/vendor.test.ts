import assert from 'node:assert/strict'
import { join } from 'node:path'
import test from 'node:test'
import { loadConfig } from '../../../agent/config/load.ts'
import { makeMachine, raspberryPi } from '../../kit/machines.ts'
import { configOf, makeConfigFolder, onlyProblem } from './folder.ts'

/** The configuration of these files, those below `vendor/` by the builder of the image. */
async function load(files: Readonly<Record<string, string>>, environment = {}) {
  await using folder = await makeConfigFolder({ 'etc/config.d/.keep': '', ...files })
  await using machine = await makeMachine(raspberryPi)
  const loaded = loadConfig({
    environment,
    folder: join(folder.path, 'etc'),
    vendorFolder: join(folder.path, 'vendor'),
    machine,
  })
  return { loaded, path: folder.path }
}

const image = '[device]\nregistrationId = "press-{serial}"\n[dps]\nidScope = "0neIMAGE"\n[log]\nlevel = "warn"\n'

test('the defaults of an image are a whole configuration, with nothing in /etc', async () => {
  const { loaded, path } = await load({ 'vendor/10-fleet.toml': image })
  assert.equal(configOf(loaded).device.registrationId, 'press-10000000abcdef01')
  assert.equal(configOf(loaded).dps.idScope, '0neIMAGE')
  assert.equal(loaded.ok && loaded.origins['dps.idScope'], join(path, 'vendor/10-fleet.toml'))
})

test('whatever the owner of the device says is stronger, key by key; among themselves the names decide', async () => {
  const { loaded, path } = await load(
    {
      'vendor/10-fleet.toml': image,
      'vendor/20-plant.toml': '[dps]\nidScope = "0nePLANT"\n[hub]\nkeepAliveSeconds = 30\n',
      'vendor/config.toml.orig': 'not TOML',
      'vendor/.hidden.toml': 'not TOML',
      'etc/config.toml': '[device]\nregistrationId = "press-07"\n',
    },
    { IOT_AGENT_LOG_LEVEL: 'debug' },
  )
  const config = configOf(loaded)
  assert.deepEqual(
    [config.device.registrationId, config.dps.idScope, config.hub.keepAliveSeconds, config.log.level],
    ['press-07', '0nePLANT', 30, 'debug'],
  )
  assert.deepEqual(loaded.ok && loaded.overridden['device.registrationId'], [join(path, 'vendor/10-fleet.toml')])
})

const measurement = (program: string) =>
  `[[telemetry.command]]\nname = "boiler"\nprogram = ["${program}"]\nintervalSeconds = 60\n`

test('a measurement of the image is replaced by one of the same name', async () => {
  const { loaded } = await load({
    'vendor/10-fleet.toml': image + measurement('/usr/bin/of-image'),
    'etc/config.d/10-own.toml': measurement('/usr/bin/of-owner'),
  })
  assert.deepEqual(
    configOf(loaded).telemetry.command.map((each) => each.program),
    [['/usr/bin/of-owner']],
  )
})

test('a file of the image that is no TOML is a problem with its place', async () => {
  const { loaded, path } = await load({ 'vendor/10-fleet.toml': '[device' })
  assert.match(onlyProblem(loaded).origin ?? '', new RegExp(`^${path}/vendor/10-fleet\\.toml:1:`))
})
