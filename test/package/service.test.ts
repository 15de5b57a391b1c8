/** The package on a machine that has just been set up: installed, configured, enrolled, connected, and told of changes. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startCloudBeside } from './kit/cloud.ts'
import { bootMachine } from './kit/machine.ts'
import { presentPackage } from './kit/packages.ts'
import { suitesWithinReach } from './kit/roots.ts'
import { identity, install, property, tellOnFailure, UNIT } from './kit/unit.ts'

/** Priorities of the journal by the level of the line. Source: syslog(3). */
const PRIORITIES: Readonly<Record<string, string>> = { debug: '7', info: '6', warn: '4', error: '3' }

/** From 0 to 10, by systemd-analyze. */
const MOST_EXPOSURE = 1.5

for (const suite of await suitesWithinReach()) {
  test(`on ${suite} two commands lead to telemetry`, { timeout: 180_000 }, async (t) => {
    const deb = await presentPackage()
    await using beside = await startCloudBeside('press-01')
    await using machine = await bootMachine({ suite, files: [deb] })
    tellOnFailure(t, machine)

    await t.test('installed, it owns nothing in /etc, /var and /run, and brings nothing along', async () => {
      const before = await machine.shell('dpkg-query -W')
      await install(machine, deb)
      const after = await machine.shell('dpkg-query -W')
      assert.deepEqual(
        after.split('\n').filter((line) => !before.split('\n').includes(line)),
        [`${UNIT}\t${await machine.shell(`dpkg-query -W -f '\${Version}' ${UNIT}`)}`],
      )
      assert.equal(await machine.shell(`dpkg -L ${UNIT} | grep -E '^/(etc|var|run)(/|$)' || true`), '')
      assert.equal(await machine.shell(`test ! -e /etc/${UNIT} && dpkg --verify ${UNIT}`), '')
    })

    await t.test('without a configuration it runs, waits, and says so', async () => {
      assert.equal(await property(machine, 'ActiveState'), 'active')
      assert.equal(await machine.shell(`systemctl is-enabled ${UNIT}`), 'enabled')
      assert.match(await property(machine, 'StatusText'), /^waiting for a configuration: .*registrationId/)
      const { status, stdout, stderr } = await machine.run([UNIT, 'status'])
      assert.notEqual(status, 0)
      assert.match(stdout + stderr, /CONFIG_AWAITED/)
      assert.equal(await machine.shell('find /var/lib/iot-device-agent -name "*key*"'), '')
    })

    await t.test('a configuration is noticed, and a key is made that only the agent may read', async () => {
      const pid = await property(machine, 'MainPID')
      await beside.configure(machine)
      const key = '/var/lib/iot-device-agent/credentials/pending/key.pem'
      await machine.until(`test -s ${key}`)
      assert.equal(await machine.shell(`stat -c '%a %U' ${key}`), `600 ${UNIT}`)
      assert.equal(await machine.shell(`stat -c '%a %U' /var/lib/${UNIT}`), `700 ${UNIT}`)
      assert.equal(await property(machine, 'MainPID'), pid, 'without a restart')
    })

    await t.test('once its request is signed it registers and sends telemetry', async () => {
      await beside.enrol(machine)
      assert.equal(beside.connects().length, 1)
      assert.equal(beside.connects()[0]?.auth, 'x509')
      assert.match(await machine.shell(`${UNIT} status`), /^Safe +yes/)
    })

    await t.test('systemctl status says to which hub it is connected, and that nothing went wrong', async () => {
      const text = await machine.until(
        `systemctl status --no-pager ${UNIT} | grep -A99 Loaded: | grep 'Status: "connected'`,
      )
      assert.match(text, /connected to hub-1\.localhost:\d+ as press-01 by X\.509/)
      assert.equal(await property(machine, 'NRestarts'), '0')
    })

    await t.test('its exposure is at most 1.5', async () => {
      const told = await machine.shell(`systemd-analyze security --no-pager ${UNIT}`)
      const exposure = Number(/Overall exposure level for \S+: ([\d.]+)/.exec(told)?.[1])
      assert.ok(exposure <= MOST_EXPOSURE, told)
    })

    await t.test('each line of the journal has the priority of its level', async () => {
      const lines = (await machine.journal(UNIT)).filter((line) => line['_TRANSPORT'] === 'stdout')
      assert.ok(lines.length > 5, `${lines.length} lines`)
      for (const { MESSAGE = '', PRIORITY } of lines) {
        const { level = '' } = JSON.parse(MESSAGE) as { readonly level?: string }
        assert.equal(PRIORITY, PRIORITIES[level], MESSAGE)
      }
      assert.ok(lines.some(({ PRIORITY }) => PRIORITY === '4') && lines.some(({ PRIORITY }) => PRIORITY === '6'))
    })

    await t.test('a reload takes up a changed configuration on the connection that there is', async () => {
      const pid = await property(machine, 'MainPID')
      await beside.configure(machine, '[log]\nlevel = "debug"\n')
      await machine.shell(`systemctl reload ${UNIT}`)
      const since = beside.seq()
      await machine.until(`journalctl -u ${UNIT} -p debug..debug -o cat | grep -q '"level":"debug"'`)
      await beside.nextTelemetry(since)
      assert.equal(await property(machine, 'MainPID'), pid)
      assert.equal(beside.connects().length, 1)
    })

    await t.test('a wrong configuration makes the reload fail and changes nothing', async () => {
      const [pid, status] = [await property(machine, 'MainPID'), await property(machine, 'StatusText')]
      await beside.configure(machine, '[log]\nlevel = "loud"\n')
      const reload = await machine.run(['systemctl', 'reload', UNIT])
      assert.notEqual(reload.status, 0)
      const since = beside.seq()
      await beside.nextTelemetry(since)
      assert.equal(await property(machine, 'ActiveState'), 'active')
      assert.deepEqual([await property(machine, 'MainPID'), await property(machine, 'StatusText')], [pid, status])
      assert.equal(beside.connects().length, 1)
      assert.match(await machine.shell(`journalctl -u ${UNIT} -o cat`), /CONFIG_INVALID.*log\.level/s)
    })

    await t.test('a stop is clean, and the next start goes on with the same identity', async () => {
      await beside.configure(machine)
      const before = await identity(machine)
      await machine.shell(`systemctl stop ${UNIT}`)
      assert.equal(await property(machine, 'Result'), 'success')
      const since = beside.seq()
      await machine.shell(`systemctl start ${UNIT}`)
      await beside.nextTelemetry(since)
      assert.equal(await identity(machine), before)
    })
  })
}
