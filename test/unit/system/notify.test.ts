import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { chmod, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { makeTemporaryFolder } from '../../kit/openssl.ts'

const run = promisify(execFile)

/** What a process says to systemd, seen by a program that stands where systemd-notify would. */
async function said(environment: Record<string, string>): Promise<string> {
  await using folder = await makeTemporaryFolder()
  const heard = join(folder.path, 'heard')
  await writeFile(heard, '')
  await writeFile(join(folder.path, 'systemd-notify'), `#!/bin/sh\nprintf '%s\\n' "$*" >>${heard}\n`)
  await chmod(join(folder.path, 'systemd-notify'), 0o755)
  const script = `
    import { createNotify } from '${new URL('../../../agent/system/notify.ts', import.meta.url).href}'
    import { createFakeClock } from '${new URL('../../kit/clock.ts', import.meta.url).href}'
    import { createLog } from '${new URL('../../../agent/system/log.ts', import.meta.url).href}'
    const clock = createFakeClock()
    const notify = createNotify({ environment: process.env, clock, log: createLog({ level: 'info', clock }) })
    await notify.ready('starting')
    await notify.status('connected to hub-1')
    const stop = new AbortController()
    let asked = 0
    const feeding = notify.feedWatchdog(() => { asked += 1; if (asked === 3) stop.abort(); return asked !== 2 }, stop.signal)
    while (!stop.signal.aborted && process.env.WATCHDOG_USEC) { await clock.waiting(); await clock.advance(5000) }
    await feeding
    await notify.stopping()`
  const path = join(folder.path, 'say.mjs')
  await writeFile(path, script)
  await run(process.execPath, [path], { env: { PATH: `${folder.path}:${process.env['PATH'] ?? ''}`, ...environment } })
  return readFile(heard, 'utf8')
}

test('without systemd nothing is said and nothing fails', async () => {
  assert.equal(await said({}), '')
})

test('under systemd it says ready, status and stopping, each with what systemd needs', async () => {
  const lines = (await said({ NOTIFY_SOCKET: '/nowhere' })).trim().split('\n')
  assert.match(lines[0] ?? '', /--ready --pid=\d+ --status=starting/)
  assert.match(lines[1] ?? '', /--status=connected to hub-1/)
  assert.deepEqual(lines.slice(2), ['STOPPING=1'])
})

test('the watchdog is fed at half its time, and only while the agent lives', async () => {
  const lines = (await said({ NOTIFY_SOCKET: '/nowhere', WATCHDOG_USEC: '10000000' })).trim().split('\n')
  assert.equal(lines.filter((line) => line === 'WATCHDOG=1').length, 2)
})
