import assert from 'node:assert/strict'
import { once } from 'node:events'
import { statfs } from 'node:fs/promises'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Performance } from '../../scripts/figures/figures.ts'
import { figuresTable, performancePage, reachTable } from '../../scripts/figures/page.ts'
import { cpuMs, memoryOf, peakMb, start, threadCpuMs, writtenBytes } from '../../scripts/figures/process.ts'
import { showNumber, summarize } from '../../scripts/figures/statistics.ts'
import { telemetrySection, telemetryTables } from '../../scripts/figures/telemetry-page.ts'
import { openDoor, pourLines } from '../../scripts/figures/telemetry/door.ts'
import { samplesIn, sampleOf } from '../../scripts/figures/telemetry/tapped.ts'
import { linesOf } from '../../scripts/figures/telemetry/through.ts'
import { makeTemporaryFolder } from '../kit/openssl.ts'

test('the median is the middle of an odd number of runs and the mean of the middle two of an even one', () => {
  assert.deepEqual(summarize([9, 1, 5]), { median: 5, least: 1, most: 9, runs: 3 })
  assert.deepEqual(summarize([10, 2, 4, 100]), { median: 7, least: 2, most: 100, runs: 4 })
  assert.deepEqual(summarize([3]), { median: 3, least: 3, most: 3, runs: 1 })
  assert.equal(summarize([]), undefined)
})

test('summarizing leaves the values in the order of the runs', () => {
  const values = [3, 1, 2]
  summarize(values)
  assert.deepEqual(values, [3, 1, 2])
})

test('a number is shown with three significant digits, and whole from a hundred on', () => {
  const shown = [0.1234, 1.234, 12.345, 123.45, 1234.5, 12_345.6].map((value) => showNumber(value))
  assert.deepEqual(shown, ['0.123', '1.23', '12.3', '123', '1,235', '12,346'])
  assert.equal(showNumber(1.26, 1), '1.3')
})

const taken: Performance = {
  takenOn: '2026-01-02',
  machine: { cpu: 'Some CPU', cores: 2, memoryMb: 1024, system: 'Some Linux', kernel: '6.1' },
  versions: { Node: '24.0.0' },
  method: {
    ...{ rounds: 3, retryAfterSeconds: 2, pollsBeforeAssigned: 1, quietSeconds: 60 },
    ...{ sendingSeconds: 2, bodyBytes: 256 },
  },
  series: {
    agent: {
      startDpsMs: [100, 300, 200],
      startCachedMs: [50, 50, 50],
      oneAtATime: [300, 300, 300],
      rssMb: [70, 60, 66],
      anonymousMb: [20, 20, 25],
    },
    python: { startDpsMs: [400, 500, 600], oneAtATime: [100, 101, 90] },
    sdk: { startDpsMs: [150, 150, 150], startCachedMs: [60, 60, 60] },
  },
}

/** The cells of the first row that begins with `title`. */
function row(table: string, title: string): readonly string[] {
  const line = table.split('\n').find((each) => each.startsWith(`| ${title}`)) ?? ''
  return line.split('|').map((cell) => cell.trim())
}

test('a cell holds the median, the least and the most; one without values says why, or nothing', () => {
  const table = figuresTable(taken)
  assert.deepEqual(row(table, 'start to first acknowledged message, through DPS').slice(3, 7), [
    '**200** (100–300)',
    '**500** (400–600)',
    '**150** (150–150)',
    '–',
  ])
  assert.match(row(table, 'start to first acknowledged message, hub known')[4] ?? '', /keeps no assignment/)
})

test('what falls short of the reach is said with by how much', () => {
  const table = reachTable(taken)
  const verdict = (title: string) => row(table, title)[3]
  assert.equal(verdict('first message through DPS before the Python'), 'yes')
  assert.equal(verdict('first message through DPS before the Node SDK'), '**no**: 50.0 ms too much')
  assert.equal(verdict('3 × the messages/s of the Python client, one at a time'), 'yes')
  assert.equal(verdict('at rest no more than 65 MB RSS'), '**no**: 1.0 MB too much')
  assert.equal(verdict('at rest no more than 25 MB private'), 'yes')
})

test('a figure without values does not count as reached', () => {
  const table = reachTable({ ...taken, series: {} })
  for (const line of table.split('\n').slice(2)) assert.doesNotMatch(line, /\| yes \|/)
})

test('the page names machine, date, versions and what DPS makes every start wait', () => {
  const page = performancePage(taken)
  for (const text of ['Some CPU', '2026-01-02', 'Node 24.0.0', 'retry-after: 2', 'so 4 s of every start']) {
    assert.ok(page.includes(text), text)
  }
})

test('a process is measured with what it started, and its end by itself is noticed', async () => {
  const program = `while (process.cpuUsage().user < 150_000);
    require('node:child_process').execFileSync(process.execPath, ['-e', 'while (process.cpuUsage().user < 150_000);'])
    console.log('ready'); setInterval(() => 0, 1e6)`
  await using running = start({ command: [process.execPath, '-e', program], environment: {} })
  await Promise.race([running.early, heard(running.said)])
  assert.ok(threadCpuMs(running.pid) > 100)
  assert.ok(cpuMs(running.pid) > 250, `${cpuMs(running.pid)} ms with the child`)
  const { rssMb, anonymousMb, fileMb, privateMb } = memoryOf(running.pid)
  assert.ok(anonymousMb > 1 && fileMb > 1 && privateMb > anonymousMb * 0.9)
  assert.equal(rssMb, anonymousMb + fileMb)

  const failing = start({
    command: [process.execPath, '-e', 'console.error("no hub"); process.exit(3)'],
    environment: {},
  })
  await assert.rejects(failing.early, /ended with 3:\nno hub/)
  await assert.rejects(failing.finished, /ended with 3/)
})

test('a program that listens is told something, and can be killed', async () => {
  const program = `process.stdin.on('data', (bytes) => process.stdout.write(bytes))`
  const running = start({ command: [process.execPath, '-e', program], environment: {}, listens: true })
  running.tell('7\n')
  await Promise.race([running.early, heard(running.said)])
  assert.equal(running.said(), '7\n')
  assert.ok(peakMb(running.pid) >= memoryOf(running.pid).rssMb * 0.9)
  await running.kill()
  await assert.rejects(running.early, /ended with SIGKILL/)
})

/** Files in memory cost no storage. Source: statfs(2). */
const TMPFS = 0x0102_1994

test('what a process writes to a file is counted in whole pages', async () => {
  await using folder = await makeTemporaryFolder()
  const path = JSON.stringify(join(folder.path, 'file'))
  const program = `require('node:fs').writeFileSync(${path}, Buffer.alloc(500_000)); console.log('written'); setInterval(() => 0, 1e6)`
  await using running = start({ command: [process.execPath, '-e', program], environment: {} })
  await Promise.race([running.early, heard(running.said)])
  const { type } = await statfs(folder.path)
  if (type === TMPFS) return assert.equal(writtenBytes(running.pid), 0)
  // The file has 123 pages; a block of its folder may come with it.
  const pages = writtenBytes(running.pid) / 4096
  return assert.ok(pages >= 123 && pages < 130 && Number.isInteger(pages), `${pages} pages`)
})

const measured: Performance = {
  ...taken,
  method: {
    ...taken.method,
    telemetry: {
      ...{ rounds: 3, sampleBytes: 128, arraySamples: 100, batchSamples: 100, intakeSeconds: 1, settlingSeconds: 6 },
      ...{ throughSingle: 1000, throughBatched: 1000, pacedSeconds: 10, waiting: 1_000_000, outageSeconds: 20 },
      ...{ outagePerSecond: 100, pythonRetrySeconds: 10, depths: [1000], depthRounds: 3, depthBlock: 10 },
    },
  },
  series: {
    agent: {
      'accepted.one.synced': [500, 400, 600],
      'accepted.one.relaxed': [9000],
      restWrittenKb: [20, 24, 28],
      ...{ 'enqueue.1000': [10], 'enqueue.10000': [11], 'enqueue.100000': [12], 'enqueue.1000000': [11] },
      ...{ 'dequeue.1000': [10], 'dequeue.10000': [12], 'dequeue.100000': [12.5], 'dequeue.1000000': [8] },
      outageLost: [0],
    },
    python: { outageLost: [1000], outageBeforeRssMb: [30], outageRssMb: [40] },
  },
}

test('the classes of durability stand side by side, and so do the agent and the Python client', () => {
  const tables = telemetryTables(measured)
  assert.deepEqual(row(tables, 'one in a request, 1 connection').slice(2, 6), [
    'samples/s',
    '**500** (400–600)',
    '–',
    '**9,000** (9,000–9,000)',
  ])
  assert.deepEqual(row(tables, 'lost').slice(3, 5), ['**0.0** (0.0–0.0)', '**1,000** (1,000–1,000)'])
  assert.equal(row(tables, 'one sample in a message').length, 1)
})

test('a cost that grows with the depth is called so: 20 % from the cheapest to the dearest are allowed', () => {
  const tables = telemetryTables(measured)
  assert.equal(row(tables, 'put in: processor time').at(-2), 'yes: 20 %')
  assert.equal(row(tables, 'taken out: processor time').at(-2), '**no**: 56 %')
  assert.equal(row(tables, 'put in: wall time').at(-2), '–')
})

test('what is computed is said to be: the default drain, the day of flash, the memory for each sample held', () => {
  const section = telemetrySection(measured)
  // 10,000 messages and 1,000,000 messages at 50/s; 24 kB in 60 s; 10 MB for 1,000 samples.
  for (const text of ['200 s batched', '5.6 h with a message each', '33.8 MB are written in a day', '10.2 kB of'])
    assert.ok(section.includes(text), text)
  assert.equal(telemetrySection(taken), '')
})

test('samples are numbered JSON of one size, and as many come as lines as were asked for', () => {
  for (const number of [0, 7, 123_456]) {
    const text = sampleOf(number, 128)
    assert.equal(text.length, 128)
    assert.equal((JSON.parse(text) as { readonly n: number }).n, number)
  }
  const next = linesOf(450, 128)
  let all = ''
  for (let chunk = next(); chunk !== undefined; chunk = next()) all += chunk
  const numbers = all
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as { readonly n: number }).n)
  assert.deepEqual(
    numbers,
    Array.from({ length: 450 }, (_, at) => at),
  )
})

test('of the messages of a device only samples that were handed in are counted, each of a batch', () => {
  const device = { deviceId: 'd' }
  const message = { deviceId: 'd', body: Buffer.from(sampleOf(1, 64)), properties: {}, system: {}, enqueuedAt: 0 }
  assert.equal(samplesIn(message, device), 1)
  assert.equal(samplesIn({ ...message, deviceId: 'other' }, device), 0)
  assert.equal(samplesIn({ ...message, body: Buffer.from('{"uptime":1}') }, device), 0)
  assert.equal(samplesIn({ ...message, body: Buffer.from('[]'), properties: { iotAgentBatch: '42' } }, device), 42)
})

test('a local program hears each answer, that its agent has gone, and the last word about its lines', async () => {
  await using folder = await makeTemporaryFolder()
  const path = join(folder.path, 'telemetry.sock')
  const bodies: string[] = []
  const server = createServer((request, response) => {
    let body = ''
    request.setEncoding('utf8').on('data', (text: string) => (body += text))
    request.on('end', () => {
      bodies.push(body)
      if (body === 'go') return request.socket.destroy()
      const answer = body.includes('\n') ? '{"stored":1}\n{"stored":2}\n' : '{"stored":1}\n'
      return response.writeHead(200, { 'Content-Length': answer.length }).end(answer)
    })
  })
  server.listen(path)
  await once(server, 'listening')
  using door = await openDoor(path)
  assert.deepEqual(await door.post('durability=synced', '{"n":1}'), { status: 200, body: '{"stored":1}\n' })
  assert.equal((await door.post('', '{"n":2}')).status, 200)
  await assert.rejects(door.post('', 'go'), /closed the connection/)
  const lines = ['{"n":1}\n', '{"n":2}\n']
  assert.equal(await pourLines(path, '', () => lines.shift()), 2)
  assert.deepEqual(bodies, ['{"n":1}', '{"n":2}', 'go', '{"n":1}\n{"n":2}\n'])
  server.close()
})

/** Resolves when the program has said anything. */
async function heard(said: () => string): Promise<void> {
  while (said() === '') await new Promise((resolve) => setImmediate(resolve))
}
