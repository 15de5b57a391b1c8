import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, readdir, rename, stat, writeFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { askControl } from '../../agent/control/client.ts'
import type { ControlRequest } from '../../agent/control/protocol.ts'
import { openControl } from '../../agent/control/server.ts'
import type { ControlOptions } from '../../agent/control/server.ts'
import { Failure } from '../../agent/failure.ts'
import { systemClock } from '../../agent/system/clock.ts'
import { createFakeClock } from '../kit/clock.ts'
import { makeTemporaryFolder } from '../kit/openssl.ts'

const clock = systemClock

function unexpected(failure: Failure): void {
  throw failure
}

function echo(request: ControlRequest): unknown {
  if (request.ask === 'echo') return request
  throw new Failure('CONTROL_BAD_REQUEST', `nobody knows ${request.ask}`)
}

function breakDown(): never {
  throw new TypeError('undefined is not a function')
}

/** An agent that answers `echo` with the request, and refuses everything else. */
function open(path: string, options: Partial<ControlOptions> = {}): Promise<AsyncDisposable> {
  return openControl({ path, clock, answer: echo, onFailure: unexpected, ...options })
}

/** Sends bytes as they are, ends its side, and gives back all that is answered. */
function converse(path: string, bytes: string | Uint8Array): Promise<string> {
  const socket = connect(path)
  socket.end(bytes)
  return text(socket)
}

/** The connection, once the other side has taken it. */
async function connected(path: string): Promise<Socket> {
  const socket = connect(path)
  await once(socket, 'connect')
  return socket
}

function hasCode(code: string): (error: unknown) => boolean {
  return (error) => error instanceof Failure && error.code === code
}

/** Leaves the socket file of a process that was killed. */
async function crash(path: string): Promise<void> {
  const source = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => console.log('up'))`
  const child = spawn(process.execPath, ['-e', source], { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(child.stdout, 'data')
  child.kill('SIGKILL')
  await once(child, 'exit')
}

test('a request is answered, with all that came with it', async () => {
  await using folder = await makeTemporaryFolder()
  const path = join(folder.path, 'run', 'control.sock')
  await using _ = await open(path)
  assert.deepEqual(await askControl({ ask: 'echo', wish: 'ünïcode' }, { path, clock }), {
    ok: true,
    value: { ask: 'echo', wish: 'ünïcode' },
  })
})

test('many requests on one connection are answered in their order, however the bytes are cut', async () => {
  await using folder = await makeTemporaryFolder()
  const path = join(folder.path, 'control.sock')
  await using _ = await open(path)
  const socket = await connected(path)
  const lines = Buffer.from(Array.from({ length: 50 }, (_, at) => `{"ask":"echo","at":${at},"c":"€"}\n`).join(''))
  for (let at = 0; at < lines.length; at += 7) socket.write(lines.subarray(at, at + 7))
  socket.end()
  const answers = (await text(socket)).trimEnd().split('\n')
  assert.deepEqual(
    answers.map((line) => (JSON.parse(line) as { value: { at: number } }).value.at),
    Array.from({ length: 50 }, (_, at) => at),
  )
})

test('a client that ends its side at once is answered all the same, even without a line end', async () => {
  await using folder = await makeTemporaryFolder()
  const path = join(folder.path, 'control.sock')
  await using _ = await open(path, { answer: () => clock.wait(1).then(() => 'slow') })
  assert.equal(await converse(path, '{"ask":"x"}'), '{"ok":true,"value":"slow"}\n')
})

test('owner and group may ask, nobody else, and no other name is left in the folder', async () => {
  await using folder = await makeTemporaryFolder()
  const path = join(folder.path, 'control.sock')
  {
    await using _ = await open(path)
    assert.equal((await stat(path)).mode & 0o777, 0o660)
    assert.deepEqual(await readdir(folder.path), ['control.sock'])
  }
  assert.deepEqual(await readdir(folder.path), [])
})

const malformed: readonly (readonly [what: string, bytes: string | Uint8Array])[] = [
  ['no JSON', 'status\n'],
  ['an empty line', '\n'],
  ['a list', '[1]\n'],
  ['null', 'null\n'],
  ['no ask', '{"wish":1}\n'],
  ['an ask that is no text', '{"ask":1}\n'],
  ['bytes that are no text', Buffer.from([0xff, 0xfe, 0x00, 0x0a])],
  ['an ask that nobody knows', '{"ask":"sing"}\n'],
]

test('malformed input is answered with a reason, and the next request as if nothing had been', async () => {
  await using folder = await makeTemporaryFolder()
  const path = join(folder.path, 'control.sock')
  await using _ = await open(path)
  for (const [what, bytes] of malformed) {
    const answers = await converse(path, Buffer.concat([Buffer.from(bytes), Buffer.from('{"ask":"echo"}\n')]))
    const [refusal, answer] = answers.split('\n').map((line) => (line === '' ? {} : JSON.parse(line)) as object)
    assert.deepEqual(Object.keys(refusal ?? {}), ['ok', 'code', 'message', 'advice'], what)
    assert.deepEqual(
      { ...refusal, message: '', advice: '' },
      { ok: false, code: 'CONTROL_BAD_REQUEST', message: '', advice: '' },
    )
    assert.deepEqual(answer, { ok: true, value: { ask: 'echo' } }, what)
  }
})

test('a line longer than 64 KiB is refused before its end, and the connection is closed', async () => {
  await using folder = await makeTemporaryFolder()
  const path = join(folder.path, 'control.sock')
  await using _ = await open(path)
  const fits = `{"ask":"echo","pad":"${'x'.repeat(65_536 - 23)}"}`
  assert.equal(fits.length, 65_536)
  assert.match(await converse(path, `${fits}\n`), /^\{"ok":true/)

  const socket = await connected(path)
  socket.write('x'.repeat(65_537))
  assert.match(await text(socket), /^\{"ok":false,"code":"CONTROL_BAD_REQUEST".*65536 bytes.*\n$/)
  assert.match(await converse(path, '{"ask":"echo"}\n'), /^\{"ok":true/)
})

test('an answer that fails is a refusal without a stack, told to the agent, and ends nothing', async () => {
  await using folder = await makeTemporaryFolder()
  const path = join(folder.path, 'control.sock')
  const failures: string[] = []
  await using _ = await open(path, { answer: breakDown, onFailure: (failure) => failures.push(failure.code) })
  const said = await converse(path, '{"ask":"x"}\n{"ask":"x"}\n')
  assert.equal(said.split('"code":"UNEXPECTED"').length, 3)
  assert.doesNotMatch(said, /control\.test|at breakDown/)
  assert.deepEqual(failures, ['UNEXPECTED', 'UNEXPECTED'])
})

test('clients that go away in the middle of a request or an answer disturb nobody', async () => {
  await using folder = await makeTemporaryFolder()
  const path = join(folder.path, 'control.sock')
  await using _ = await open(path)
  for (const start of ['', '{"ask":', '{"ask":"echo"}\n'.repeat(5000)]) {
    const socket = await connected(path)
    socket.write(start)
    socket.destroy()
    await once(socket, 'close')
  }
  assert.match(await converse(path, '{"ask":"echo"}\n'), /^\{"ok":true/)
})

test('a client that is silent for 30 s is let go', async () => {
  await using folder = await makeTemporaryFolder()
  const path = join(folder.path, 'control.sock')
  const fake = createFakeClock()
  await using _ = await open(path, { clock: fake })
  const socket = await connected(path)
  const all = text(socket)
  await fake.waiting(30_000)
  await fake.advance(29_000)
  socket.write('{"ask":"echo"}\n')
  await once(socket, 'readable')
  await fake.advance(29_000)
  assert.equal(socket.closed, false, 'a request starts the time anew')
  await fake.advance(1000)
  await all
})

test('more clients than 16 are turned away, and there is room again when one leaves', async () => {
  await using folder = await makeTemporaryFolder()
  const path = join(folder.path, 'control.sock')
  await using _ = await open(path)
  const clients = await Promise.all(Array.from({ length: 16 }, () => connected(path)))
  // Each has been served once, so that the server knows of all of them.
  for (const client of clients) {
    client.write('{"ask":"echo"}\n')
    await once(client, 'data')
  }
  await assert.rejects(askControl({ ask: 'echo' }, { path, clock }), hasCode('CONTROL_BAD_ANSWER'))
  for (const client of clients) {
    client.end()
    await once(client, 'close')
  }
  assert.equal((await askControl({ ask: 'echo' }, { path, clock })).ok, true)
})

test('the socket of a crashed agent is taken over', async () => {
  await using folder = await makeTemporaryFolder()
  const path = join(folder.path, 'control.sock')
  await crash(path)
  assert.deepEqual(await readdir(folder.path), ['control.sock'])
  await assert.rejects(askControl({ ask: 'echo' }, { path, clock }), hasCode('AGENT_NOT_RUNNING'))
  await using _ = await open(path)
  assert.equal((await askControl({ ask: 'echo' }, { path, clock })).ok, true)
  assert.deepEqual(await readdir(folder.path), ['control.sock'])
})

test('a second agent is refused, and the first goes on', async () => {
  await using folder = await makeTemporaryFolder()
  const path = join(folder.path, 'control.sock')
  await using _ = await open(path)
  await assert.rejects(open(path), hasCode('AGENT_ALREADY_RUNNING'))
  assert.equal((await askControl({ ask: 'echo' }, { path, clock })).ok, true)
  assert.deepEqual(await readdir(folder.path), ['control.sock'])
})

test('of many agents that start at once where one crashed, exactly one runs and can be asked', async () => {
  await using folder = await makeTemporaryFolder()
  const path = join(folder.path, 'control.sock')
  for (let round = 0; round < 10; round += 1) {
    await crash(path)
    const starts = await Promise.allSettled(Array.from({ length: 8 }, (_, at) => open(path, { answer: () => at })))
    const running = starts.flatMap((start, at) => (start.status === 'fulfilled' ? [at] : []))
    const codes = starts.flatMap((start) => (start.status === 'rejected' ? [(start.reason as Failure).code] : []))
    assert.equal(running.length, 1, `${running.length} run`)
    assert.deepEqual(new Set(codes), new Set(['AGENT_ALREADY_RUNNING']))
    assert.deepEqual(await askControl({ ask: 'who' }, { path, clock }), { ok: true, value: running[0] })
    for (const start of starts) if (start.status === 'fulfilled') await start.value[Symbol.asyncDispose]()
    assert.deepEqual(await readdir(folder.path), [])
  }
})

test('a file that is no socket is not touched', async () => {
  await using folder = await makeTemporaryFolder()
  const path = join(folder.path, 'control.sock')
  await writeFile(path, 'notes')
  await assert.rejects(open(path), hasCode('CONTROL_UNAVAILABLE'))
  assert.deepEqual(await readdir(folder.path), ['control.sock'])
  assert.equal((await stat(path)).size, 5)
})

test('a path too long for a socket, and a folder that cannot be, are said', async () => {
  await using folder = await makeTemporaryFolder()
  await assert.rejects(open(join(folder.path, 'x'.repeat(110), 'control.sock')), hasCode('CONTROL_UNAVAILABLE'))
  await writeFile(join(folder.path, 'file'), '')
  await assert.rejects(open(join(folder.path, 'file', 'control.sock')), hasCode('CONTROL_UNAVAILABLE'))
})

test('stopping ends open connections and frees the name at once', async () => {
  await using folder = await makeTemporaryFolder()
  const path = join(folder.path, 'control.sock')
  const control = await open(path)
  const socket = await connected(path)
  const end = text(socket)
  await control[Symbol.asyncDispose]()
  await end
  await using _ = await open(path)
  assert.equal((await askControl({ ask: 'echo' }, { path, clock })).ok, true)
})

test('an agent that stops leaves alone what another has put in its place', async () => {
  await using folder = await makeTemporaryFolder()
  const path = join(folder.path, 'control.sock')
  const first = await open(path, { answer: () => 'first' })
  await using other = await makeTemporaryFolder()
  await using _ = await open(join(other.path, 'control.sock'))
  await rename(join(other.path, 'control.sock'), path)
  await first[Symbol.asyncDispose]()
  assert.equal((await askControl({ ask: 'echo' }, { path, clock })).ok, true)
})

test('where no agent ever ran, a command says that none runs', async () => {
  await using folder = await makeTemporaryFolder()
  for (const path of [join(folder.path, 'control.sock'), join(folder.path, 'none', 'control.sock')]) {
    await assert.rejects(askControl({ ask: 'echo' }, { path, clock }), hasCode('AGENT_NOT_RUNNING'))
  }
})

test('an agent that does not answer in time counts as none', async () => {
  await using folder = await makeTemporaryFolder()
  const path = join(folder.path, 'control.sock')
  await using _ = await open(path, { answer: () => new Promise(() => undefined) })
  const fake = createFakeClock()
  const asked = assert.rejects(askControl({ ask: 'x' }, { path, clock: fake }), hasCode('AGENT_NOT_RUNNING'))
  await fake.waiting(5000)
  await fake.advance(5000)
  await asked
})

test('an answer that is not of this protocol is said to be none', async () => {
  await using folder = await makeTemporaryFolder()
  for (const [at, said] of ['hello\n', '{"fine":true}\n', '', `${'x'.repeat(2 * 1024 * 1024)}\n`].entries()) {
    const path = join(folder.path, `${at}.sock`)
    const server = createServer((socket) => {
      socket.on('error', () => socket.destroy())
      socket.once('data', () => socket.end(said))
    })
    server.listen(path)
    await once(server, 'listening')
    await assert.rejects(
      askControl({ ask: 'status' }, { path, clock }),
      hasCode('CONTROL_BAD_ANSWER'),
      said.slice(0, 9),
    )
    server.close()
    await once(server, 'close')
  }
})

test('a user who may not use the socket is told so', async () => {
  await using folder = await makeTemporaryFolder()
  const path = join(folder.path, 'control.sock')
  await using _ = await open(path)
  await chmod(folder.path, 0o755)
  await chmod(path, 0o000)
  const client = new URL('../../agent/control/client.ts', import.meta.url).href
  const time = new URL('../../agent/system/clock.ts', import.meta.url).href
  // Modes do not bind root: a test that runs as root asks as nobody.
  const source = `
    const { askControl } = await import('${client}')
    const { systemClock: clock } = await import('${time}')
    if (process.getuid() === 0) process.setuid(65534)
    askControl({ ask: 'echo' }, { path: '${path}', clock }).catch((error) => console.log(error.code))`
  const child = spawn(process.execPath, ['--input-type=module', '-e', source], { stdio: ['ignore', 'pipe', 'inherit'] })
  assert.equal((await text(child.stdout)).trim(), 'CONTROL_DENIED')
})
