import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Performance } from '../../scripts/figures/figures.ts'
import { figuresTable, performancePage, reachTable } from '../../scripts/figures/page.ts'
import { cpuMs, memoryOf, start, threadCpuMs } from '../../scripts/figures/process.ts'
import { showNumber, summarize } from '../../scripts/figures/statistics.ts'

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
  sizes: { bundle: 1024 * 1024, runtime: 128 * 1024 * 1024 },
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

/** Resolves when the program has said anything. */
async function heard(said: () => string): Promise<void> {
  while (said() === '') await new Promise((resolve) => setImmediate(resolve))
}
