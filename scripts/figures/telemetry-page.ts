import { durabilities } from '../../agent/telemetry/outbox/port.ts'
import { code, markdownTable } from '../pages/markdown.ts'
import { depths, entrances, rates } from './figures.ts'
import type { DepthStep, Entrance, Figure, Participant, Performance } from './figures.ts'
import { showNumber, summarize } from './statistics.ts'

/** Messages of a backlog a second, when nothing else is configured. Source: telemetry.drain.messagesPerSecond. */
const DEFAULT_DRAIN = 50

/** The dearest depth may cost this much more than the cheapest to be called flat. */
const FLAT = 1.2

/** The tables of the telemetry in which there is something. */
export function telemetryTables(taken: Performance): string {
  return Object.values(tablesOf(taken))
    .filter((table) => table.includes('**'))
    .join('\n\n')
}

function tablesOf(taken: Performance) {
  return {
    acceptedTable: acceptedTable(taken),
    throughTable: rowsTable(taken, throughRows),
    pacedTable: pacedTable(taken),
    waitingTable: rowsTable(taken, waitingRows(taken)),
    depthTable: depthTable(taken),
    outageTable: outageTable(taken),
  }
}

/** The part of docs/performance.md about telemetry. */
export function telemetrySection(taken: Performance): string {
  const method = taken.method.telemetry
  if (method === undefined) return ''
  const { acceptedTable, throughTable, pacedTable, waitingTable, depthTable, outageTable } = tablesOf(taken)
  const { rounds, sampleBytes, arraySamples, batchSamples, intakeSeconds, pacedSeconds } = method
  return `## Telemetry

Samples are ${sampleBytes} bytes of JSON. They come in at ${code('telemetry.sock')} and lie in the outbox on the disk of this machine, ext4, for which
keeping 4 KiB more of a file (${code('fdatasync')}) takes ${cell(taken, 'agent', 'diskSyncUs')} µs: a slower one makes ${code('synced')} slower, one by one most of
all. Each value is the median of ${rounds} runs, with the least and the most of them. Bounds of the agent that would be in the way are lifted:
the share of a user, the rate and the jitter of a backlog, the size of the outbox.

Bytes written are ${code('write_bytes')} of ${code('/proc/PID/io')}: pages of 4 KiB, the outbox with its log and everything else that the agent writes. A page that is
written again before it has gone to the disk counts once, and the journal of the file system does not count. A transaction of one sample appends
4,120 bytes to the log of SQLite, which lie in two such pages; later the page of the sample is copied from there into the file.

### What the socket accepts

For ${intakeSeconds} s each while the hub is away: connections are kept, and each sends its next request when the one before has been answered. An array
has ${arraySamples} samples; lines are one request without end. One ${code('synced')} sample at a time waits for the disk at each; the others share.

${acceptedTable}

### From the socket to the hub

Samples are handed in as ${code('synced')} lines: ${showNumber(method.throughSingle)} with a message each, ${showNumber(method.throughBatched)} with ${batchSamples} to a message. Counted from the first handed in until the
hub has acknowledged the last; 20 messages are on their way at a time. The stand-in and the local program share the other core.

${throughTable}

At a steady rate, each a ${code('synced')} request of its own and a message of its own, for ${pacedSeconds} s each: ${pacedSeconds} samples only at
the lowest rate, most of whose processor time is that of code which has not been compiled yet, and of being woken. Each sample is written, and
removed with a later transaction.

${pacedTable}

Connected and at rest, with one measurement a minute (${code('written')}), ${perDay(taken)} MB are written in a day, as computed from the ${taken.method.quietSeconds} s at rest that are measured above: once
a minute a sample is written and removed.

### ${showNumber(method.waiting)} samples waiting

Handed in as ${code('written')} lines while the hub is away, ${batchSamples} to a message; memory 6 s later, beside that of the same process before, and
that of a process which was started afterwards: their coming in leaves a larger heap behind, their waiting needs none. Then the agent is
started again with the hub there. All of it without bound; at the default rate of ${DEFAULT_DRAIN} messages a second the same samples need
${duration(method.waiting / batchSamples / DEFAULT_DRAIN)} batched and ${duration(method.waiting / DEFAULT_DRAIN)} with a message each (computed).

${waitingTable}

### Growth with depth

The outbox alone, in a process launched as the agent is: ${method.depthBlock} samples are put in, each ${code('written')} in a transaction of its own, then as many are read one
by one, acknowledged, and removed. Each depth has an outbox of its own, filled before, and its turn in each of ${method.depthRounds} rounds. Processor
time is what they cost; wall time contains the syncs of the disk, which vary more than the depths do.

${depthTable}

### The same outage, beside Microsoft's Python client

${code('azure-iot-device')} keeps what it cannot send in memory. ${method.outagePerSecond} samples a second are handed to it and to the agent at the same time. After 2 s the hub ends
all sessions and takes none (CONNACK 3) for ${method.outageSeconds} s; in the middle of that both processes are killed with SIGKILL and started again. The Python program
(${code('scripts/figures/peers/python_outage.py')}) hands each sample to the client at once and repeats what the client reports as failed; a sample counts as sent when the client
has it, one for the agent when it was answered 200. A Python program that is connected leaves it to the client to connect again; one that starts in
the outage tries each second. The agent tries less and less often, so as not to be part of the trouble, and is back later. Memory and
processor time are those of the first half of the outage: for the agent they contain storing each sample on disk, for the Python client ${perHeldSample(taken)} of
memory for each sample that it holds.

${outageTable}
`
}

/** What has only the agent's value. */
interface Row {
  readonly title: string
  readonly unit: string
  readonly figure: Figure
}

const entranceTitles: Readonly<Record<Entrance, string>> = {
  one: 'one in a request, 1 connection',
  sixteen: 'one in a request, 16 connections',
  array: 'arrays, 1 connection',
  lines: 'lines, 1 connection',
}

function acceptedTable(taken: Performance): string {
  const quantities = [
    ['samples/s', 'accepted'],
    ['bytes written per sample', 'bytes'],
  ] as const
  const body = quantities.flatMap(([unit, quantity]) =>
    entrances.map((entrance) => [
      entranceTitles[entrance],
      unit,
      ...durabilities.map((durability) => cell(taken, 'agent', `${quantity}.${entrance}.${durability}`)),
    ]),
  )
  return markdownTable(['handed in', 'unit', ...durabilities.map(code)], body)
}

const throughRows: readonly Row[] = [
  { title: 'one sample in a message', unit: 'samples/s', figure: 'throughSingle' },
  { title: '… processor time', unit: 'µs/sample', figure: 'throughSingleCpuUs' },
  { title: 'batched', unit: 'samples/s', figure: 'throughBatched' },
  { title: '… processor time', unit: 'µs/sample', figure: 'throughBatchedCpuUs' },
]

function waitingRows({ method: { telemetry } }: Performance): readonly Row[] {
  const all = showNumber(telemetry?.waiting ?? Number.NaN)
  return [
    { title: 'nothing waiting: RSS', unit: 'MB', figure: 'noneWaitingRssMb' },
    { title: 'nothing waiting: anonymous', unit: 'MB', figure: 'noneWaitingAnonymousMb' },
    { title: `${all} waiting: RSS`, unit: 'MB', figure: 'allWaitingRssMb' },
    { title: `${all} waiting: anonymous`, unit: 'MB', figure: 'allWaitingAnonymousMb' },
    { title: `${all} waiting, in a new process: RSS`, unit: 'MB', figure: 'anewWaitingRssMb' },
    { title: `${all} waiting, in a new process: anonymous`, unit: 'MB', figure: 'anewWaitingAnonymousMb' },
    { title: `${all} waiting: size of the file`, unit: 'MB', figure: 'allWaitingFileMb' },
    { title: 'time to hand them in', unit: 's', figure: 'fillSeconds' },
    { title: 'from the start of the next process to the first of them at the hub', unit: 'ms', figure: 'drainStartMs' },
    { title: 'from the first to the last of them at the hub', unit: 's', figure: 'drainSeconds' },
    { title: 'most RSS while they drain', unit: 'MB', figure: 'drainPeakMb' },
    { title: 'processor time for draining them', unit: 'µs/sample', figure: 'drainCpuUs' },
    { title: 'bytes written for draining them', unit: 'bytes/sample', figure: 'drainWrittenBytes' },
  ]
}

function rowsTable(taken: Performance, rows: readonly Row[]): string {
  return markdownTable(
    ['figure', 'unit', 'iot-device-agent'],
    rows.map(({ title, unit, figure }) => [title, unit, cell(taken, 'agent', figure)]),
  )
}

function pacedTable(taken: Performance): string {
  const cells = (quantity: 'cpu' | 'bytes') => rates.map((rate) => cell(taken, 'agent', `${quantity}.${rate}`))
  return markdownTable(
    ['', 'unit', ...rates.map((rate) => `${showNumber(rate, 0)} samples/s`)],
    [
      ['processor time', 'ms/min', ...cells('cpu')],
      ['bytes written', 'bytes/sample', ...cells('bytes')],
    ],
  )
}

function depthTable(taken: Performance): string {
  const row = (title: string, step: DepthStep) => {
    const medians = depths.map((depth) => medianOf(taken, 'agent', `${step}.${depth}`))
    return [title, 'µs/sample', ...depths.map((depth) => cell(taken, 'agent', `${step}.${depth}`)), verdict(medians)]
  }
  const heads = depths.map((depth) => showNumber(depth, 0))
  return markdownTable(
    ['waiting', 'unit', ...heads, 'within 20 %'],
    [
      row('put in: processor time', 'enqueue'),
      row('taken out: processor time', 'dequeue'),
      row('put in: wall time', 'enqueueWall'),
      row('taken out: wall time', 'dequeueWall'),
    ],
  )
}

/** Whether the costs are the same: the dearest depth against the cheapest. */
function verdict(medians: readonly (number | undefined)[]): string {
  const known = medians.filter((median) => median !== undefined)
  if (known.length < medians.length) return '–'
  const apart = `${showNumber((Math.max(...known) / Math.min(...known) - 1) * 100, 0)} %`
  return Math.max(...known) <= FLAT * Math.min(...known) ? `yes: ${apart}` : `**no**: ${apart}`
}

const outageRows: readonly Row[] = [
  { title: 'sent', unit: 'samples', figure: 'outageSent' },
  { title: 'received', unit: 'samples', figure: 'outageReceived' },
  { title: 'lost', unit: 'samples', figure: 'outageLost' },
  { title: 'received twice', unit: 'samples', figure: 'outageTwice' },
  { title: 'from the return of the hub to the last sample', unit: 'ms', figure: 'outageBackMs' },
  { title: 'RSS when the outage begins', unit: 'MB', figure: 'outageBeforeRssMb' },
  { title: 'RSS before the kill', unit: 'MB', figure: 'outageRssMb' },
  { title: 'processor time from one to the other', unit: 'ms', figure: 'outageCpuMs' },
]

function outageTable(taken: Performance): string {
  return markdownTable(
    ['figure', 'unit', 'iot-device-agent', 'Python client'],
    outageRows.map(({ title, unit, figure }) => [
      title,
      unit,
      cell(taken, 'agent', figure),
      cell(taken, 'python', figure),
    ]),
  )
}

function cell(taken: Performance, who: Participant, figure: Figure): string {
  const summary = summarize(taken.series[who]?.[figure] ?? [])
  if (summary === undefined) return '–'
  const { median, least, most } = summary
  return `**${showNumber(median, 1)}** (${showNumber(least, 1)}–${showNumber(most, 1)})`
}

function medianOf(taken: Performance, who: Participant, figure: Figure): number | undefined {
  return summarize(taken.series[who]?.[figure] ?? [])?.median
}

/** From kB in the seconds at rest. */
function perDay(taken: Performance): string {
  const kb = medianOf(taken, 'agent', 'restWrittenKb')
  if (kb === undefined) return 'an unknown number of'
  return showNumber((kb / 1024 / taken.method.quietSeconds) * 86_400, 1)
}

/** Memory that the Python client takes for a sample, from what it grew by in the first half of the outage. */
function perHeldSample(taken: Performance): string {
  const [before, after] = (['outageBeforeRssMb', 'outageRssMb'] as const).map((each) => medianOf(taken, 'python', each))
  const { outageSeconds = Number.NaN, outagePerSecond = Number.NaN } = taken.method.telemetry ?? {}
  if (before === undefined || after === undefined) return 'an unknown amount'
  return `${showNumber(((after - before) * 1024) / ((outageSeconds / 2) * outagePerSecond), 1)} kB`
}

function duration(seconds: number): string {
  return seconds < 3600 ? `${showNumber(seconds, 0)} s` : `${showNumber(seconds / 3600, 1)} h`
}
