/** The package without a runtime: on a Debian that brings Node 24, in turn with the other one, and where Node is too old. */
import assert from 'node:assert/strict'
import { basename } from 'node:path'
import { test } from 'node:test'
import { startCloudBeside } from './kit/cloud.ts'
import { bootMachine } from './kit/machine.ts'
import { presentPackage, systemNodePackage } from './kit/packages.ts'
import { identity, install, property, tellOnFailure, UNIT } from './kit/unit.ts'

const SYSTEM_NODE = 'iot-device-agent-system-node'

/** The program file of the service. */
const program = 'readlink "/proc/$(systemctl show --value --property=MainPID iot-device-agent)/exe"'

test(
  'beside the Node of the system the small package does all that the other one does',
  { timeout: 240_000 },
  async (t) => {
    const [small, whole] = [await systemNodePackage(), await presentPackage()]
    await using beside = await startCloudBeside('press-08')
    await using machine = await bootMachine({ suite: 'forky', files: [small, whole] })
    tellOnFailure(t, machine)

    await t.test('it brings no runtime, and the service runs on that of the system', async () => {
      await install(machine, small)
      assert.equal(await machine.shell(`test ! -e /usr/lib/${UNIT}/lib/node && dpkg --verify ${SYSTEM_NODE}`), '')
      assert.equal(await machine.shell(program), '/usr/bin/node')
      assert.match(await machine.shell(`${UNIT} version`), /node/)
      assert.match(await property(machine, 'StatusText'), /^waiting for a configuration/)
    })

    await t.test('it provisions and sends telemetry', async () => {
      await beside.configure(machine)
      await beside.enrol(machine)
      assert.match(await machine.shell(`${UNIT} status`), /^Safe +yes/)
    })

    for (const [title, deb, runtime] of [
      ['the package with a runtime takes its place', whole, `/usr/lib/${UNIT}/lib/node`],
      ['it takes its place back', small, '/usr/bin/node'],
    ] as const) {
      await t.test(`${title}, with the same identity and no second one installed`, async () => {
        const before = await identity(machine)
        const since = beside.seq()
        await install(machine, deb)
        await beside.nextTelemetry(since)
        assert.equal(await identity(machine), before)
        assert.equal(await machine.shell(program), runtime)
        assert.equal(await property(machine, 'UnitFileState'), 'enabled')
        const names = await machine.shell(
          `dpkg-query -W -f '\${db:Status-Abbrev} \${Package}\\n' '${UNIT}*' | grep ^ii`,
        )
        assert.equal(names, `ii  ${basename(deb).split('_')[0]}`)
      })
    }
  },
)

test(
  'where Node is older than 24, apt refuses the small package and says what is missing',
  { timeout: 120_000 },
  async () => {
    const small = await systemNodePackage()
    await using machine = await bootMachine({ suite: 'trixie', files: [small] })
    const { status, stdout, stderr } = await machine.run(['apt-get', 'install', '--yes', `/root/${basename(small)}`])
    assert.notEqual(status, 0)
    assert.match(stdout + stderr, /Depends: nodejs \(>= 24\)/)
  },
)
