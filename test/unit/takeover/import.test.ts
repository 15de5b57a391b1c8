import assert from 'node:assert/strict'
import { chmod, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { runImport } from '../../../agent/commands/import.ts'
import type { ImportOptions } from '../../../agent/commands/import.ts'
import { newRecord, takeSteps } from '../../../agent/takeover/apply.ts'
import { Failure } from '../../../agent/failure.ts'
import { findClient } from '../../../agent/takeover/find.ts'
import { moveAside } from '../../../agent/takeover/move.ts'
import { readPair } from '../../../agent/takeover/pair.ts'
import { planImport } from '../../../agent/takeover/plan.ts'
import { readRecord, steps } from '../../../agent/takeover/record.ts'
import type { Clock } from '../../../agent/system/clock.ts'
import { findWarnings } from '../../../agent/health/warnings.ts'
import {
  CONNECTION_STRING,
  createFakeMachine,
  DEVICE,
  lay,
  layPackage,
  layPair,
  layTutorial,
  picture,
  SECRET,
  unitText,
} from '../../kit/old-client.ts'
import type { Temper } from '../../kit/old-client.ts'
import { makeTemporaryFolder } from '../../kit/openssl.ts'

const OURS = 'iot-device-agent.service'
const TIMER = 'iot-device-agent-revive.timer'
/** The service runs, and the timer that revives it. */
const taken = [OURS, TIMER].map((unit) => [unit, `/usr/lib/systemd/system/${unit}`] as const)
const FOLDERS = ['/etc', '/var', '/usr', '/opt']

/** Time that passes only by waiting. */
function createClock(): Clock {
  let ms = 0
  const startMs = Date.now()
  return {
    now: () => startMs + ms,
    monotonicMs: () => ms,
    async wait(delayMs) {
      ms += delayMs
    },
  }
}

async function openMachine(temper: Temper = {}) {
  const folder = await makeTemporaryFolder()
  const root = join(folder.path, 'root')
  const machine = createFakeMachine(root, temper)
  const parts = { root, clock: createClock(), waitMs: 120_000, isRoot: true, say: () => undefined, ...machine }
  return {
    ...{ root, machine, parts },
    async run(options: Partial<ImportOptions> = {}, changed: { readonly isRoot?: boolean } = {}) {
      let [out, err] = ['', '']
      const io = {
        stdout: (text: string | Uint8Array) => void (out += String(text)),
        stderr: (text: string) => void (err += text),
      }
      const all = { apply: false, undo: false, force: false, keepKey: false, json: false, ...options }
      const code = await runImport(io, all, { ...parts, ...changed })
      assert.doesNotMatch(out + err + machine.calls.join(' '), new RegExp(`${SECRET.slice(0, 20)}|PRIVATE KEY`))
      return { code, out, err }
    },
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  }
}

test('the device of the tutorial is found and shown, and nothing is changed', async () => {
  await using device = await openMachine()
  await layTutorial(device.root)
  const before = await picture(device.root, FOLDERS)
  const { code, out } = await device.run()
  assert.equal(code, 0, out)
  assert.match(out, /Found \/etc\/systemd\/system\/iot-device-agent\.service, .*iot_device_x509\.py as iot, by x509/)
  assert.match(out, /registrationId\s+press-07\s+\(DEVICE_ID in .*\/iot-device-agent\.service\.d\/id\.conf\)/)
  assert.match(out, /idScope\s+0ne00ABCDEF/)
  assert.match(out, /certificate\s+CN=press-07/)
  assert.match(out, /key\s+ec-p256/)
  assert.match(out, /sudo iot-device-agent import --apply/)
  assert.deepEqual(await picture(device.root, FOLDERS), before)
})

const CASES: readonly (readonly [name: string, files: Record<string, string>, where: RegExp])[] = [
  [
    'in an environment file',
    {
      '/etc/systemd/system/sensor.service': unitText(
        'EnvironmentFile=-/etc/default/sensor\nEnvironment=DPS_ID_SCOPE=0ne00ABCDEF',
      ),
      '/etc/default/sensor': `IOTHUB_DEVICE_CONNECTION_STRING="${CONNECTION_STRING}"\n`,
    },
    /IOTHUB_DEVICE_CONNECTION_STRING in \/etc\/default\/sensor/,
  ],
  [
    'in the text of the program',
    {
      '/etc/systemd/system/sensor.service': unitText(
        'WorkingDirectory=/opt/iot-agent\nEnvironment=DPS_ID_SCOPE=0ne00ABCDEF',
        'sensor.py',
      ),
      '/opt/iot-agent/sensor.py': `CS = "${CONNECTION_STRING}"\nc = create_from_connection_string(CS)\n`,
    },
    /the text of \/opt\/iot-agent\/sensor\.py/,
  ],
]

for (const [name, files, where] of CASES) {
  test(`a connection string ${name} is found and never shown, and taken over by SAS`, async () => {
    await using device = await openMachine({ mode: 'sas' })
    await layPackage(device.root)
    await lay(device.root, { ...files, '/etc/systemd/system/multi-user.target.wants/x': '' })
    for (const json of [false, true]) {
      const shown = await device.run({ json })
      assert.equal(shown.code, 0, shown.out)
      assert.match(shown.out, where)
      assert.match(shown.out, /\(hidden\)/)
    }
    await device.machine.systemctl.start('sensor.service')
    const done = await device.run({ apply: true })
    assert.equal(done.code, 0, done.err)
    const copy = join(device.root, '/etc/iot-device-agent/secrets/imported-connection-string')
    assert.equal(await readFile(copy, 'utf8'), `${CONNECTION_STRING}\n`)
    assert.equal((await stat(copy)).mode & 0o777, 0o600)
    assert.equal((await stat(join(copy, '..'))).mode & 0o777, 0o700)
    const config = await readFile(join(device.root, '/etc/iot-device-agent/config.d/50-imported.toml'), 'utf8')
    assert.match(config, /mode = "sas"/)
    assert.match(config, /registrationId = "press-07"/)
    const record = await readFile(join(device.root, '/var/lib/iot-device-agent.import/record.json'), 'utf8')
    assert.ok(!record.includes(SECRET))
    assert.deepEqual([...device.machine.running.keys()], [OURS, TIMER])
    assert.ok(!device.machine.calls.includes('renew'))
  })
}

test('two candidates are named and one is chosen by --unit; without any it is said where was looked', async () => {
  await using device = await openMachine()
  await layTutorial(device.root, 'a.service')
  await lay(device.root, {
    '/usr/lib/systemd/system/b.service': unitText(`Environment=DEVICE_ID=b CONNECTION_STRING="${CONNECTION_STRING}"`),
  })
  const several = await device.run()
  assert.equal(several.code, 1)
  assert.match(several.err, /IMPORT_SEVERAL_FOUND.*\/a\.service.*\/b\.service/)
  assert.equal((await device.run({ unit: 'a' })).code, 0)
  assert.match((await device.run({ unit: 'c' })).err, /IMPORT_NOTHING_FOUND: c\.service is none/)
  await using empty = await openMachine()
  await layPackage(empty.root)
  assert.match((await empty.run()).err, /IMPORT_NOTHING_FOUND.*\/etc\/systemd\/system/)
})

test('a drop-in of a stronger folder and an environment file go before, and a masked unit is none', async () => {
  await using device = await openMachine()
  await lay(device.root, {
    '/usr/lib/systemd/system/old.service': unitText(
      'Environment=DEVICE_ID=one DPS_ID_SCOPE=0ne1\nEnvironmentFile=/etc/id',
    ),
    '/etc/systemd/system/old.service.d/10.conf': '[Service]\nEnvironment=\nEnvironment=DPS_ID_SCOPE=0ne2\n',
    '/usr/lib/systemd/system/old.service.d/10.conf': '[Service]\nEnvironment=DPS_ID_SCOPE=0ne3\n',
    '/etc/id': 'DEVICE_ID=two\n',
  })
  const { values } = await findClient(device.root, undefined)
  assert.deepEqual([values.idScope?.value, values.registrationId?.value], ['0ne2', 'two'])
  await symlink('/dev/null', join(device.root, '/etc/systemd/system/old.service'))
  await assert.rejects(findClient(device.root, undefined), /looked for a service/)
})

const PROBLEMS: readonly (readonly [name: string, spoil: (root: string) => Promise<void>, says: RegExp])[] = [
  ['a certificate for another name', (root) => layPair(root, 'other'), /for "other", and the device is "press-07"/],
  ['an expired certificate', (root) => layPair(root, DEVICE, new Date(Date.now() - 86_400_000)), /expired on/],
  [
    'a missing key',
    (root) => rm(join(root, `/etc/iot-certs/${DEVICE}.key`)),
    /no readable file \/etc\/iot-certs\/press-07\.key/,
  ],
  [
    'a name that only systemd knows',
    (root) => lay(root, { [`/etc/systemd/system/${OURS}.d/z.conf`]: '[Service]\nEnvironment=DPS_ID_SCOPE=%i\n' }),
    /specifier %i/,
  ],
  [
    'what the agent refuses',
    (root) =>
      lay(root, { [`/etc/systemd/system/${OURS}.d/z.conf`]: '[Service]\nEnvironment=TELEMETRY_INTERVAL=999999999\n' }),
    /telemetry\.intervalSeconds/,
  ],
]

for (const [name, spoil, says] of PROBLEMS) {
  test(`${name} is a problem with a remedy, and nothing is stopped`, async () => {
    await using device = await openMachine()
    await layTutorial(device.root)
    await spoil(device.root)
    const before = await picture(device.root, FOLDERS)
    const shown = await device.run()
    assert.equal(shown.code, 1)
    assert.match(shown.out, says)
    assert.match(shown.out, /remedy: /)
    assert.match((await device.run({ apply: true })).err, /IMPORT_NOT_POSSIBLE/)
    assert.deepEqual(device.machine.calls, [])
    assert.deepEqual(await picture(device.root, FOLDERS), before)
  })
}

for (const name of [OURS, 'old-agent.service']) {
  test(`${name} is taken over and given back as it was, its links and drop-ins too`, async () => {
    await using device = await openMachine()
    await layTutorial(device.root, name)
    await device.machine.systemctl.start(name)
    const before = await picture(device.root, FOLDERS)
    const done = await device.run({ apply: true })
    assert.equal(done.code, 0, done.err)
    assert.deepEqual([...device.machine.running], taken)
    assert.equal(device.machine.clashed, false)
    assert.ok(device.machine.calls.includes('renew'))
    assert.equal(device.machine.calls.includes(`mask ${name}`), name !== OURS)
    for (const unit of [OURS, TIMER]) assert.ok(await device.machine.systemctl.isEnabled(unit))
    assert.match((await device.run({ apply: true })).out, /already/)
    const back = await device.run({ undo: true })
    assert.equal(back.code, 0, back.err)
    assert.deepEqual(await picture(device.root, FOLDERS), before)
    assert.deepEqual([...device.machine.running], [[name, `/etc/systemd/system/${name}`]])
    assert.match((await device.run({ undo: true })).err, /IMPORT_NOTHING_TO_UNDO/)
  })

  test(`what does not connect goes back to ${name} by itself and says what the agent said`, async () => {
    await using device = await openMachine({ fails: true })
    await layTutorial(device.root, name)
    await device.machine.systemctl.start(name)
    const before = await picture(device.root, FOLDERS)
    const failed = await device.run({ apply: true })
    assert.equal(failed.code, 1)
    assert.match(failed.err, /IMPORT_NOT_PROVEN: HUB_REFUSED_CREDENTIAL: the hub said 401 \(check the enrollment\)/)
    assert.deepEqual(await picture(device.root, FOLDERS), before)
    assert.deepEqual([...device.machine.running], [[name, `/etc/systemd/system/${name}`]])
  })

  for (const step of steps.slice(0, -1)) {
    for (const moment of ['before', 'after'] as const) {
      for (const then of ['apply', 'undo'] as const) {
        test(`a power cut ${moment} the step ${step} of ${name} is followed by --${then}`, async () => {
          await using device = await openMachine()
          await layTutorial(device.root, name)
          await device.machine.systemctl.start(name)
          const before = await picture(device.root, FOLDERS)
          await cutPower(device.parts, steps.indexOf(step) + (moment === 'before' ? 0 : 1))
          assert.equal((await device.run()).code, (await readRecord(device.root))?.step === 'done' ? 0 : 1)
          const ended = await device.run({ [then]: true })
          assert.equal(ended.code, 0, ended.err)
          const expected = then === 'undo' ? [[name, `/etc/systemd/system/${name}`]] : taken
          assert.deepEqual([...device.machine.running], expected)
          assert.equal(device.machine.clashed, false)
          if (then === 'apply') await device.run({ undo: true })
          assert.deepEqual(await picture(device.root, FOLDERS), before)
        })
      }
    }
  }
}

/** Ends a takeover at the moment at which the record of the step with this number has become durable. */
async function cutPower(parts: Awaited<ReturnType<typeof openMachine>>['parts'], stepNumber: number): Promise<void> {
  const client = await findClient(parts.root, undefined)
  const plan = planImport(client, await readPair(parts.root, client), parts.clock.now())
  const record = await newRecord(plan, false, parts)
  const onSaved = async (step: string) => {
    if (steps.findIndex((each) => each === step) === stepNumber) throw new Error('power cut')
  }
  await takeSteps(record, plan.copies, { ...parts, onSaved }).catch((error: unknown) => {
    assert.match(String(error), /power cut/)
  })
}

test('going back is refused while the device is on a lane that the old program does not speak, but by --force', async () => {
  await using device = await openMachine({ mode: 'sas' })
  await layTutorial(device.root)
  const client = await findClient(device.root, undefined)
  const plan = planImport(client, await readPair(device.root, client), Date.now())
  const sasToX509 = { ...plan, lane: 'sas' as const }
  await takeSteps(await newRecord(sasToX509, true, device.parts), plan.copies, device.parts)
  const path = join(device.root, '/var/lib/iot-device-agent.import/record.json')
  await writeFile(path, (await readFile(path, 'utf8')).replace('"lane": "sas"', '"lane": "x509"'))
  const refused = await device.run({ undo: true })
  assert.match(refused.err, /IMPORT_UNDO_BLOCKED: .*first sudo iot-device-agent auth x509 --wait/)
  assert.deepEqual([...device.machine.running.keys()], [OURS, TIMER])
  assert.equal((await device.run({ undo: true, force: true })).code, 0)
})

test('going back overwrites no file that somebody has put in the place of the old unit', async () => {
  await using device = await openMachine()
  await layTutorial(device.root)
  await device.run({ apply: true })
  await lay(device.root, { [`/etc/systemd/system/${OURS}.d/ours.conf`]: '[Service]\n' })
  assert.match((await device.run({ undo: true, force: true })).err, /IMPORT_UNDO_BLOCKED.*is there again/)
  assert.deepEqual([...device.machine.running.keys()], [OURS, TIMER])
})

test('--keep-key asks for no new key, and whoever is not root is told to be', async () => {
  await using device = await openMachine()
  await layTutorial(device.root)
  assert.match((await device.run({ apply: true }, { isRoot: false })).err, /IMPORT_NEEDS_ROOT/)
  assert.equal((await device.run({ apply: true, keepKey: true })).code, 0)
  assert.ok(!device.machine.calls.includes('renew'))
})

test('a record that is not understood stops everything', async () => {
  await using device = await openMachine()
  await layTutorial(device.root)
  await lay(device.root, { '/var/lib/iot-device-agent.import/record.json': '{"format":1,"step":"set' })
  await chmod(join(device.root, '/var/lib/iot-device-agent.import'), 0o700)
  for (const options of [{}, { apply: true }, { undo: true }])
    assert.match((await device.run(options)).err, /IMPORT_RECORD_UNREADABLE/)
})

test('the key that came along is foreign, by the very name under which it is laid down', async () => {
  await using device = await openMachine()
  await layTutorial(device.root)
  const client = await findClient(device.root, undefined)
  const { copies } = planImport(client, await readPair(device.root, client), Date.now())
  const path = copies.find(({ where }) => where.endsWith('.key'))?.path ?? ''
  const level = { nowMs: 0, hub: { state: 'connected' } as const, key: { path, mode: 0o600, legacy: true } }
  assert.deepEqual(
    findWarnings(level).map(({ code }) => code),
    ['KEY_FOREIGN'],
  )
})

for (const then of ['apply', 'undo'] as const) {
  test(`a power cut between two moves is followed by --${then}`, async () => {
    await using device = await openMachine()
    await layTutorial(device.root)
    await device.machine.systemctl.start(OURS)
    const before = await picture(device.root, FOLDERS)
    await cutPower(device.parts, steps.indexOf('setAside'))
    const [first] = (await readRecord(device.root))?.moved ?? []
    assert.ok(first)
    await moveAside(device.root, first)
    assert.equal((await device.run({ [then]: true })).code, 0)
    if (then === 'apply') await device.run({ undo: true })
    assert.deepEqual(await picture(device.root, FOLDERS), before)
  })
}

test('a way back that systemd stops is finished by the same command, and not left by --apply', async () => {
  await using device = await openMachine()
  await layTutorial(device.root)
  const before = await picture(device.root, FOLDERS)
  await device.run({ apply: true })
  const { systemctl } = device.machine
  const { daemonReload } = systemctl
  systemctl.daemonReload = () => Promise.reject(new Failure('IMPORT_SYSTEMCTL', 'daemon-reload ended with 1'))
  assert.match((await device.run({ undo: true })).err, /IMPORT_SYSTEMCTL/)
  assert.match((await device.run({ apply: true })).err, /finish it first with --undo/)
  systemctl.daemonReload = daemonReload
  assert.equal((await device.run({ undo: true })).code, 0)
  assert.deepEqual(await picture(device.root, FOLDERS), before)
})

test('an old service that does not come up keeps the record, so that --undo may be tried again', async () => {
  await using device = await openMachine()
  await layTutorial(device.root)
  await device.run({ apply: true })
  const { systemctl } = device.machine
  const { isActive } = systemctl
  systemctl.isActive = () => Promise.resolve(false)
  assert.match((await device.run({ undo: true })).err, /IMPORT_OLD_NOT_ACTIVE/)
  systemctl.isActive = isActive
  assert.equal((await device.run({ undo: true })).code, 0)
})

test('an agent of ours that waits for its configuration is stopped before it could take the connection', async () => {
  await using device = await openMachine()
  await layTutorial(device.root, 'old.service')
  await device.machine.systemctl.start('old.service')
  await device.machine.systemctl.start(OURS)
  assert.equal((await device.run({ apply: true })).code, 0)
  const { calls } = device.machine
  const stopped = calls.indexOf(`stop ${OURS}`)
  assert.ok(stopped >= 0 && stopped < calls.lastIndexOf(`start ${OURS}`) && stopped < calls.indexOf('daemon-reload'))
})

test('a unit that a package brought stays where it is, masked, and is unmasked again', async () => {
  await using device = await openMachine({ mode: 'sas' })
  await layPackage(device.root)
  await lay(device.root, {
    '/usr/lib/systemd/system/old.service': unitText(
      `Environment=DPS_ID_SCOPE=0ne1 "CONNECTION_STRING=${CONNECTION_STRING}"`,
    ),
    '/etc/systemd/system/multi-user.target.wants/x': '',
  })
  const before = await picture(device.root, FOLDERS)
  assert.equal((await device.run({ apply: true })).code, 0)
  const { [`/etc/systemd/system/old.service`]: mask } = await picture(device.root, ['/etc'])
  assert.equal(mask, '-> /dev/null')
  assert.equal((await device.run({ undo: true })).code, 0)
  assert.deepEqual(await picture(device.root, FOLDERS), before)
})
