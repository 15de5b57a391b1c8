/** Every example of docs/telemetry.md, run as it stands there against a real agent, and every row of its tables. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { OutboxView } from '../../agent/control/outbox.ts'
import { Failure } from '../../agent/failure.ts'
import { textOf } from '../cloud/body.ts'
import type { Cloud } from '../cloud/cloud.ts'
import { makeDevice } from '../kit/device.ts'
import type { Device } from '../kit/device.ts'
import { lacks, sourceProgram } from '../kit/program.ts'
import type { AgentProcess, Variables } from '../kit/program.ts'
import { ask, codeOf, json, JSON_TYPE, lastOf, NDJSON, openDoor } from '../kit/telemetry-door.ts'
import type { Answered, Asking } from '../kit/telemetry-door.ts'
import { eventsOf, seen, startFleetCloud } from './agent-kit.ts'
import type { EventOf } from './agent-kit.ts'

const page = await readFile(new URL('../../docs/telemetry.md', import.meta.url), 'utf8')

/** The only words of the page that are other ones on the device of a test. */
const SOCKET = '/run/iot-device-agent/telemetry.sock'
const BATTERY = '/usr/local/bin/battery'

let cloud: Cloud

before(async () => {
  cloud = await startFleetCloud()
})
after(() => cloud.close())

/** The one block of this language that says this. */
function blockWith(language: string, words: string): string {
  const blocks = [...page.matchAll(/^```(\w+)\n(.*?)^```$/gms)].filter(([, name, text]) => {
    return name === language && text?.includes(words) === true
  })
  assert.equal(blocks.length, 1, `blocks of ${language} with ${words}`)
  return blocks[0]?.[2] ?? ''
}

/** The example answer, indented, that stands behind a block. */
function answerBehind(block: string): Readonly<Record<string, unknown>> {
  const [, indented = ''] = /^```\n\n((?: {4}.*\n)+)/.exec(page.slice(page.indexOf(block) + block.length)) ?? []
  return json(indented)
}

/** The cells of the rows of the table with this heading, without the marks of code. */
function rowsOf(heading: string): readonly (readonly string[])[] {
  const [, rows = ''] = page.split(`${heading}\n`)[1]?.match(/^\|[-|]+\|\n((?:\|.*\n)+)/) ?? []
  const cells = rows.split('\n').map((line) => line.split('|').map((cell) => cell.trim().replaceAll('`', '')))
  return cells.filter((row) => row.length > 1).map((row) => row.slice(1, -1))
}

interface Living {
  readonly device: Device
  readonly agent: AgentProcess
  readonly socket: string
}

interface Setting {
  readonly toml?: string
  readonly hasCredential?: boolean
  readonly environment?: Variables
}

/** A device whose only samples are those of the test; connected unless it has no credential. */
async function live(
  registrationId: string,
  { toml = '', hasCredential = true, environment = {} }: Setting = {},
): Promise<Living & AsyncDisposable> {
  const pair = hasCredential ? await cloud.authority.makeDevice(registrationId) : undefined
  const all = `[telemetry]\ndevice = false\n${toml}`
  const device = await makeDevice(cloud, { registrationId, toml: all, environment, ...(pair && { pair }) })
  const agent = device.start()
  await agent.journal.heard(hasCredential ? 'connected' : 'waiting for a certificate')
  const socket = device.config.paths.telemetrySocket
  return { device, agent, socket, [Symbol.asyncDispose]: () => device[Symbol.asyncDispose]() }
}

interface Said {
  readonly stdout: string
  readonly stderr: string
  readonly exit: number
}

/** Runs an example of the page with this program, in which only the socket is another. */
function runExample(program: readonly string[], example: string, { socket }: Living, variables: Variables = {}) {
  const [file = '', ...words] = program
  const env = { PATH: process.env['PATH'] ?? '', HOME: '/', ...variables }
  return new Promise<Said>((resolve) => {
    const text = example.replaceAll(SOCKET, socket)
    execFile(file, [...words, text], { env, cwd: '/', timeout: 30_000 }, (error, stdout, stderr) => {
      resolve({ stdout, stderr, exit: error === null ? 0 : 1 })
    })
  })
}

type Telemetry = EventOf<'telemetry'>['message']

/** The first messages of a device, oldest first. */
async function arrived(id: string, count = 1): Promise<readonly Telemetry[]> {
  await cloud.record.waitFor(() => eventsOf(cloud, 'telemetry', id).length >= count, { withinMs: 20_000 })
  return eventsOf(cloud, 'telemetry', id).map(({ message }) => message)
}

/** The message that has this ID. */
async function withId(id: string, messageId: unknown): Promise<Telemetry> {
  const fits = ({ message }: EventOf<'telemetry'>) => message.system['message-id'] === messageId
  return (await seen(cloud, 'telemetry', id, { fits })).message
}

/** The answer is that of the page but for its ID, under which the sample is in the cloud. */
async function isPressure(id: string, stdout: string): Promise<void> {
  const answer = json(stdout)
  const { ids: shown, ...promised } = answerBehind(blockWith('sh', `--data '{"pressure":1013.2}'`))
  const { ids, ...others } = answer
  assert.deepEqual(others, promised)
  assert.ok(Array.isArray(ids) && Array.isArray(shown))
  assert.equal(ids.length, shown.length)
  const message = await withId(id, ids[0])
  assert.deepEqual(JSON.parse(textOf(message)), { pressure: 1013.2 })
  assert.equal(message.system['content-type'], 'application/json')
}

for (const [name, program, language, words] of [
  ['curl', ['/bin/sh', '-c'], 'sh', `--data '{"pressure":1013.2}'`],
  ['python3', ['python3', '-c'], 'python', 'http.client'],
  ['node', ['node', '-e'], 'js', 'node:http'],
] as const)
  test(`${name} hands in a sample in the words of the page, and it is in the cloud`, lacks(name), async () => {
    const id = `page-${name}`
    await using living = await live(id)
    const { stdout, stderr, exit } = await runExample(program, blockWith(language, words), living)
    assert.deepEqual([exit, stderr], [0, ''])
    await isPressure(id, stdout)
  })

test('the loop of the shell sends a line each time, and each is in the cloud', lacks('curl'), async () => {
  await using living = await live('page-loop')
  // The third pause ends the loop: what lies before it in PATH is a sleep that ends who called it.
  const folder = join(living.device.folder, 'bin')
  await mkdir(folder)
  const sleep =
    '#!/bin/sh\n[ "$1" = 10 ] || exit 1\necho >> "$0.calls"\n[ "$(wc -l < "$0.calls")" -lt 3 ] || kill "$PPID"\n'
  await writeFile(join(folder, 'sleep'), sleep, { mode: 0o755 })
  const example = blockWith('sh', 'while :')
  const said = await runExample(['/bin/sh', '-c'], example, living, { PATH: `${folder}:${process.env['PATH']}` })
  assert.equal(said.exit, 0, said.stderr)
  assert.deepEqual(json(said.stdout.trim().split('\n').at(-1) ?? ''), { stored: 3 })
  const messages = await arrived('page-loop', 3)
  assert.equal(messages.length, 3)
  for (const message of messages) assert.match(textOf(message), /^\{"load":\d+\.\d\d\}$/)
})

test('lines in envelopes have the IDs and properties that they say', lacks('curl'), async () => {
  await using living = await live('page-envelope')
  const said = await runExample(['/bin/sh', '-c'], blockWith('sh', 'envelope=true'), living)
  assert.deepEqual(json(said.stdout.trim().split('\n').at(-1) ?? ''), { stored: 2 }, said.stderr)
  const [first, second] = [await withId('page-envelope', 'a-17'), await withId('page-envelope', 'a-18')]
  assert.deepEqual([textOf(first), textOf(second)], ['{"pressure":1013.2}', '{"pressure":1013.4}'])
  assert.equal(second.properties['line'], '4')
})

test('GET /health answers what the page shows', lacks('curl'), async () => {
  await using living = await live('page-health')
  const example = blockWith('sh', 'http://agent/health')
  const { stdout } = await runExample(['/bin/sh', '-c'], example, living)
  const shown = answerBehind(example)
  // The time at which the session began is the only one that is another here.
  assert.deepEqual({ ...json(stdout), sinceMs: shown['sinceMs'] }, shown)
})

test('the line for a hand on the keyboard sends', async () => {
  await using living = await live('page-hand')
  const [, line = ''] = /^By hand: `iot-device-agent (.*)`$/m.exec(page) ?? []
  const program = sourceProgram.map((word) => `'${word}'`).join(' ')
  const said = await runExample(['/bin/sh', '-c'], `${program} ${line}`, living, living.device.variables)
  assert.deepEqual([said.exit, said.stderr], [0, ''])
  const [message] = await arrived('page-hand')
  assert.ok(message)
  assert.equal(textOf(message), '{"pressure":1013.2}')
  assert.ok(said.stdout.includes(message.system['message-id'] ?? 'none'), said.stdout)
})

test('the program of the page is run, and what it prints is sent', async () => {
  await using folder = await makeDevice(cloud, { registrationId: 'page-battery-files' })
  const battery = join(folder.folder, 'battery')
  await writeFile(battery, `#!/bin/sh\n[ "$*" = --json ] && echo '{"percent":97}'\n`, { mode: 0o755 })
  const toml = blockWith('toml', BATTERY).replaceAll(BATTERY, battery)
  await using _living = await live('page-battery', { toml })
  const [message] = await arrived('page-battery')
  assert.equal(message && textOf(message), '{"percent":97}')
})

test('what vcgencmd says of a Raspberry Pi is sent as the number that the page names', async () => {
  await using folder = await makeDevice(cloud, { registrationId: 'page-throttled-files' })
  const vcgencmd = join(folder.folder, 'vcgencmd')
  const [, printed = '', number = ''] = /prints `(throttled=\w+)`.*makes it\s+`(.*)`/.exec(page) ?? []
  await writeFile(vcgencmd, `#!/bin/sh\n[ "$*" = get_throttled ] && echo ${printed}\n`)
  await chmod(vcgencmd, 0o755)
  const environment = { PATH: `${folder.folder}:${process.env['PATH']}` }
  await using _living = await live('page-throttled', { toml: blockWith('toml', 'vcgencmd'), environment })
  const [message] = await arrived('page-throttled')
  assert.equal(message && textOf(message), number)
  assert.notEqual(number, '')
})

/** Hands one sample in with this parameter; the ID that it was given. */
async function handIn({ socket }: Living, query: string, body = '{"a":1}'): Promise<string> {
  const answer = await ask(socket, { path: `/telemetry?${query}`, headers: JSON_TYPE, body })
  assert.equal(answer.status, 200, answer.text)
  const { ids } = json(answer.text)
  assert.ok(Array.isArray(ids))
  return String(ids[0])
}

/** Each parameter of the page: what is asked, and what must come of it in the cloud, or in the outbox. */
const parameters: Readonly<Record<string, (living: Living) => Promise<void>>> = {
  async stream(living) {
    await handIn(living, 'stream=press-1.x_y')
    await handIn(living, '')
    const streams = await streamsOf(living)
    assert.ok(streams.includes('press-1.x_y telemetry') && streams.includes('local telemetry'), streams.join())
    for (const name of ['device', 'alarms-1', 'iotAgentOwn', 'a b', 'x'.repeat(65)])
      assert.equal((await ask(living.socket, { path: `/telemetry?stream=${encodeURIComponent(name)}` })).status, 400)
  },
  async durability(living) {
    for (const durability of [undefined, 'synced', 'written', 'relaxed']) {
      const path = durability === undefined ? '/telemetry' : `/telemetry?durability=${durability}`
      const answer = await ask(living.socket, { path, headers: JSON_TYPE, body: '{}' })
      assert.equal(json(answer.text)['durability'], durability ?? 'synced')
    }
  },
  async priority(living) {
    for (const priority of ['telemetry', 'alarm', 'audit']) await handIn(living, `stream=p&priority=${priority}`)
    const streams = await streamsOf(living)
    for (const priority of ['telemetry', 'alarm', 'audit']) assert.ok(streams.includes(`p ${priority}`), priority)
  },
  async severity(living) {
    for (const severity of ['debug', 'info', 'warning', 'error', 'critical']) {
      const id = await handIn(living, `stream=s-${severity}&severity=${severity}`)
      assert.equal((await withId(living.device.registrationId, id)).properties['severity'], severity)
    }
    await using offline = await live('page-severity', { hasCredential: false })
    for (const severity of ['warning', 'error', 'critical'])
      await handIn(offline, `stream=s-${severity}&severity=${severity}`)
    await handIn(offline, 'stream=calm&severity=error&priority=telemetry')
    const streams = await streamsOf(offline)
    assert.deepEqual(streams.toSorted(), ['calm telemetry', 's-critical alarm', 's-error alarm', 's-warning telemetry'])
  },
  async component(living) {
    const id = await handIn(living, 'component=motor1')
    assert.equal((await withId(living.device.registrationId, id)).system['dt-subject'], 'motor1')
  },
  async time(living) {
    const at = Date.UTC(2026, 0, 5, 12)
    for (const time of [String(at), '2026-01-05T12:00:00Z', '2026-01-05T13:00:00%2B01:00']) {
      const id = await handIn(living, `time=${time}`)
      const { system } = await withId(living.device.registrationId, id)
      assert.equal(Date.parse(system['iothub-creation-time-utc'] ?? ''), at, time)
    }
  },
  async id(living) {
    assert.equal(await handIn(living, 'id=a-17'), 'a-17')
    assert.equal(textOf(await withId(living.device.registrationId, 'a-17')), '{"a":1}')
  },
  async 'property.NAME'(living) {
    const id = await handIn(living, 'property.line=4&property.site=N%C3%BCrnberg')
    const { properties } = await withId(living.device.registrationId, id)
    assert.deepEqual([properties['line'], properties['site']], ['4', 'Nürnberg'])
  },
  async envelope(living) {
    const own = { id: 'e-1', component: 'motor1', severity: 'warning', properties: { line: '4' } }
    const more = { time: '2026-01-05T12:00:00Z', stream: 'e', priority: 'audit', contentType: 'text/plain' }
    const id = await handIn(living, 'envelope=true&component=other', JSON.stringify({ body: 'words', ...own, ...more }))
    const { system, properties, ...message } = await withId(living.device.registrationId, id)
    assert.equal(id, 'e-1')
    assert.equal(message.body.toString('utf8'), 'words')
    assert.deepEqual([system['dt-subject'], system['content-type']], ['motor1', 'text/plain'])
    assert.deepEqual([properties['severity'], properties['line']], ['warning', '4'])
    assert.equal(Date.parse(system['iothub-creation-time-utc'] ?? ''), Date.UTC(2026, 0, 5, 12))
  },
}

/** Parameters of which the agent alone can tell what came of them; it keeps what it has no credential to send. */
const seenOnDevice: readonly string[] = ['stream', 'durability', 'priority']

async function streamsOf({ device }: Living): Promise<readonly string[]> {
  const { stdout } = await device.run('outbox', '--json')
  const { streams } = JSON.parse(stdout) as OutboxView
  return streams.map(({ name, priority }) => `${name} ${priority}`)
}

const parameterRows = rowsOf('| parameter | meaning |').map(([name = '']) => name)

test('the page names every parameter that the agent knows, and no other', async () => {
  await using door = await openDoor()
  const { text } = await ask(door.path, { path: '/telemetry?zzzzzzzzzzzz=1' })
  const [, known = ''] = /known are ([^"]*?)"/.exec(text) ?? []
  assert.deepEqual(parameterRows.toSorted(), known.split(', ').toSorted())
  assert.deepEqual(parameterRows.toSorted(), Object.keys(parameters).toSorted())
})

for (const [at, name] of parameterRows.entries())
  test(`the parameter ${name} does what the page says`, async () => {
    await using living = await live(`page-parameter-${at}`, { hasCredential: !seenOnDevice.includes(name) })
    await parameters[name]?.(living)
  })

/** Each content type of the page: what is sent, and the bodies that must come of it. */
const contents: Readonly<
  Record<string, readonly (readonly [type: string, body: string, expected: readonly string[]])[]>
> = {
  'application/json': [
    ['application/json', '{"a":1.0}', ['{"a":1.0}']],
    ['application/json', '[{"a":1},{"a":2}]', ['{"a":1}', '{"a":2}']],
  ],
  'application/x-ndjson': [['application/x-ndjson', '{"a":3}\n{"a":4}\n', ['{"a":3}', '{"a":4}']]],
  none: [
    ['', '{"a":5}', ['{"a":5}']],
    ['application/x-www-form-urlencoded', '{"a":6}', ['{"a":6}']],
  ],
  'any other': [['text/plain; charset=utf-8', 'warm', ['warm']]],
}

test('each content type of the page is taken as it says, and the device keeps the order', async () => {
  await using living = await live('page-content')
  const rows = rowsOf('| content type | what it is |').map(([type = '']) => type)
  assert.deepEqual(rows, Object.keys(contents))
  const cases = Object.values(contents).flat()
  for (const [type, body] of cases) {
    const headers = type === '' ? {} : { 'Content-Type': type }
    assert.equal((await ask(living.socket, { headers, body })).status, 200, type)
  }
  const expected = cases.flatMap(([, , bodies]) => bodies)
  const messages = await arrived('page-content', expected.length)
  assert.deepEqual(messages.map(textOf), expected)
  assert.equal(messages.at(-1)?.system['content-type'], 'text/plain')
})

/** Largest request of JSON. */
const MAX_JSON_BYTES = 8 * 1024 * 1024

/** What is refused by a real agent, by status and code of the page. */
const refusals: Readonly<Record<string, (living: Living) => Promise<Answered>>> = {
  '400 TELEMETRY_INVALID': ({ socket }) => ask(socket, { headers: JSON_TYPE, body: 'a=1' }),
  '404 TELEMETRY_INVALID': ({ socket }) => ask(socket, { path: '/telemetri', body: '1' }),
  '405 TELEMETRY_INVALID': ({ socket }) => ask(socket, { method: 'GET' }),
  '413 TELEMETRY_TOO_LARGE': ({ socket }) =>
    ask(socket, { headers: JSON_TYPE, body: JSON.stringify('x'.repeat(255 * 1024)) }),
  // A user may be ahead of the quota once.
  async '429 TELEMETRY_QUOTA'({ socket }) {
    const asking: Asking = { headers: JSON_TYPE, body: `[${'1,'.repeat(9999)}1]` }
    assert.equal((await ask(socket, asking)).status, 200)
    return ask(socket, asking)
  },
  '431 TELEMETRY_TOO_LARGE': ({ socket }) => ask(socket, { path: `/telemetry?stream=${'x'.repeat(17 * 1024)}` }),
  // Two requests that are not whole have taken the room for large ones.
  async '503 OUTBOX_BUSY'({ socket }) {
    const held = Promise.withResolvers<void>()
    const most = Buffer.alloc(MAX_JSON_BYTES - 16, ' ')
    const slow = async function* (sent: () => void) {
      yield most
      sent()
      await held.promise
      yield '1'
    }
    const begin = () => {
      const isSent = Promise.withResolvers<void>()
      const asking: Asking = { headers: JSON_TYPE, body: slow(isSent.resolve) }
      return { isSent: isSent.promise, answer: ask(socket, asking) }
    }
    const others = [begin(), begin()]
    await Promise.all(others.map(({ isSent }) => isSent))
    const refused = await ask(socket, { headers: JSON_TYPE, body: `${' '.repeat(MAX_JSON_BYTES / 2)}1` })
    held.resolve()
    for (const { answer } of others) assert.equal((await answer).status, 200)
    return refused
  },
  async '507 OUTBOX_FULL'({ socket }) {
    const body = JSON.stringify('x'.repeat(250_000))
    for (let filled = 0; filled < 4; filled += 1) {
      const answer = await ask(socket, { path: '/telemetry?priority=audit', headers: JSON_TYPE, body })
      assert.equal(answer.status, 200, answer.text)
    }
    return ask(socket, { headers: JSON_TYPE, body })
  },
}

/** Refusals in which a disk, a clock or another user has a part: the door says them when one of these does. */
const behindTheDoor: readonly string[] = [
  '403 TELEMETRY_FORBIDDEN',
  '507 DISK_FULL',
  '507 STATE_UNWRITABLE',
  '507 OUTBOX_IN_MEMORY',
  '408 TELEMETRY_INVALID',
  '500 any other',
]

const refusalRows = rowsOf('| status | code | what to do |').flatMap(([statuses = '', codes = '']) =>
  statuses.split(', ').flatMap((status) => codes.split(', ').map((code) => `${status} ${code}`)),
)

test('each refusal of the page is one that is tried', () => {
  assert.deepEqual(refusalRows.toSorted(), [...Object.keys(refusals), ...behindTheDoor].toSorted())
})

/** The form that the page shows, with something to do. */
function isRefusal(answered: Answered, status: string, code: string): void {
  assert.equal(String(answered.status), status, answered.text.slice(0, 200))
  assert.equal(codeOf(answered), code)
  const { error, stored } = lastOf(answered)
  const { message, advice } = error as Readonly<Record<string, unknown>>
  assert.ok(typeof message === 'string' && message !== '' && typeof advice === 'string' && advice !== '')
  assert.equal(stored, 0)
}

for (const [row, provoke] of Object.entries(refusals))
  test(`a real agent refuses with ${row}`, async () => {
    const [status = '', code = ''] = row.split(' ')
    // Without a credential nothing leaves the outbox, which then is full of one megabyte.
    const toml = '[telemetry.outbox]\nmaxMegabytes = 1\n'
    await using living = await live(`page-refusal-${status}`, { toml, hasCredential: false })
    const answered = await provoke(living)
    isRefusal(answered, status, code)
    if (code === 'TELEMETRY_QUOTA') assert.ok(Number(answered.headers['retry-after']) > 0)
  })

for (const code of ['DISK_FULL', 'STATE_UNWRITABLE', 'OUTBOX_IN_MEMORY'] as const)
  test(`what the outbox refuses with ${code} is answered with 507, and what nobody knows with 500`, async () => {
    await using full = await openDoor({ before: () => Promise.reject(new Failure(code, 'no')) })
    isRefusal(await ask(full.path, { headers: JSON_TYPE, body: '1' }), '507', code)
    await using broken = await openDoor({ before: () => Promise.reject(new Error('ours')) })
    assert.equal((await ask(broken.path, { headers: JSON_TYPE, body: '1' })).status, 500)
  })

test('of lines the last line of the answer says how many were stored, and which was the first that was not', async () => {
  await using living = await live('page-lines')
  const answered = await ask(living.socket, { headers: NDJSON, body: '{"a":1}\n{"a":2}\nhot\n{"a":3}\n' })
  assert.equal(answered.status, 200)
  const { error, stored, line } = lastOf(answered)
  assert.deepEqual([stored, line, typeof error], [2, 3, 'object'])
  assert.deepEqual((await arrived('page-lines', 2)).map(textOf), ['{"a":1}', '{"a":2}'])
})
