/** An agent that hangs, or dies, is running again soon, and what it had taken is still sent. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { test } from 'node:test'
import { startCloudBeside } from './kit/cloud.ts'
import { bootMachine } from './kit/machine.ts'
import { presentPackage } from './kit/packages.ts'
import { suites } from './kit/roots.ts'
import { install, property, restarted, tellOnFailure, UNIT } from './kit/unit.ts'

/** The unit's own times, made short enough to be waited for. */
const SHORT_TIMES = `[Service]
WatchdogSec=3
TimeoutAbortSec=2
RestartSec=1
RestartSteps=0
`

/** Holds up the thread with this number, and no other thread of its process, at its next wait for events. */
function stick(pid: number) {
  const slow = ['-e', 'trace=epoll_wait,epoll_pwait', '-e', 'inject=epoll_wait,epoll_pwait:delay_enter=60s']
  const strace = spawn('strace', ['-q', '-o', '/dev/null', ...slow, '-p', String(pid)], { stdio: 'ignore' })
  const over = once(strace, 'close')
  return {
    async [Symbol.asyncDispose]() {
      strace.kill('SIGKILL')
      await over
    },
  }
}

for (const suite of suites) {
  test(`on ${suite} the service outlives what stops it`, { timeout: 180_000 }, async (t) => {
    const deb = await presentPackage()
    await using beside = await startCloudBeside('press-02')
    await using machine = await bootMachine({ suite, files: [deb] })
    tellOnFailure(t, machine)
    await machine.write(`/etc/systemd/system/${UNIT}.service.d/short-times.conf`, SHORT_TIMES)
    await install(machine, deb)
    await beside.configure(machine)
    await beside.enrol(machine)
    const timeouts = async () =>
      (await machine.journal(UNIT)).filter(({ MESSAGE = '' }) => MESSAGE.includes('Watchdog timeout')).length

    await t.test('a healthy agent feeds the watchdog', async () => {
      const fed = () => property(machine, 'WatchdogTimestampMonotonic')
      const before = await fed()
      await machine.until(
        `[ "$(systemctl show --value -p WatchdogTimestampMonotonic ${UNIT})" != "${before}" ]`,
        10_000,
      )
      assert.equal(await property(machine, 'NRestarts'), '0')
    })

    await t.test('a process that is stopped is killed by the watchdog, and telemetry flows again', async () => {
      await machine.shell(`systemctl kill --kill-who=main --signal=STOP ${UNIT}`)
      const since = beside.seq()
      await restarted(machine, 1)
      await beside.nextTelemetry(since)
      assert.equal(await timeouts(), 1)
    })

    await t.test('so is a process of which only the thread with the loop is stuck', async () => {
      const inside = await property(machine, 'MainPID')
      const before = await timeouts()
      const pid = await machine.hostPid(Number(inside))
      {
        await using _stuck = stick(pid)
        await machine.until(`[ "$(journalctl -u ${UNIT} -o cat | grep -c 'Watchdog timeout')" -gt ${before} ]`)
      }
      // A thread that somebody traces is not gone before it is let go.
      await restarted(machine, 2)
      const since = beside.seq()
      await beside.nextTelemetry(since)
      assert.equal(await timeouts(), before + 1)
    })

    await t.test('after SIGKILL every sample that was taken arrives', async () => {
      const send = (from: number, to: number) =>
        machine.shell(`for n in $(seq ${from} ${to}); do ${UNIT} send "{\\"n\\":$n}" --stream counted; done`)
      const since = beside.seq()
      // None of them has been acknowledged when the agent dies.
      beside.cloud.faults.set('pubackDelayMs', 5000)
      await send(1, 5)
      await machine.shell(`systemctl kill --signal=KILL ${UNIT}`)
      beside.cloud.faults.set('pubackDelayMs', 0)
      await restarted(machine, 3)
      await machine.until(`${UNIT} send '{"n":6}' --stream counted`)
      const arrived = () =>
        new Set(beside.telemetry(since).flatMap(({ message }) => numberOf(message.body.toString()) ?? []))
      await beside.cloud.record.waitFor(() => arrived().size === 6, { since, withinMs: 30_000 })
      assert.deepEqual(
        [...arrived()].toSorted((a, b) => a - b),
        [1, 2, 3, 4, 5, 6],
      )
    })
  })
}

/** The number of a counted sample. */
function numberOf(body: string): number | undefined {
  const found = /"n":(\d+)/.exec(body)?.[1]
  return found === undefined ? undefined : Number(found)
}
