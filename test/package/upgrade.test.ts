/** A new version under a device that is connected: the same key, the same generation, and telemetry goes on. */
import assert from 'node:assert/strict'
import { basename } from 'node:path'
import { test } from 'node:test'
import { startCloudBeside } from './kit/cloud.ts'
import { bootMachine } from './kit/machine.ts'
import { olderPackage, presentPackage, versions } from './kit/packages.ts'
import { suites } from './kit/roots.ts'
import { identity, install, property, tellOnFailure, UNIT } from './kit/unit.ts'

/** Ends dpkg while it writes the largest file of the package. */
const interrupted = (deb: string) => `dpkg --install /root/${basename(deb)} >/dev/null 2>&1 &
dpkg=$!
until [ -e /usr/lib/${UNIT}/lib/node.dpkg-new ]; do kill -0 $dpkg; done
kill -KILL $dpkg
wait $dpkg || true`

for (const suite of suites) {
  test(`on ${suite} a connected device changes its version`, { timeout: 180_000 }, async (t) => {
    const [older, present] = [await olderPackage(), await presentPackage()]
    await using beside = await startCloudBeside('press-03')
    await using machine = await bootMachine({ suite, files: [older, present] })
    tellOnFailure(t, machine)
    await install(machine, older)
    await beside.configure(machine)
    await beside.enrol(machine)

    const installed = () => machine.shell(`dpkg-query -W -f '\${Version} \${db:Status-Abbrev}' ${UNIT}`)
    /** Does it, and looks whether the new process has connected as who the old one was. */
    const changes = async (to: string, change: () => Promise<unknown>) => {
      const before = { identity: await identity(machine), pid: await property(machine, 'MainPID') }
      const since = beside.seq()
      await change()
      assert.equal(await installed(), `${to} ii`)
      assert.equal(await property(machine, 'ActiveState'), 'active')
      assert.notEqual(await property(machine, 'MainPID'), before.pid)
      await beside.cloud.record.waitFor(() => beside.connects(since).length > 0, { since, withinMs: 30_000 })
      await beside.nextTelemetry(beside.seq())
      assert.equal(await identity(machine), before.identity)
      assert.equal(beside.connects(since).length, 1)
      assert.equal(await machine.shell(`find /usr/lib/${UNIT} -name '*.dpkg-*'`), '')
    }

    await t.test('an upgrade', () => changes(versions.present, () => install(machine, present)))

    await t.test('a downgrade', () => changes(versions.older, () => install(machine, older, '--allow-downgrades')))

    await t.test('the same version once more', () =>
      changes(versions.older, () => install(machine, older, '--reinstall')),
    )

    await t.test('while dpkg is killed in the middle of unpacking the device stays connected', async () => {
      const [pid, since] = [await property(machine, 'MainPID'), beside.seq()]
      await machine.shell(interrupted(present))
      assert.notEqual(await machine.shell('dpkg --audit'), '')
      await beside.nextTelemetry(beside.seq())
      assert.equal(await property(machine, 'MainPID'), pid)
      assert.equal(beside.connects(since).length, 0)
    })

    await t.test('and the upgrade is made good by repeating it', () =>
      changes(versions.present, async () => {
        await machine.shell('dpkg --configure -a')
        await install(machine, present)
        assert.equal(await machine.shell('dpkg --audit'), '')
      }),
    )

    await t.test('unpacked and not configured, it is finished by dpkg --configure -a', async () => {
      await changes(versions.older, () => install(machine, older, '--allow-downgrades'))
      await changes(versions.present, async () => {
        await machine.shell(`dpkg --unpack /root/${basename(present)}`)
        assert.equal(await property(machine, 'ActiveState'), 'active')
        await machine.shell('dpkg --configure -a')
      })
    })

    await t.test('who has disabled the service finds it disabled and stopped', async () => {
      await machine.shell(`systemctl disable --now ${UNIT}`)
      await install(machine, older, '--allow-downgrades')
      const { stdout } = await machine.run(['systemctl', 'is-enabled', UNIT])
      assert.deepEqual([stdout.trim(), await property(machine, 'ActiveState')], ['disabled', 'inactive'])
    })

    await t.test('who has masked it finds it masked and stopped', async () => {
      await machine.shell(`systemctl mask ${UNIT}`)
      await install(machine, present)
      const { stdout } = await machine.run(['systemctl', 'is-enabled', UNIT])
      assert.deepEqual([stdout.trim(), await property(machine, 'ActiveState')], ['masked', 'inactive'])
    })
  })
}
