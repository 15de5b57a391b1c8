import assert from 'node:assert/strict'
import { chmod } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { Server } from 'node:http'
import { join } from 'node:path'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { shapeOf } from '../../../agent/commands/json-or-lines.ts'
import { runSend } from '../../../agent/commands/send.ts'
import type { SendOptions } from '../../../agent/commands/send.ts'
import { Failure } from '../../../agent/failure.ts'
import { systemClock } from '../../../agent/system/clock.ts'
import type { Clock } from '../../../agent/system/clock.ts'
import { createFakeClock } from '../../kit/clock.ts'
import { makeTemporaryFolder } from '../../kit/openssl.ts'
import { runProgram, sourceProgram } from '../../kit/program.ts'
import { openDoor } from '../../kit/telemetry-door.ts'

type Sending = Pick<SendOptions, 'socket'> &
  Partial<SendOptions> & { readonly stdin?: AsyncIterable<Uint8Array>; readonly clock?: Clock }

async function send({ stdin = chunks(), clock = systemClock, ...options }: Sending) {
  const printed = { stdout: '', stderr: '' }
  const io = {
    stdout: (text: string) => void (printed.stdout += text),
    stderr: (text: string) => void (printed.stderr += text),
    stdin,
    clock,
  }
  const exitCode = await runSend(io, { sample: '-', ...options })
  return { exitCode, ...printed }
}

async function* chunks(...texts: readonly string[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield await Promise.resolve(Buffer.from(text))
}

/** What answers every request with these bytes. */
async function listen(path: string, said: string, status = 200): Promise<Server> {
  const server = createServer((_, response) => response.writeHead(status).end(said))
  await new Promise<void>((resolve) => server.listen(path, resolve))
  return server
}

test('a sample is stored, and its ID is printed', async () => {
  await using door = await openDoor()
  const said = await send({ socket: door.path, sample: '{"a": 1.0}' })
  assert.deepEqual(said, { exitCode: 0, stdout: `1 sample stored (synced), ID ${door.samples[0]?.id}\n`, stderr: '' })
  assert.deepEqual(door.bodies(), ['{"a": 1.0}'])
})

test('each option says one thing of the sample', async () => {
  await using door = await openDoor({ identify: () => Promise.resolve(0) })
  const said = await send({
    socket: door.path,
    sample: '1',
    stream: 'press',
    priority: 'audit',
    severity: 'warning',
    component: 'motor',
    durability: 'relaxed',
    property: ['site=Nürnberg & Umgebung', 'sum=a=b', 'none='],
  })
  assert.equal(said.exitCode, 0)
  assert.match(said.stdout, /\(relaxed\)/)
  const [{ stream, priority, label } = assert.fail('nothing was stored')] = door.samples
  assert.deepEqual([stream, priority, label.component], ['press', 'audit', 'motor'])
  assert.deepEqual(label.properties, { site: 'Nürnberg & Umgebung', sum: 'a=b', none: '', severity: 'warning' })
  assert.deepEqual(door.groups, [{ durability: 'relaxed', count: 1 }])
})

test('--json prints what was stored, or why not, for programs', async () => {
  await using door = await openDoor()
  const good = await send({ socket: door.path, sample: '[1,2]', json: true })
  const ids = door.samples.map(({ id }) => id)
  assert.deepEqual(JSON.parse(good.stdout), { ok: true, exitCode: 0, stored: 2, durability: 'synced', ids })
  await using full = await openDoor({ before: () => Promise.reject(new Failure('OUTBOX_BUSY', 'later')) })
  const bad = await send({ socket: full.path, sample: '1', json: true })
  const { advice } = new Failure('OUTBOX_BUSY', '')
  const failure = { code: 'OUTBOX_BUSY', message: 'later', advice, retryAfterSeconds: 1 }
  assert.deepEqual(JSON.parse(bad.stdout), { ok: false, exitCode: 1, stored: 0, failure })
  assert.deepEqual([bad.exitCode, bad.stderr], [1, ''])
})

test('what is refused is said with code, fact and advice, and exits 1', async () => {
  await using door = await openDoor()
  const said = await send({ socket: door.path, sample: 'a=1' })
  const { advice } = new Failure('TELEMETRY_INVALID', '')
  assert.deepEqual(said, { exitCode: 1, stdout: '', stderr: `TELEMETRY_INVALID: not JSON: "a=1"\n  ${advice}\n` })
})

test('lines on stdin are handed in as they come', async () => {
  await using door = await openDoor()
  const slow = async function* () {
    yield Buffer.from('{"a":1}\n{"a"')
    while (door.samples.length === 0) await new Promise((resolve) => setImmediate(resolve))
    yield Buffer.from(':2}\n')
  }
  const said = await send({ socket: door.path, stdin: slow() })
  assert.deepEqual(said, { exitCode: 0, stdout: '2 samples stored (synced)\n', stderr: '' })
  assert.deepEqual(door.bodies(), ['{"a":1}', '{"a":2}'])
})

test('a client that is faster than the agent gathers nothing, and says nothing of it', async () => {
  await using door = await openDoor()
  const warnings: Error[] = []
  const note = (warning: Error) => void warnings.push(warning)
  process.on('warning', note)
  const line = `${JSON.stringify('x'.repeat(65_536))}\n`
  const said = await send({ socket: door.path, stdin: chunks(...Array.from({ length: 60 }, () => line)) })
  // A warning is told in a turn of its own.
  await new Promise((resolve) => setImmediate(resolve))
  process.off('warning', note)
  assert.deepEqual(said, { exitCode: 0, stdout: '60 samples stored (synced)\n', stderr: '' })
  assert.deepEqual(warnings, [])
})

test('a stream that is refused in its middle ends there, with the line from which to go on', async () => {
  // Its clock stands still: the agent would wait for the rest of the stream for ever.
  await using door = await openDoor({ clock: createFakeClock() })
  let isRead = false
  const endless = async function* () {
    yield Buffer.from('1\n2\nx\n')
    await new Promise(() => undefined)
    isRead = true
  }
  const said = await send({ socket: door.path, stdin: endless() })
  assert.equal(said.exitCode, 1)
  assert.match(said.stderr, /^TELEMETRY_INVALID: .*\n.*\n {2}2 stored; the first that is not is line 3\.\n$/)
  assert.equal(isRead, false)
})

test('a JSON text over several lines, or without a line end, is one', async () => {
  await using door = await openDoor()
  for (const parts of [['{\n "a"', ':1\n}\n'], ['{"a":1}'], ['[{"a":1},\n2]'], ['[1,2]\n']]) {
    assert.equal((await send({ socket: door.path, stdin: chunks(...parts) })).exitCode, 0, parts.join(''))
  }
  assert.deepEqual(door.bodies(), ['{\n "a":1\n}', '{"a":1}', '{"a":1}', '2', '1', '2'])
})

test('nothing on stdin is no JSON', async () => {
  await using door = await openDoor()
  assert.equal((await send({ socket: door.path, stdin: chunks() })).exitCode, 1)
})

test('what was looked at to know the form is sent as well, wherever the stream is split', async () => {
  const values = fc.array(
    fc.json().map((text) => text.replaceAll('\n', ' ')),
    { minLength: 1 },
  )
  await fc.assert(
    fc.asyncProperty(values, fc.array(fc.integer({ min: 1, max: 9 })), async (lines, sizes) => {
      const bytes = Buffer.from(lines.join('\n'))
      const pieces = async function* () {
        let from = 0
        for (const size of [...sizes, bytes.length]) {
          yield await Promise.resolve(bytes.subarray(from, from + size))
          from += size
        }
      }
      const { contentType, body } = await shapeOf(pieces())
      const isLines = lines.length > 1 && lines[0]?.trim().startsWith('[') === false
      assert.equal(contentType, isLines ? 'application/x-ndjson' : 'application/json')
      const all: Uint8Array[] = []
      for await (const chunk of body) all.push(chunk)
      assert.deepEqual(Buffer.concat(all), bytes)
    }),
  )
})

test('a property that has no name or no value, or comes twice, is a wrong command line', async () => {
  for (const property of [['a'], ['=b'], ['a=1', 'a=2']]) {
    const said = await send({ socket: '/nowhere', sample: '1', property })
    assert.equal(said.exitCode, 2, property.join(' '))
    assert.match(said.stderr, /^USAGE: /)
  }
})

test('where no agent runs, the command exits 5 and says how to start one', async () => {
  await using folder = await makeTemporaryFolder()
  const said = await send({ socket: join(folder.path, 'telemetry.sock'), sample: '1' })
  assert.equal(said.exitCode, 5)
  assert.match(said.stderr, /^AGENT_NOT_RUNNING: nothing listens on .*\n {2}Start it/)
})

test('an answer that is none, and a connection that is cut, are said', async () => {
  await using folder = await makeTemporaryFolder()
  for (const [at, said] of ['', 'hello', '{}', '[]'].entries()) {
    const path = join(folder.path, `${at}.sock`)
    const server = await listen(path, said)
    const sent = await send({ socket: path, sample: '1' })
    assert.deepEqual([sent.exitCode, sent.stderr.split(':')[0]], [1, 'TELEMETRY_UNAVAILABLE'], said)
    server.close()
  }
  const path = join(folder.path, 'cut.sock')
  const cut = createServer((request) => request.socket.destroy())
  await new Promise<void>((resolve) => cut.listen(path, resolve))
  assert.match((await send({ socket: path, sample: '1' })).stderr, /^TELEMETRY_UNAVAILABLE: the agent closed/)
  cut.close()
})

test('an agent that does not answer within a minute is not waited for any longer', async () => {
  const clock = createFakeClock()
  await using door = await openDoor({ before: () => new Promise(() => undefined) })
  const sent = send({ socket: door.path, sample: '1', clock })
  await clock.waiting(60_000)
  await clock.advance(60_000)
  assert.match((await sent).stderr, /^TELEMETRY_UNAVAILABLE: an answer on .* took longer than 60000 ms/)
})

test('the command needs no configuration but the runtime folder', async () => {
  await using door = await openDoor()
  const variables = { PATH: '/usr/bin:/bin', IOT_AGENT_RUNTIME_DIR: door.folder }
  const run = (...args: readonly string[]) => runProgram(sourceProgram, ['send', ...args], variables)
  const good = await run('{"a":1}', '--property', 'line=4', '--property', 'site=N', '--severity', 'error')
  assert.deepEqual([good.status, good.stderr], [0, ''])
  assert.deepEqual(door.samples[0]?.label.properties, { line: '4', site: 'N', severity: 'error' })
  assert.equal((await run('{"a":1}', '--severity', 'loud')).status, 2)
  assert.equal((await run()).status, 2)
  if (process.getuid?.() === 0) return
  await chmod(door.path, 0o000)
  assert.match((await run('1')).stderr, /^CONTROL_DENIED/)
})
