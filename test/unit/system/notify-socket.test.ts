/** Messages to systemd by a socket that the unit has opened: a real one, handed over as systemd does it. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { notifyDescriptor } from '../../../agent/system/notify-socket.ts'
import { makeTemporaryFolder } from '../../kit/openssl.ts'

const run = promisify(execFile)

/** Opens a pair of datagram sockets, gives one to the program as descriptor 4, and prints what arrives at the other. */
const SYSTEMD = `
import json, os, socket, sys
ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
pid = os.fork()
if pid == 0:
    os.dup2(os.open('/dev/null', os.O_RDONLY), 3)
    os.dup2(theirs.fileno(), 4)
    for fd in (3, 4): os.set_inheritable(fd, True)
    environment = dict(os.environ, LISTEN_PID=str(os.getpid() + int(os.environ.get('OFF', '0'))), LISTEN_FDS='2', LISTEN_FDNAMES='other:notify', NOTIFY_SOCKET='/nowhere')
    os.execve(sys.argv[1], sys.argv[1:], environment)
if 'DEAF' in os.environ: ours.close()
os.waitpid(pid, 0)
if 'DEAF' in os.environ: sys.exit(0)
ours.setblocking(False)
said = []
try:
    while True: said.append(ours.recv(4096).decode())
except BlockingIOError: pass
print(json.dumps(said))
`

const SAY = `
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { createNotify } from '${new URL('../../../agent/system/notify.ts', import.meta.url).href}'
import { createFakeClock } from '${new URL('../../kit/clock.ts', import.meta.url).href}'
import { createLog } from '${new URL('../../../agent/system/log.ts', import.meta.url).href}'
const clock = createFakeClock()
const notify = createNotify({ environment: process.env, clock, log: createLog({ level: 'info', clock }) })
await notify.ready('starting\\nREADY=0')
await notify.status('connected to hub-1')
await notify.reloading()
await notify.stopping()
writeFileSync(process.env.SEEN, execFileSync('ls', ['-l', '/proc/self/fd']))
`

test('messages go through the socket that systemd has opened, without a program, and children do not get it', async () => {
  await using folder = await makeTemporaryFolder()
  const [systemd, say, seen] = ['systemd.py', 'say.mjs', 'seen'].map((name) => join(folder.path, name))
  if (systemd === undefined || say === undefined || seen === undefined) throw new Error('no names')
  await writeFile(systemd, SYSTEMD)
  await writeFile(say, SAY)
  // A program that is called systemd-notify would end the test: there is none in this PATH.
  const env = { PATH: '/bin', SEEN: seen }
  const { stdout } = await run('/usr/bin/python3', [systemd, process.execPath, say], { env })
  const messages = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as string[]
  assert.equal(messages[0], 'READY=1\nSTATUS=starting READY=0')
  assert.equal(messages[1], 'STATUS=connected to hub-1')
  assert.match(messages[2] ?? '', /^RELOADING=1\nMONOTONIC_USEC=\d+$/)
  assert.deepEqual(messages.slice(3), ['STOPPING=1'])
  const sockets = (await readFile(seen, 'utf8')).split('\n').filter((line) => / 4 -> socket:/.test(line))
  assert.deepEqual(sockets, [])
})

/** Where the socket is of no use: what arrives there all the same, what the program says, and what is logged. */
async function saidByProgram(variables: Record<string, string>) {
  await using folder = await makeTemporaryFolder()
  const place = (name: string) => join(folder.path, name)
  await writeFile(place('systemd.py'), SYSTEMD)
  await writeFile(place('say.mjs'), SAY)
  await writeFile(place('systemd-notify'), `#!/bin/sh\necho "$@" >>${place('heard')}\n`, { mode: 0o755 })
  const env = { PATH: `${folder.path}:/bin`, SEEN: place('seen'), ...variables }
  const { stdout } = await run('/usr/bin/python3', [place('systemd.py'), process.execPath, place('say.mjs')], { env })
  return { stdout, said: await readFile(place('heard'), 'utf8') }
}

test('when nobody takes what is written, that is logged and the program says it', async () => {
  const { stdout, said } = await saidByProgram({ DEAF: 'yes' })
  assert.match(stdout, /"msg":"the socket of systemd takes nothing"/)
  assert.match(said, /--ready .*starting READY=0/)
  assert.match(said, /^RELOADING=1 MONOTONIC_USEC=\d+$/m)
  assert.match(said, /^STOPPING=1$/m)
})

test('descriptors that were handed to another process are not ours', async () => {
  const { stdout, said } = await saidByProgram({ OFF: '1' })
  assert.deepEqual(JSON.parse(stdout), [])
  assert.match(said, /^STOPPING=1$/m)
})

test('descriptors of other names are left alone', () => {
  const environment = { LISTEN_PID: String(process.pid), LISTEN_FDS: '1', LISTEN_FDNAMES: 'stored' }
  assert.equal(notifyDescriptor(environment, process.pid), undefined)
})
