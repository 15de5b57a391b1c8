import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readdir, stat, writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { Failure } from '../../agent/failure.ts'
import type { FailureCode } from '../../agent/failure.ts'
import { systemClock } from '../../agent/system/clock.ts'
import { openIntake } from '../../agent/telemetry/intake/server.ts'
import { openOutbox } from '../../agent/telemetry/outbox/open.ts'
import { PLAIN_LABEL } from '../../agent/telemetry/sample.ts'
import { makeTemporaryFolder } from '../kit/openssl.ts'
import {
  ask,
  codeOf,
  curl,
  json,
  JSON_TYPE,
  knock,
  lastOf,
  NDJSON,
  openDoor,
  STAMP_MS,
  wire,
} from '../kit/telemetry-door.ts'

function hasCode(code: string): (error: unknown) => boolean {
  return (error) => error instanceof Failure && error.code === code
}

test('one line of shell hands in a sample, which is stored as it was written before it is answered', async () => {
  await using door = await openDoor()
  const said = await curl(door.path, ['-d', '{"temperature":21.50}', 'http://localhost/telemetry'])
  assert.deepEqual([said.exit, said.stderr], [0, ''])
  const [sample] = door.samples
  assert.deepEqual(json(said.stdout), { stored: 1, ids: [sample?.id], durability: 'synced' })
  assert.match(sample?.id ?? '', /^[0-9a-f-]{36}$/)
  assert.deepEqual(sample, {
    id: sample?.id,
    stream: 'local',
    priority: 'telemetry',
    createdAtMs: STAMP_MS,
    label: PLAIN_LABEL,
    body: '{"temperature":21.50}',
  })
  assert.deepEqual(door.groups, [{ durability: 'synced', count: 1 }])
  assert.deepEqual(door.intake.counts(), { accepted: 1, refused: {} })
})

test('a request is answered after it is stored and not before', async () => {
  const storing = Promise.withResolvers<void>()
  const asked = Promise.withResolvers<void>()
  await using door = await openDoor({
    before() {
      asked.resolve()
      return storing.promise
    },
  })
  let isAnswered = false
  const answer = ask(door.path, { body: '{}' }).then((answered) => {
    isAnswered = true
    return answered
  })
  await asked.promise
  assert.equal((await ask(door.path, { method: 'GET', path: '/health' })).status, 200)
  assert.equal(isAnswered, false)
  storing.resolve()
  assert.equal((await answer).status, 200)
})

test('what the query says goes with the samples', async () => {
  await using door = await openDoor()
  const path = '/telemetry?durability=relaxed&stream=press&severity=error&property.line=4&id=m-1'
  const answered = await ask(door.path, { path, body: '{"a":1}' })
  assert.deepEqual(json(answered.text), { stored: 1, ids: ['m-1'], durability: 'relaxed' })
  assert.deepEqual(
    door.samples.map(({ stream, priority, label }) => [stream, priority, label.properties]),
    [['press', 'alarm', { line: '4', severity: 'error' }]],
  )
})

test('an array is stored together, or not at all', async () => {
  await using door = await openDoor()
  const good = await ask(door.path, { headers: JSON_TYPE, body: '[{"a":1.0},2,"x"]' })
  assert.equal((json(good.text)['ids'] as string[]).length, 3)
  assert.deepEqual(door.groups, [{ durability: 'synced', count: 3 }])
  assert.deepEqual(door.bodies(), ['{"a":1.0}', '2', '"x"'])
  const bad = await ask(door.path, { headers: JSON_TYPE, body: '[1,2,nope]' })
  assert.equal(bad.status, 400)
  assert.match(bad.text, /element 3/)
  assert.equal(json(bad.text)['stored'], 0)
  assert.equal(door.samples.length, 3)
})

test('any other body is a sample as it is', async () => {
  await using door = await openDoor()
  const bytes = Buffer.from([0, 255, 10, 13, 128])
  await ask(door.path, { headers: { 'Content-Type': 'application/octet-stream' }, body: bytes })
  await ask(door.path, { headers: { 'Content-Type': 'text/csv; charset=utf-8' }, body: 'ä;b\n' })
  assert.deepEqual(
    door.samples.map(({ label, body }) => [label, body]),
    [
      [{ contentType: 'application/octet-stream' }, bytes],
      [{ contentType: 'text/csv', contentEncoding: 'utf-8' }, 'ä;b\n'],
    ],
  )
  const broken = await ask(door.path, { headers: { 'Content-Type': 'text/csv; charset=utf-8' }, body: bytes })
  assert.deepEqual([broken.status, codeOf(broken)], [400, 'TELEMETRY_INVALID'])
})

test('lines are stored as they come, and each answer says how many are safe', async () => {
  await using door = await openDoor()
  const call = request({ socketPath: door.path, path: '/telemetry', method: 'POST', headers: NDJSON })
  call.write('{"a":1}\n{"a":2}\n{"a"')
  const [response] = (await once(call, 'response')) as [AsyncIterable<Buffer> & { statusCode: number }]
  assert.equal(response.statusCode, 200)
  const chunks = response[Symbol.asyncIterator]()
  const next = async () => String((await chunks.next()).value)
  assert.equal(await next(), '{"stored":2}\n')
  assert.deepEqual(door.bodies(), ['{"a":1}', '{"a":2}'])
  call.write(':3}\r\n\n \r\n')
  assert.equal(await next(), '{"stored":3}\n')
  call.end('{"a":4}')
  assert.equal(await next(), '{"stored":4}\n')
  assert.equal((await chunks.next()).done, true)
  assert.deepEqual(door.bodies(), ['{"a":1}', '{"a":2}', '{"a":3}', '{"a":4}'])
})

test('a stream of lines is stored the same wherever it is split', async () => {
  await using door = await openDoor()
  const lines = fc.array(
    fc.oneof(
      fc.json().map((text) => text.replaceAll('\n', ' ')),
      fc.constantFrom('', '  ', '"🚂ß"'),
    ),
  )
  let at = 0
  await fc.assert(
    fc.asyncProperty(
      lines,
      fc.constantFrom('\n', '\r\n'),
      fc.array(fc.nat(), { maxLength: 8 }),
      async (all, end, places) => {
        at = door.samples.length
        const bytes = Buffer.from(all.join(end))
        const ends = [...new Set(places.map((place) => place % (bytes.length + 1)))].toSorted((a, b) => a - b)
        const pieces = async function* () {
          for (const [index, to] of [...ends, bytes.length].entries()) yield bytes.subarray(ends[index - 1] ?? 0, to)
        }
        const expected = all.map((line) => line.trim()).filter((line) => line !== '')
        const answered = await ask(door.path, { headers: NDJSON, body: pieces() })
        assert.deepEqual([answered.status, lastOf(answered)], [200, { stored: expected.length }])
        assert.deepEqual(door.bodies().slice(at), expected)
      },
    ),
    { numRuns: 150 },
  )
})

test('the line that is wrong ends a stream, is named, and what came before it is kept', async () => {
  await using door = await openDoor()
  const answered = await ask(door.path, { headers: NDJSON, body: '{"a":1}\n\n{"a":2}\n{"a"\n{"a":4}\n' })
  assert.equal(answered.status, 200)
  const { error, ...others } = lastOf(answered)
  assert.deepEqual(others, { stored: 2, line: 4 })
  assert.deepEqual(Object.keys(error as object), ['code', 'message', 'advice'])
  assert.equal(codeOf(answered), 'TELEMETRY_INVALID')
  assert.deepEqual(door.bodies(), ['{"a":1}', '{"a":2}'])
  assert.deepEqual(door.intake.counts(), { accepted: 2, refused: { TELEMETRY_INVALID: 1 } })
})

test('a stream of which nothing could be stored is refused by the status code', async () => {
  await using door = await openDoor()
  const first = await ask(door.path, { headers: NDJSON, body: 'x\n{"a":1}\n' })
  assert.deepEqual([first.status, lastOf(first)['stored'], lastOf(first)['line']], [400, 0, 1])
  const long = await ask(door.path, { headers: NDJSON, body: `"${'x'.repeat(600_000)}"` })
  assert.deepEqual([long.status, codeOf(long)], [413, 'TELEMETRY_TOO_LARGE'])
  const bytes = await ask(door.path, { headers: NDJSON, body: Buffer.from([0x22, 0xff, 0x22]) })
  assert.deepEqual([bytes.status, codeOf(bytes)], [400, 'TELEMETRY_INVALID'])
  assert.equal(door.samples.length, 0)
})

test('each refusal of the outbox has its status, and says when to come again', async () => {
  const codes: readonly (readonly [FailureCode, number, string | undefined])[] = [
    ['OUTBOX_BUSY', 503, '1'],
    ['OUTBOX_FULL', 507, undefined],
    ['DISK_FULL', 507, undefined],
    ['STATE_UNWRITABLE', 507, undefined],
    ['OUTBOX_IN_MEMORY', 507, undefined],
    ['UNEXPECTED', 500, undefined],
  ]
  for (const [code, status, retryAfter] of codes) {
    await using door = await openDoor({ before: () => Promise.reject(new Failure(code, 'because')) })
    const whole = await ask(door.path, { body: '{}' })
    const { error, stored } = lastOf(whole)
    assert.deepEqual([whole.status, whole.headers['retry-after'], stored], [status, retryAfter, 0], code)
    const seconds = retryAfter === undefined ? {} : { retryAfterSeconds: Number(retryAfter) }
    assert.deepEqual(error, { code, message: 'because', advice: new Failure(code, '').advice, ...seconds })
    const lines = await ask(door.path, { headers: NDJSON, body: '1\n2\n' })
    assert.deepEqual([lines.status, lastOf(lines)['line']], [status, 1], code)
    assert.deepEqual(door.intake.counts(), { accepted: 0, refused: { [code]: 2 } })
    assert.equal(door.failures.length, status === 500 ? 2 : 0, 'only what is broken is told to the agent')
  }
})

test('what breaks inside is said without a stack, and the door stays open', async () => {
  await using door = await openDoor({ before: () => Promise.reject(new TypeError('x is not a function')) })
  const answered = await ask(door.path, { body: '{}' })
  assert.deepEqual([answered.status, codeOf(answered)], [500, 'UNEXPECTED'])
  assert.doesNotMatch(answered.text, /\.ts/)
  assert.equal((await ask(door.path, { method: 'GET', path: '/health' })).status, 200)
})

test('a disk that fills in the middle of a stream ends it with the line from which to go on', async () => {
  let left = 2
  await using door = await openDoor({
    before() {
      left -= 1
      return left < 0 ? Promise.reject(new Failure('DISK_FULL', 'no space')) : Promise.resolve()
    },
  })
  const answered = await ask(door.path, { headers: NDJSON, body: Array.from({ length: 2500 }, () => '1\n').join('') })
  assert.equal(answered.status, 200)
  const { stored, line } = lastOf(answered)
  assert.equal(codeOf(answered), 'DISK_FULL')
  assert.equal(stored, door.samples.length)
  assert.equal(line, door.samples.length + 1)
})

test('other paths and methods are refused with what there is', async () => {
  await using door = await openDoor()
  const nowhere = await ask(door.path, { path: '/telemetri' })
  assert.deepEqual([nowhere.status, codeOf(nowhere)], [404, 'TELEMETRY_INVALID'])
  assert.match(nowhere.text, /POST \/telemetry and GET \/health/)
  const wrong = await ask(door.path, { method: 'PUT', body: '{}' })
  assert.deepEqual([wrong.status, wrong.headers.allow], [405, 'POST'])
  const health = await ask(door.path, { path: '/health' })
  assert.deepEqual([health.status, health.headers.allow], [405, 'GET, HEAD'])
})

test('health is told as it is, with the trouble a reader can do something about', async () => {
  await using door = await openDoor()
  const health = { connected: true, sinceMs: 5, depth: 2, bytes: 30, maxBytes: 1000, dropped: { full: 1 } }
  const said = await curl(door.path, ['http://localhost/health'])
  assert.deepEqual(json(said.stdout), health)
  const trouble = new Failure('DISK_FULL', 'no space', { cause: new Error('inner') })
  await using sick = await openDoor({ health: () => ({ ...health, trouble }) })
  const { text } = await ask(sick.path, { method: 'GET', path: '/health' })
  assert.deepEqual(json(text)['trouble'], { code: 'DISK_FULL', message: 'no space', advice: trouble.advice })
})

test('of a client that goes away in the middle, whole lines are kept and nothing else', async () => {
  await using door = await openDoor()
  const socket = await knock(door.path)
  socket.write(
    'POST /telemetry HTTP/1.1\r\nContent-Type: application/x-ndjson\r\nContent-Length: 1000\r\n\r\n{"a":1}\n{"a":2}',
  )
  await once(socket, 'data')
  socket.destroy()
  const other = await knock(door.path)
  other.write('POST /telemetry HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"a":3}')
  other.destroy()
  while (door.intake.counts().refused['TELEMETRY_INVALID'] !== 2) await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(door.bodies(), ['{"a":1}'])
  assert.deepEqual(door.failures, [])
})

test('requests of one connection are stored in their order, however many are sent ahead', async () => {
  let delayed = 0
  await using door = await openDoor({
    async before() {
      delayed += 1
      if (delayed % 3 === 1)
        for (let turn = 0; turn < 10; turn += 1) await new Promise((resolve) => setImmediate(resolve))
    },
  })
  const socket = await knock(door.path)
  socket.write(Array.from({ length: 64 }, (_, at) => wire(String(at))).join(''))
  let said = ''
  for await (const part of socket) {
    said += String(part)
    if (said.split('"durability"').length > 64) break
  }
  assert.deepEqual(
    door.bodies(),
    Array.from({ length: 64 }, (_, at) => String(at)),
  )
})

test('owner and group may use the socket, nobody else, and a crash leaves nothing in the way', async () => {
  await using door = await openDoor()
  const { mode } = await stat(door.path)
  assert.equal((mode & 0o777).toString(8), '660')
  assert.deepEqual(await readdir(door.folder), ['telemetry.sock'])
  await assert.rejects(openSecond(door.path), hasCode('AGENT_ALREADY_RUNNING'))
  const file = join(door.folder, 'file')
  await writeFile(file, '')
  await assert.rejects(openSecond(file), hasCode('TELEMETRY_UNAVAILABLE'))
  await assert.rejects(openSecond(join(file, 'telemetry.sock')), hasCode('TELEMETRY_UNAVAILABLE'))
})

function openSecond(path: string): Promise<AsyncDisposable> {
  return openIntake({
    path,
    clock: systemClock,
    append: () => Promise.resolve(),
    stamp: () => ({ createdAtMs: 0 }),
    health: () => ({ connected: false, sinceMs: 0, depth: 0, bytes: 0, maxBytes: 0, dropped: {} }),
    samplesPerSecond: 0,
    onFailure: (failure) => assert.fail(failure.message),
  })
}

test('an agent that stops answers what it is storing, and ends streams with what is safe', async () => {
  const free = Promise.withResolvers<void>()
  const asked = Promise.withResolvers<void>()
  await using door = await openDoor({
    before(samples) {
      if (samples[0]?.body !== '"slow"') return Promise.resolve()
      asked.resolve()
      return free.promise
    },
  })
  const stream = await knock(door.path)
  stream.write('POST /telemetry HTTP/1.1\r\nContent-Type: application/x-ndjson\r\nContent-Length: 1000\r\n\r\n1\n')
  assert.match(String(await once(stream, 'data')), /\{"stored":1\}/)
  const slow = ask(door.path, { body: '"slow"' })
  await asked.promise
  const rest = text(stream)
  const closed = door.intake[Symbol.asyncDispose]()
  free.resolve()
  assert.equal((await slow).status, 200)
  await closed
  assert.match(await rest, /"code":"OUTBOX_BUSY".*"stored":1,"line":2/)
  assert.deepEqual(await readdir(door.folder), [])
})

test('what was answered as synced is in the outbox after the agent has gone, in order, as it was written', async () => {
  await using folder = await makeTemporaryFolder()
  const file = join(folder.path, 'outbox.db')
  const options = {
    clock: systemClock,
    limits: { maxBytes: 16 * 1024 * 1024, maxAgeMs: Infinity, batchSamples: 1, batchMs: 0 },
    onFailure: (failure: Failure) => assert.fail(failure.message),
  }
  const lines = Array.from({ length: 3000 }, (_, at) => `{"at":${at}.0}`)
  {
    await using outbox = await openOutbox(file, options)
    await using door = await openDoor({ append: (samples, durability) => outbox.append(samples, durability) })
    const streamed = await ask(door.path, { headers: NDJSON, body: lines.join('\n') })
    assert.deepEqual([streamed.status, lastOf(streamed)], [200, { stored: 3000 }])
    const path = '/telemetry?stream=press&severity=critical&id=alarm-1&durability=written'
    assert.equal((await ask(door.path, { path, body: '{"hot":true}' })).status, 200)
  }
  await using outbox = await openOutbox(file, options)
  const bodies = new Map<string, (string | undefined)[]>()
  for (const { key, name, priority, head, tail } of outbox.streams()) {
    const stored: (string | undefined)[] = []
    for (let after = head - 1; after < tail; after += 1) {
      const sample = outbox.next(key, after)?.samples[0]
      stored.push(sample === undefined ? undefined : Buffer.from(sample.body).toString('utf8'))
    }
    bodies.set(`${name} ${priority}`, stored)
  }
  assert.deepEqual(
    bodies,
    new Map([
      ['local telemetry', lines],
      ['press alarm', ['{"hot":true}']],
    ]),
  )
})
