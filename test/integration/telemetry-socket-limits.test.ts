import assert from 'node:assert/strict'
import { once } from 'node:events'
import { constants } from 'node:fs'
import { chmod, readFile, writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import { connect, createServer } from 'node:net'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { systemClock } from '../../agent/system/clock.ts'
import { createPeerUid } from '../../agent/telemetry/intake/peer-uid.ts'
import { createFakeClock } from '../kit/clock.ts'
import { ask, codeOf, curl, JSON_TYPE, knock, lastOf, NDJSON, openDoor, wire } from '../kit/telemetry-door.ts'

test('what is no HTTP is refused, and so are headers without end', async () => {
  await using door = await openDoor()
  for (const [bytes, status] of [
    ['{"a":1}\n', '400 Bad Request'],
    [`GET /health?${'x'.repeat(20_000)} HTTP/1.1\r\n\r\n`, '431 Request Header Fields Too Large'],
    [`POST /telemetry HTTP/1.1\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`, '431 Request Header Fields Too Large'],
  ]) {
    const socket = await knock(door.path)
    socket.write(bytes ?? '')
    const said = await text(socket)
    assert.ok(said.startsWith(`HTTP/1.1 ${status}\r\n`), said)
    assert.match(said, /\r\n\r\n\{"error":\{"code":"TELEMETRY_/)
  }
  assert.deepEqual(door.intake.counts().refused, { TELEMETRY_INVALID: 1, TELEMETRY_TOO_LARGE: 2 })
})

test('a request larger than 8 MiB is refused while it is still being sent, and the client reads why', async () => {
  await using door = await openDoor()
  const large = Buffer.alloc(9 * 1024 * 1024, ' ')
  for (const headers of [{ ...JSON_TYPE, 'Content-Length': String(large.length) }, JSON_TYPE]) {
    const answered = await ask(door.path, {
      headers,
      body: (async function* () {
        yield large
      })(),
    })
    assert.deepEqual([answered.status, codeOf(answered)], [413, 'TELEMETRY_TOO_LARGE'])
    assert.match(answered.text, /NDJSON/)
  }
  const said = await curl(
    door.path,
    ['--data-binary', '@-', '-H', 'Content-Type: application/json', 'http://x/telemetry'],
    { input: large },
  )
  assert.equal(said.exit, 0)
  assert.match(said.stdout, /TELEMETRY_TOO_LARGE/)
  const most = `[${' '.repeat(8 * 1024 * 1024 - 3)}1]`
  assert.equal((await ask(door.path, { headers: JSON_TYPE, body: most })).status, 200)
})

test('the requests that are read as a whole share 16 MiB', async () => {
  await using door = await openDoor()
  const body = Buffer.alloc(7 * 1024 * 1024, ' ')
  const calls = [1, 2, 3].map(() =>
    request({ socketPath: door.path, path: '/telemetry', method: 'POST', headers: JSON_TYPE }),
  )
  const statuses = calls.map(async (call) => {
    const [response] = (await once(call, 'response')) as [{ statusCode: number; resume(): void }]
    response.resume()
    return response.statusCode
  })
  for (const call of calls) call.write(body)
  // The third finds no room before the others have come to their end.
  const refused = await Promise.race(statuses)
  assert.equal(refused, 503)
  for (const call of calls) call.end('1')
  const all = await Promise.all(statuses)
  assert.deepEqual(
    all.toSorted((a, b) => a - b),
    [200, 200, 503],
  )
  const after = await ask(door.path, { headers: JSON_TYPE, body: Buffer.concat([body, Buffer.from('1')]) })
  assert.equal(after.status, 200, 'the room is given back')
})

test('a client is not read from while the disk is busy', async () => {
  const free = Promise.withResolvers<void>()
  await using door = await openDoor({ before: () => free.promise })
  const socket = await knock(door.path)
  socket.write('POST /telemetry HTTP/1.1\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n')
  const chunk = Buffer.from('{"a":1}\n'.repeat(2048))
  const framed = Buffer.concat([Buffer.from(`${chunk.length.toString(16)}\r\n`), chunk, Buffer.from('\r\n')])
  // Until the kernel takes no more: its own buffers are full, and nobody empties them.
  let written = 0
  const total = 600
  const fill = async () => {
    for (; written < total; written += 1) if (!socket.write(framed)) await once(socket, 'drain')
  }
  const filling = fill()
  await stalled(() => socket.bytesWritten - socket.writableLength)
  assert.ok(written * framed.length < 4 * 1024 * 1024, `${written} of ${total} chunks were taken`)
  free.resolve()
  await filling
  socket.write('0\r\n\r\n')
  let said = ''
  for await (const part of socket) {
    said = (said + String(part)).slice(-200)
    if (said.includes('\r\n0\r\n\r\n')) break
  }
  assert.equal(door.samples.length, total * 2048)
  assert.match(said, new RegExp(`\\{"stored":${total * 2048}\\}`))
})

/** Resolves when a number has stayed the same over many turns of the loop. */
async function stalled(look: () => number): Promise<void> {
  let same = 0
  for (let last = look(); same < 200; last = look()) {
    await new Promise((resolve) => setImmediate(resolve))
    same = look() === last ? same + 1 : 0
  }
}

test('a client that reads no answer until it has sent everything is not held up by its answers', async () => {
  await using door = await openDoor()
  const socket = await knock(door.path)
  socket.pause()
  socket.write('POST /telemetry HTTP/1.1\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n')
  const count = 20_000
  for (let at = 0; at < count; at += 1) {
    // One group each: the next is written when this one has been stored.
    const before = door.samples.length
    socket.write('2\r\n1\n\r\n')
    while (door.samples.length === before) await new Promise((resolve) => setImmediate(resolve))
  }
  socket.write('0\r\n\r\n')
  let said = ''
  for await (const part of socket) {
    said += String(part)
    if (said.endsWith('\r\n0\r\n\r\n')) break
  }
  assert.match(said, /\{"stored":20000\}\n\r\n0\r\n\r\n$/)
  const told = said.split('"stored"').length - 1
  assert.ok(told < count / 2, `${told} answers were kept for it`)
})

test('a client that sends far ahead of its answers is cut off', async () => {
  await using door = await openDoor({ before: () => new Promise(() => undefined) })
  const socket = await knock(door.path)
  socket.write(Array.from({ length: 66 }, (_, at) => wire(String(at))).join(''))
  await once(socket, 'close')
})

test('the body of a refused request is not asked for by a client that waits for the word', async () => {
  await using door = await openDoor()
  for (const [path, status] of [
    ['/telemetry?nonsense=1', 400],
    ['/telemetry', 200],
  ] as const) {
    const headers = { ...JSON_TYPE, Expect: '100-continue', 'Content-Length': '2' }
    const call = request({ socketPath: door.path, path, method: 'POST', headers })
    let asked = false
    call.on('continue', () => {
      asked = true
      call.end('{}')
    })
    call.flushHeaders()
    const [response] = (await once(call, 'response')) as [{ statusCode: number }]
    assert.deepEqual([response.statusCode, asked], [status, status === 200])
    call.destroy()
  }
})

test('a connection without a request is closed after 10 s', async () => {
  const clock = createFakeClock()
  await using door = await openDoor({ clock })
  const socket = await knock(door.path)
  socket.write('POST /telemetry HTTP/1.1\r\nContent-Type: app')
  await clock.waiting(10_000)
  await clock.advance(9_999)
  assert.equal(socket.closed, false)
  const closed = text(socket)
  await clock.advance(1)
  assert.equal(await closed, '')
})

test('a body that stops coming for 30 s is refused, and the lines that came are kept', async () => {
  const clock = createFakeClock()
  await using door = await openDoor({ clock })
  const socket = await knock(door.path)
  await clock.waiting(10_000)
  socket.write(
    'POST /telemetry HTTP/1.1\r\nContent-Type: application/x-ndjson\r\nContent-Length: 1000\r\n\r\n{"a":1}\n',
  )
  assert.match(String(await once(socket, 'data')), /\{"stored":1\}/)
  await clock.advance(29_000)
  socket.write('{"a":2}\n{"a')
  assert.match(String(await once(socket, 'data')), /\{"stored":2\}/)
  await clock.advance(29_000)
  const rest = text(socket)
  await clock.advance(1000)
  // What is still sent is read for 2 s, so that the client comes to read what it is told.
  await clock.waiting(2000)
  await clock.advance(2000)
  assert.match(await rest, /"code":"TELEMETRY_INVALID","message":"nothing came for 30 s.*"stored":2,"line":3/s)

  const silent = await knock(door.path)
  await clock.waiting(10_000)
  const nothing = text(silent)
  silent.write('POST /telemetry HTTP/1.1\r\nContent-Length: 1000\r\n\r\n')
  while (door.intake.counts().refused['TELEMETRY_INVALID'] !== 2) await clock.advance(10_000)
  await clock.waiting(2000)
  await clock.advance(2000)
  assert.match(await nothing, /^HTTP\/1.1 408 /)

  const whole = await knock(door.path)
  await clock.waiting(10_000)
  whole.write('POST /telemetry HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"a"')
  while (door.intake.counts().refused['TELEMETRY_INVALID'] !== 3) await clock.advance(10_000)
  const said = text(whole)
  await clock.waiting(2000)
  await clock.advance(2000)
  assert.match(await said, /^HTTP\/1.1 408 /)
})

test('the time that the disk takes is not the client’s', async () => {
  const clock = createFakeClock()
  const free = Promise.withResolvers<void>()
  const asked = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  let storing = 0
  await using door = await openDoor({
    clock,
    before() {
      asked[storing]?.resolve()
      storing += 1
      return free.promise
    },
  })
  const answer = ask(door.path, { body: '{}' })
  const stream = await knock(door.path)
  stream.write('POST /telemetry HTTP/1.1\r\nContent-Type: application/x-ndjson\r\nContent-Length: 4\r\n\r\n1\n')
  await Promise.all(asked.map(({ promise }) => promise))
  await clock.advance(600_000)
  free.resolve()
  assert.equal((await answer).status, 200)
  assert.match(String(await once(stream, 'data')), /\{"stored":1\}/)
  stream.write('2\n')
  assert.match(String(await once(stream, 'data')), /\{"stored":2\}/)
  stream.destroy()
})

test('above the limit a request is refused with the time to wait, and let in after it', async () => {
  const clock = createFakeClock()
  await using door = await openDoor({ clock, samplesPerSecond: 10 })
  const hundred = `[${Array.from({ length: 100 }, () => '1').join(',')}]`
  assert.equal((await ask(door.path, { headers: JSON_TYPE, body: hundred })).status, 200)
  assert.equal((await ask(door.path, { headers: JSON_TYPE, body: '[1,2,3,4,5,6,7,8,9,10]' })).status, 200)
  const refused = await ask(door.path, { headers: JSON_TYPE, body: `[${'1,'.repeat(29)}1]` })
  assert.deepEqual([refused.status, refused.headers['retry-after'], codeOf(refused)], [429, '3', 'TELEMETRY_QUOTA'])
  assert.equal((lastOf(refused)['error'] as { retryAfterSeconds: number }).retryAfterSeconds, 3)
  const stream = await ask(door.path, { headers: NDJSON, body: '1\n' })
  assert.deepEqual([stream.status, lastOf(stream)['stored']], [429, 0])
  await clock.advance(3000)
  assert.equal((await ask(door.path, { headers: JSON_TYPE, body: `[${'1,'.repeat(29)}1]` })).status, 200)
})

test('a large sample counts once for each 4 KiB that it begins', async () => {
  const clock = createFakeClock()
  await using door = await openDoor({ clock, samplesPerSecond: 10 })
  const large = { headers: { 'Content-Type': 'text/plain' }, body: 'x'.repeat(49 * 4096 + 1) }
  assert.equal((await ask(door.path, large)).status, 200)
  assert.equal((await ask(door.path, large)).status, 200)
  const refused = await ask(door.path, large)
  // All of the common share is used up, and a user who had not been known has 10 of the 50.
  assert.deepEqual([refused.status, refused.headers['retry-after'], codeOf(refused)], [429, '4', 'TELEMETRY_QUOTA'])
})

test('a stream that has begun is slowed down to the limit, not refused', async () => {
  const clock = createFakeClock()
  await using door = await openDoor({ clock, samplesPerSecond: 10 })
  const socket = await knock(door.path)
  await clock.waiting(10_000)
  socket.write('POST /telemetry HTTP/1.1\r\nContent-Type: application/x-ndjson\r\nContent-Length: 1000\r\n\r\n')
  socket.write('1\n'.repeat(100))
  assert.match(String(await once(socket, 'data')), /\{"stored":100\}/)
  socket.write('1\n'.repeat(30))
  // 10 of 30 were there for a user who had not been known: 2 s for the others.
  while (!clock.pending().includes(2000)) await new Promise((resolve) => setImmediate(resolve))
  assert.equal(door.samples.length, 100)
  const more = once(socket, 'data')
  await clock.advance(2000)
  assert.match(String(await more), /\{"stored":130\}/)
  socket.destroy()
})

test('one user who sends too much does not close the door to another, and nobody is asked before it matters', async () => {
  const clock = createFakeClock()
  let asked = 0
  let user = 1000
  const identify = () => {
    asked += 1
    return Promise.resolve(user)
  }
  await using door = await openDoor({ clock, samplesPerSecond: 10, identify })
  const post = async () => (await ask(door.path, { headers: JSON_TYPE, body: '[1,2,3,4,5,6,7,8,9,10]' })).status
  for (let round = 0; round < 10; round += 1) assert.equal(await post(), 200)
  assert.equal(asked, 0)
  assert.deepEqual([await post(), await post(), asked], [200, 429, 2])
  user = 2000
  assert.equal(await post(), 200)
})

test('the kernel tells who is at the other end, without disturbing what is being sent', async () => {
  const known: (number | undefined)[] = []
  const modes: boolean[] = []
  const uid = createPeerUid({ clock: systemClock })
  await using door = await openDoor({
    samplesPerSecond: 1,
    identify: async (socket) => {
      const found = await uid(socket)
      known.push(found)
      modes.push(await isNonBlocking(socket))
      return found
    },
  })
  // Above the limit from the first request: each one is larger than the share of everybody.
  const body = `[${Array.from({ length: 5000 }, (_, at) => `"${String(at).padStart(400, 'x')}"`).join(',')}]`
  assert.equal((await ask(door.path, { headers: JSON_TYPE, body })).status, 200)
  const socket = await knock(door.path)
  let said = ''
  socket.write(wire(body) + wire(body) + wire('{"end":1}'))
  for await (const part of socket) {
    said += String(part)
    if (said.includes('"durability"')) break
  }
  const statuses = [...said.matchAll(/HTTP\/1.1 (\d+)/g)].map(([, status]) => status)
  assert.deepEqual(statuses, ['429', '429', '200'], 'each of three requests was read to its end')
  assert.equal(door.bodies().at(-1), '{"end":1}')
  assert.deepEqual(modes, [true], 'a slow reader would hold up the whole agent')
  assert.deepEqual(known, [process.getuid?.()], 'once a connection')
})

/** The flag that a connection shares with whoever has inherited it (proc(5), fdinfo). */
async function isNonBlocking(socket: Socket): Promise<boolean> {
  const { fd } = (socket as Socket & { readonly _handle: { readonly fd: number } })._handle
  const flags = /^flags:\s+0([0-7]+)$/m.exec(await readFile(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? '0'
  return (Number.parseInt(flags, 8) & constants.O_NONBLOCK) !== 0
}

test('another user is told apart by the kernel', { skip: process.getuid?.() !== 0 && 'needs root' }, async () => {
  await using door = await openDoor({ samplesPerSecond: 1, identify: createPeerUid({ clock: systemClock }) })
  await chmod(door.folder, 0o755)
  await chmod(door.path, 0o666)
  const post = (user: number, body: string) => curl(door.path, ['-d', body, 'http://localhost/telemetry'], { user })
  const eleven = `[${'1,'.repeat(10)}1]`
  await post(65_534, eleven)
  const refused = await post(65_534, eleven)
  assert.match(refused.stdout, /user 65534 may hand in 1 samples a second/)
  assert.match((await post(1, '1')).stdout, /"stored":1/)
})

test('a runtime without Perl, or one that hangs, knows nobody, and keeps no connection open', async () => {
  await using door = await openDoor()
  const script = join(door.folder, 'hangs')
  await writeFile(script, '#!/bin/sh\nread never <&1\nexec sleep 1000\n', { mode: 0o755 })
  const path = join(door.folder, 'other.sock')
  const server = createServer()
  server.listen(path)
  await once(server, 'listening')
  for (const [perl, isSlow] of [
    ['/nonexistent/perl', false],
    ['/bin/false', false],
    [script, true],
  ] as const) {
    const clock = createFakeClock()
    const client = connect(path)
    const [socket] = (await once(server, 'connection')) as [ReturnType<typeof connect>]
    const known = createPeerUid({ clock, perl })(socket)
    if (isSlow) {
      await clock.waiting(2000)
      await clock.advance(2000)
    }
    assert.equal(await known, undefined, perl)
    socket.destroy()
    client.resume()
    await once(client, 'close')
    assert.equal(await createPeerUid({ clock, perl })(socket), undefined, 'nor of a connection that is over')
  }
  server.close()
})
