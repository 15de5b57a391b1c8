import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { runOutbox } from '../../agent/commands/outbox.ts'
import type { OutboxCommandOptions } from '../../agent/commands/outbox.ts'
import { answerOutbox } from '../../agent/control/outbox.ts'
import type { OutboxView } from '../../agent/control/outbox.ts'
import { openControl } from '../../agent/control/server.ts'
import { Failure } from '../../agent/failure.ts'
import { systemClock } from '../../agent/system/clock.ts'
import type { Outbox } from '../../agent/telemetry/outbox/port.ts'
import { makeTemporaryFolder } from '../kit/openssl.ts'
import { kinds, parcelsOf, sample } from '../kit/outbox.ts'
import { emptyLevel, outboxAt } from '../kit/outbox-level.ts'

const NOW_MS = Date.UTC(2026, 0, 5, 12)
const HOUR_MS = 3_600_000

function onFailure(failure: Failure): void {
  throw failure
}

/** Runs the command against an agent with this outbox; none when it is undefined. */
async function run(outbox: Outbox | undefined, options: Partial<OutboxCommandOptions> = {}, nowMs = NOW_MS) {
  await using folder = await makeTemporaryFolder()
  const path = join(folder.path, 'control.sock')
  const clock = systemClock
  const written = { stdout: Buffer.alloc(0), stderr: '' }
  const io = {
    stdout: (content: string | Uint8Array) => {
      written.stdout = Buffer.concat([written.stdout, Buffer.from(content)])
    },
    stderr: (text: string) => void (written.stderr += text),
  }
  await using _agent =
    outbox && (await openControl({ path, clock, onFailure, answer: (asked) => answerOutbox(asked, outbox, nowMs) }))
  const exitCode = await runOutbox(io, { socket: path, clock, ...options })
  return { exitCode, stdout: written.stdout.toString('utf8'), bytes: written.stdout, stderr: written.stderr }
}

const refused = new Failure('MESSAGE_REFUSED', 'the hub closes at it')

/** An outbox of which the stream press holds one sample more than these, which were set aside. */
async function withAside(...bad: readonly Parameters<typeof sample>[]) {
  const box = await kinds.disk()
  const all = bad.map(([id, others]) => sample(id, { stream: 'press', ...others }))
  await box.keep(...all, sample('good', { stream: 'press' }))
  for (const parcel of parcelsOf(box.outbox, 'press').slice(0, bad.length)) box.outbox.setAside(parcel, refused)
  return box
}

const label = { contentType: 'text/plain', contentEncoding: 'utf-8', properties: { line: '4' } }

test('it says what waits in which stream, what was given up, and what was set aside and why', async () => {
  const outbox: Outbox = {
    ...outboxAt(() => ({
      ...emptyLevel,
      ...{ depth: 12, bytes: 250_000, aside: 1, oldestAtMs: NOW_MS - 3 * HOUR_MS },
      dropped: { full: 5, expired: 0, refused: 1, torn: 0 },
      trouble: new Failure('DISK_FULL', 'only 0 bytes are left'),
    })),
    streams: () => [
      {
        ...{ key: 1, name: 'news', priority: 'telemetry', head: 7, tail: 8, closed: 8 },
        headAtMs: NOW_MS,
        tailAtMs: NOW_MS,
      },
      {
        ...{ key: 2, name: 'press', priority: 'alarm', head: 1, tail: 10, closed: 10 },
        ...{ headAtMs: NOW_MS - 3 * HOUR_MS, tailAtMs: NOW_MS - 60_000 },
      },
    ],
    asideList: () => [
      { id: 'a-17', stream: 'press', atMs: NOW_MS, code: 'MESSAGE_REFUSED', message: 'why', label, bytes: 44 },
    ],
  }
  const { exitCode, stdout, stderr } = await run(outbox)
  assert.deepEqual([exitCode, stderr], [0, ''])
  const lines = stdout.trimEnd().split('\n')
  assert.equal(lines[0], 'Outbox      on disk; 12 waiting, the oldest for 3 h; 250000 of 1000000 bytes (25 %)')
  assert.equal(lines[1], 'Refuses     DISK_FULL: only 0 bytes are left')
  assert.match(lines[2] ?? '', /^ {12}next: Free space: df -h/)
  assert.deepEqual(lines.slice(3), [
    'Given up    6 (full 5, refused 1)',
    'Waiting     press (alarm): 10, the oldest for 3 h, the newest for 1 min',
    '            news (telemetry): 2, the oldest for 0 s, the newest for 0 s',
    'Set aside   2026-01-05T12:00:00Z stream press, ID a-17, 44 bytes of text/plain, line=4',
    '              MESSAGE_REFUSED: why',
    '            to read one: iot-device-agent outbox --body ID',
  ])
})

test('an empty outbox is three words and two numbers', async () => {
  const { stdout } = await run(outboxAt(() => emptyLevel))
  assert.equal(stdout, 'Outbox      on disk; 0 waiting; 0 of 1000000 bytes (0 %)\nGiven up    0\n')
})

test('what a program has written cannot steer the terminal, and of much the first is shown with how much more there is', async () => {
  await using box = await withAside(
    ...Array.from({ length: 12 }, (_, at): Parameters<typeof sample> => [`bad-${at}`, {}]),
  )
  const evil = new Failure('MESSAGE_REFUSED', 'wipe\u001b[2J')
  const list = box.outbox.asideList().map((one) => ({ ...one, message: evil.message }))
  const { stdout } = await run({ ...box.outbox, asideList: () => list })
  assert.ok(!stdout.includes('\u001b'))
  assert.ok(stdout.includes('ID bad-11,') && stdout.includes('ID bad-2,') && !stdout.includes('ID bad-1,'))
  assert.match(stdout, /and 2 more: iot-device-agent outbox --json/)
})

test('as JSON it has everything but the bodies', async () => {
  await using box = await withAside(['a-17', { label, body: 'secret words' }])
  const { exitCode, stdout } = await run(box.outbox, { json: true })
  const view = JSON.parse(stdout) as OutboxView & { readonly ok: boolean }
  assert.deepEqual([exitCode, view.ok, view.format], [0, true, 1])
  assert.deepEqual(
    view.streams.map(({ name, priority, depth }) => [name, priority, depth]),
    [['press', 'telemetry', 1]],
  )
  const { atMs: _, ...kept } = view.aside[0] ?? { atMs: 0 }
  assert.deepEqual(kept, {
    ...{ id: 'a-17', stream: 'press', code: 'MESSAGE_REFUSED', message: 'the hub closes at it', bytes: 12 },
    label,
  })
  assert.ok(!stdout.includes('secret words'))
})

for (const [what, body] of [
  ['the largest text, of characters that JSON escapes', '\u0001'.repeat(256 * 1024)],
  ['bytes', Buffer.from([0, 255, 10, 128])],
] as const)
  test(`a body that was set aside is printed as it is: ${what}`, async () => {
    await using box = await withAside(['a-17', { body }])
    const { exitCode, bytes } = await run(box.outbox, { body: 'a-17' })
    assert.equal(exitCode, 0)
    assert.ok(bytes.equals(Buffer.from(body)))
    // The same once it has been written to the file.
    await box.settle()
    assert.ok((await run(box.outbox, { body: 'a-17' })).bytes.equals(Buffer.from(body)))
  })

test('an ID under which nothing was set aside is said to be unknown, with the command that lists them', async () => {
  await using box = await withAside(['a-17', {}])
  const { exitCode, stdout, stderr } = await run(box.outbox, { body: 'good' })
  assert.deepEqual([exitCode, stdout], [1, ''])
  assert.match(stderr, /^SAMPLE_UNKNOWN: .* good\n {2}See which there are: iot-device-agent outbox\n$/)
})

test('without an agent the exit code is 5, in text and in JSON', async () => {
  const { exitCode, stderr } = await run(undefined)
  assert.equal(exitCode, 5)
  assert.match(stderr, /^AGENT_NOT_RUNNING: .*\n {2}Start it: /)
  const { exitCode: again, stdout } = await run(undefined, { json: true })
  assert.deepEqual([again, (JSON.parse(stdout) as { exitCode: number }).exitCode], [5, 5])
})

test('a request that is not understood is refused', () => {
  const outbox = outboxAt(() => emptyLevel)
  for (const [request, says] of [
    [{ ask: 'outbox', bodies: true }, /no field "bodies"/],
    [{ ask: 'outbox', body: 7 }, /must be the ID/],
  ] as const)
    assert.throws(
      () => answerOutbox(request, outbox, NOW_MS),
      (error) => error instanceof Failure && error.code === 'CONTROL_BAD_REQUEST' && says.test(error.message),
    )
})
