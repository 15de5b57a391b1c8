/** A service that systemd has given up is started anew; one that somebody wants off stays off. */
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { bootMachine } from './kit/machine.ts'
import type { Machine } from './kit/machine.ts'
import { suites } from './kit/roots.ts'
import { property, UNIT } from './kit/unit.ts'

const systemd = new URL('../../systemd/', import.meta.url)

/** The rules of the real unit, with a program that ends as /run/how says, and times that can be waited for. */
async function standInOf(): Promise<string> {
  const lines = (await readFile(new URL(`${UNIT}.service`, systemd), 'utf8')).split('\n')
  const rules = lines.filter((line) => /^(Restart|RestartPreventExitStatus)=/.test(line))
  return `[Unit]
StartLimitIntervalSec=600
StartLimitBurst=2
[Service]
ExecStart=sh /run/how
${rules.join('\n')}
RestartSec=100ms
TimeoutStopSec=1
[Install]
WantedBy=multi-user.target
`
}

const GOOD = 'exec sleep infinity'

/** Starts the service, which ends as `how` says, enabled or not. */
async function start(machine: Machine, how: string, enabled = true): Promise<void> {
  await machine.write('/run/how', `${how}\n`)
  await machine.shell(`systemctl stop ${UNIT}; systemctl reset-failed ${UNIT} || true
systemctl unmask --quiet ${UNIT}; systemctl ${enabled ? 'enable' : 'disable'} --quiet ${UNIT}
systemctl start ${UNIT} || true`)
}

/** What the timer starts; the state of the service afterwards. */
async function revive(machine: Machine): Promise<string> {
  await machine.shell(`systemctl start ${UNIT}-revive.service`)
  return machine.shell(`systemctl show --value --property=ActiveState ${UNIT}`)
}

const failed = (machine: Machine) => machine.until(`systemctl is-failed --quiet ${UNIT}`)

for (const suite of suites) {
  test(`on ${suite} nothing strands, and nobody is overruled`, { timeout: 120_000 }, async (t) => {
    await using machine = await bootMachine({ suite })
    await machine.write(`/etc/systemd/system/${UNIT}.service`, await standInOf())
    for (const kind of ['service', 'timer']) {
      const name = `${UNIT}-revive.${kind}`
      await machine.write(`/etc/systemd/system/${name}`, await readFile(new URL(name, systemd), 'utf8'))
    }
    await machine.shell('systemctl daemon-reload')

    await t.test('after too many starts it is started once more', async () => {
      await start(machine, 'exit 1')
      await failed(machine)
      assert.equal(await property(machine, 'NRestarts'), '2')
      await machine.write('/run/how', GOOD)
      assert.equal(await revive(machine), 'active')
    })

    await t.test('after a configuration that was wrong and has been mended as well', async () => {
      await start(machine, 'exit 78')
      await failed(machine)
      assert.equal(await property(machine, 'NRestarts'), '0')
      await machine.write('/run/how', GOOD)
      assert.equal(await revive(machine), 'active')
    })

    await t.test('a service that works is left alone', async () => {
      const pid = await property(machine, 'MainPID')
      assert.equal(await revive(machine), 'active')
      assert.equal(await property(machine, 'MainPID'), pid)
    })

    await t.test('a service that was stopped stays so', async () => {
      await machine.shell(`systemctl stop ${UNIT}`)
      assert.equal(await revive(machine), 'inactive')
    })

    await t.test('also when it did not end by itself', async () => {
      await start(machine, "trap '' TERM; touch /run/deaf; while :; do sleep 1; done")
      await machine.until('test -e /run/deaf')
      await machine.shell(`systemctl stop ${UNIT}`)
      assert.equal(await property(machine, 'Result'), 'timeout')
      assert.equal(await revive(machine), 'failed')
    })

    await t.test('one that is disabled, or masked, is not started', async () => {
      await start(machine, 'exit 78', false)
      await failed(machine)
      assert.equal(await revive(machine), 'failed')
      await start(machine, 'exit 78')
      await failed(machine)
      await machine.shell(`mv /etc/systemd/system/${UNIT}.service /run/unit; systemctl mask ${UNIT}`)
      assert.notEqual(await revive(machine), 'active')
    })

    await t.test(
      'the timer looks every quarter of an hour, and what it finds in order is not worth a line',
      async () => {
        await machine.shell(`systemctl start ${UNIT}-revive.timer`)
        const text = await machine.shell(`systemctl list-timers --no-pager ${UNIT}-revive.timer`)
        assert.match(text, /1 timers listed/)
        assert.deepEqual(await machine.journal(`${UNIT}-revive`), [])
      },
    )
  })
}
