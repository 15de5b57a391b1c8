/** The units as they are installed, judged by systemd's own tools over a root that holds nothing else. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { chmod, copyFile, mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { makeTemporaryFolder } from '../../kit/openssl.ts'

const run = promisify(execFile)

/** Where there is no systemd, its judgement is left to a machine that has it. */
const skip = !existsSync('/usr/bin/systemd-analyze') && 'needs systemd-analyze'

const folder = new URL('../../../systemd/', import.meta.url).pathname
const SERVICE = 'iot-device-agent.service'
const units = [SERVICE, 'iot-device-agent-revive.service', 'iot-device-agent-revive.timer']

/** Keys that older versions of systemd pass over, and the first that knows them. Source: NEWS of systemd. */
const LATE_KEYS = { OpenFile: 253, RestartSteps: 254, RestartMaxDelaySec: 254 } as const

/** Ten times the exposure that is the limit. */
const EXPOSURE_THRESHOLD = 15

/** Each assignment of a unit, in its order. */
async function settingsOf(unit: string): Promise<readonly string[]> {
  const lines = (await readFile(join(folder, unit), 'utf8')).split('\n')
  return lines.filter((line) => /^[A-Z]\w+=/.test(line))
}

async function systemdVersion(): Promise<number> {
  const { stdout } = await run('systemd-analyze', ['--version'])
  return Number(/^systemd (\d+)/.exec(stdout)?.[1])
}

/** A root with the units, without what this systemd is too old for, and with the programs that they start. */
async function makeRoot() {
  const root = await makeTemporaryFolder()
  const place = async (path: string) => {
    await mkdir(dirname(join(root.path, path)), { recursive: true })
    return join(root.path, path)
  }
  for (const unit of units) await copyFile(join(folder, unit), await place(`usr/lib/systemd/system/${unit}`))
  for (const program of ['usr/lib/iot-device-agent/iot-device-agent', 'bin/systemctl', 'bin/sh']) {
    const path = await place(program)
    await writeFile(path, '#!/bin/sh\n')
    await chmod(path, 0o755)
  }
  const version = await systemdVersion()
  const late = Object.entries(LATE_KEYS).flatMap(([key, since]) => (version < since ? [`${key}=`] : []))
  const service = join(root.path, 'usr/lib/systemd/system', SERVICE)
  const lines = (await readFile(service, 'utf8')).split('\n')
  await writeFile(service, lines.filter((line) => !late.some((key) => line.startsWith(key))).join('\n'))
  return root
}

test('its exposure is at most 1.5', { skip }, async () => {
  await using root = await makeRoot()
  const how = ['--offline=true', `--root=${root.path}`, `--threshold=${EXPOSURE_THRESHOLD}`, '--no-pager']
  await run('systemd-analyze', ['security', ...how, SERVICE])
})

test('systemd finds nothing wrong with the units', { skip }, async () => {
  await using root = await makeRoot()
  const how = [`--root=${root.path}`, '--man=no', '--recursive-errors=no']
  const { stdout, stderr } = await run('systemd-analyze', ['verify', ...how, ...units])
  assert.equal(stdout + stderr, '')
})

test('it says whether it is ready by a socket that it is given, and by a program where there is none', async () => {
  const settings = await settingsOf(SERVICE)
  const notifying = settings.filter((line) => /^(Type|OpenFile|NotifyAccess|WatchdogSec)=/.test(line))
  assert.deepEqual(notifying, [
    'Type=notify',
    'OpenFile=/run/systemd/notify:notify:graceful',
    'NotifyAccess=all',
    'WatchdogSec=60',
  ])
})

test('a boot does not wait for the network because of it', async () => {
  for (const unit of units) assert.doesNotMatch((await settingsOf(unit)).join('\n'), /network-online/)
})

test('a secret that is not there does not keep it from its start', async () => {
  const credentials = (await settingsOf(SERVICE)).filter((line) => /Credential/.test(line))
  assert.ok(credentials.length > 0)
  // With a path, a file that is missing is fatal. Source: systemd.exec(5), LoadCredential=.
  for (const line of credentials) assert.match(line, /^LoadCredential=iot-device-agent\.[a-z-]+$/)
})

test('no core of it is written, which would hold the private key', async () => {
  assert.ok((await settingsOf(SERVICE)).includes('LimitCORE=0'))
})

test('the limit of starts is reached sooner than the pauses between them let it pass', async () => {
  const settings = await settingsOf(SERVICE)
  const seconds = (key: string) => Number(settings.find((line) => line.startsWith(`${key}=`))?.split('=')[1])
  // Without RestartSteps= each pause has RestartSec=: a device of that age has to come to its rest as well.
  assert.ok(seconds('RestartSec') * seconds('StartLimitBurst') < seconds('StartLimitIntervalSec'))
  assert.ok(settings.includes('Restart=on-failure'))
})

test('the timer looks again and again, also on a machine that has been up for long', async () => {
  const settings = await settingsOf('iot-device-agent-revive.timer')
  for (const line of ['OnBootSec=15min', 'OnUnitActiveSec=15min']) assert.ok(settings.includes(line), line)
})
