import { rows as slimRows } from '../slim.ts'
import { code, GENERATED, markdownTable } from '../pages/markdown.ts'
import type { Figure, Participant, Performance } from './figures.ts'
import { showNumber, summarize } from './statistics.ts'
import { telemetrySection } from './telemetry-page.ts'

/** One line of the table: what it is, and where its values are. */
interface Line {
  readonly title: string
  readonly unit: string
  readonly figure: Figure
  /** For a cell without values. */
  readonly otherwise?: Partial<Record<Participant, string>>
}

const NO_CACHE = 'as above: it keeps no assignment'

const lines: readonly Line[] = [
  { title: 'start to first acknowledged message, through DPS', unit: 'ms', figure: 'startDpsMs' },
  { title: '… its processor time', unit: 'ms', figure: 'startDpsCpuMs' },
  {
    title: 'start to first acknowledged message, hub known',
    unit: 'ms',
    figure: 'startCachedMs',
    otherwise: { python: NO_CACHE },
  },
  { title: '… its processor time', unit: 'ms', figure: 'startCachedCpuMs', otherwise: { python: 'as above' } },
  { title: `the same with ${code('tls.caFile')}`, unit: 'ms', figure: 'startCachedCaFileMs' },
  { title: '… its processor time', unit: 'ms', figure: 'startCachedCaFileCpuMs' },
  { title: 'one at a time', unit: 'messages/s', figure: 'oneAtATime' },
  { title: '20 on their way', unit: 'messages/s', figure: 'twentyOnTheirWay' },
  { title: '100 on their way', unit: 'messages/s', figure: 'hundredOnTheirWay' },
  { title: 'processor time, one at a time', unit: 'µs/message', figure: 'oneAtATimeCpuUs' },
  { title: 'processor time, 20 on their way', unit: 'µs/message', figure: 'twentyOnTheirWayCpuUs' },
  { title: 'processor time, 100 on their way', unit: 'µs/message', figure: 'hundredOnTheirWayCpuUs' },
  { title: 'at rest: RSS', unit: 'MB', figure: 'rssMb' },
  { title: 'at rest: PSS', unit: 'MB', figure: 'pssMb' },
  { title: 'at rest: private, anonymous (heaps and stacks)', unit: 'MB', figure: 'anonymousMb' },
  { title: 'at rest: private, all (with the pages of its own program file)', unit: 'MB', figure: 'privateMb' },
  { title: 'at rest: pages of program files that were touched', unit: 'MB', figure: 'fileMb' },
  { title: 'at rest: processor time', unit: 'ms/min', figure: 'restCpuMs' },
  { title: 'at rest: written to disk', unit: 'kB/min', figure: 'restWrittenKb' },
]

const columns: readonly (readonly [Participant, string])[] = [
  ['agent', 'iot-device-agent'],
  ['python', 'Python client, tutorial program'],
  ['sdk', 'Node SDK, minimal program'],
  ['runtime', 'bare Node'],
]

/** The measured values: the median of all runs, then the least and the most. */
export function figuresTable(taken: Performance): string {
  const body = lines.map((line) => [line.title, line.unit, ...columns.map(([who]) => cellOf(taken, line, who))])
  return markdownTable(['figure', 'unit', ...columns.map(([, title]) => title)], body)
}

function cellOf(taken: Performance, { figure, otherwise }: Line, who: Participant): string {
  const summary = summaryOf(taken, who, figure)
  if (summary === undefined) return otherwise?.[who] ?? '–'
  const { median, least, most } = summary
  return `**${showNumber(median, 1)}** (${showNumber(least, 1)}–${showNumber(most, 1)})`
}

function summaryOf(taken: Performance, who: Participant, figure: Figure) {
  return summarize(taken.series[who]?.[figure] ?? [])
}

/** What was to be reached, and whether the medians reach it. */
export function reachTable(taken: Performance): string {
  const median = (who: Participant, figure: Figure) => summaryOf(taken, who, figure)?.median ?? Number.NaN
  const faster = (figure: Figure, other: Figure, who: Participant) =>
    [median('agent', figure), median(who, other)] as const
  const times = (title: string, figure: Figure) => {
    const factor = median('agent', figure) / median('python', figure)
    return [title, `${showNumber(factor, 1)} ×`, factor >= 3 ? 'yes' : '**no**']
  }
  const body = [
    below('first message through DPS before the Python client', faster('startDpsMs', 'startDpsMs', 'python'), 'ms'),
    below('first message through DPS before the Node SDK', faster('startDpsMs', 'startDpsMs', 'sdk'), 'ms'),
    below('first message, hub known, before the Python client', faster('startCachedMs', 'startDpsMs', 'python'), 'ms'),
    below('first message, hub known, before the Node SDK', faster('startCachedMs', 'startCachedMs', 'sdk'), 'ms'),
    times('3 × the messages/s of the Python client, one at a time', 'oneAtATime'),
    times('3 × the messages/s of the Python client, 20 on their way', 'twentyOnTheirWay'),
    times('3 × the messages/s of the Python client, 100 on their way', 'hundredOnTheirWay'),
    below('at rest no more than 65 MB RSS', [median('agent', 'rssMb'), 65], 'MB'),
    below('at rest no more than 25 MB private (anonymous)', [median('agent', 'anonymousMb'), 25], 'MB'),
    below('the same with the pages of its own program file', [median('agent', 'privateMb'), 25], 'MB'),
  ]
  return markdownTable(['reach', 'measured', 'reached'], body)
}

/** A row of the reach: a value that may be no more than the other. */
function below(title: string, [value, limit]: readonly [number, number], unit: string): readonly string[] {
  return [
    title,
    `${showNumber(value, 1)} against ${showNumber(limit, 1)} ${unit}`,
    value <= limit ? 'yes' : `**no**: ${showNumber(value - limit, 1)} ${unit} too much`,
  ]
}

/** docs/performance.md. */
export function performancePage(taken: Performance): string {
  const { takenOn, machine, versions, method } = taken
  const { cpu, cores, memoryMb, system, kernel } = machine
  const dpsWaitSeconds = method.retryAfterSeconds * (method.pollsBeforeAssigned + 1)
  return `# Performance

${GENERATED}

Taken on ${takenOn} by ${code('npm run bench')}, all of it in one run: ${cpu}, ${cores} cores, ${memoryMb} MB, ${system}, Linux ${kernel}.
${Object.entries(versions)
  .map(([name, version]) => `${name} ${version}`)
  .join(', ')}.

Each value is the median of ${method.rounds} runs, with the least and the most of them. MB are 1,048,576 bytes.

${figuresTable(taken)}

${reachTable(taken)}

## How it is measured

- Everything runs on one machine, against one stand-in of DPS and IoT Hub (${code('test/cloud')}) over TLS 1.2 on loopback, under Azure's host
  names. Every client has a device of its own with an EC P-256 key. In each round every client is measured for one figure
  before the next figure begins, and another client begins each round.
- **iot-device-agent** is ${code('build/iot-device-agent run')}. **Python client** is the program of the migration tutorial, unmodified.
  **Node SDK** is ${code('scripts/figures/peers/sdk.cjs')} on the same Node, not bundled: register, connect, send, read the twin.
  **bare Node** is the runtime of the package with nothing to do: no program on it can need less.
- **Start** is from the start of the process until the stand-in has acknowledged the first message. DPS answers 202 with
  ${code(`retry-after: ${method.retryAfterSeconds}`)} ${method.pollsBeforeAssigned + 1} times before it assigns, so ${dpsWaitSeconds} s of every start through DPS is what DPS asks for. With the hub known, the agent
  takes it from its cache and the SDK program is told; the tutorial's program always registers.
- **Trust**: each client has the roots that Node brings and that of the stand-in, as with Azure; the line with ${code('tls.caFile')}
  has only that one root, which is then read in place of all the others.
- **Processor time** of a start is user and system time of the process and its children, in steps of 10 ms.
- **Messages/s**: ${method.bodyBytes} bytes of JSON with a message ID, QoS 1, for ${method.sendingSeconds} s after a warm-up of a quarter of that. One at a time: the next is
  sent when the one before has been acknowledged. Several on their way: the agent sends from an outbox on disk (${code('written')}) by its own
  forwarding with that window; the SDK program has so many loops of one at a time; the Python client sends batches of so many with
  ${code('asyncio.gather')}. The agent's programs for this are bundled and launched as the agent is. The stand-in, which is one thread of Node, takes part in
  every figure of messages/s; processor time per message is the client's alone.
- **At rest**: connected, one message a minute, ${method.quietSeconds} s after the start has settled; memory at their end, processor time and bytes written (${code('write_bytes')} of ${code('/proc/PID/io')}) of all of them. The program files are dropped from the page cache before, as after a boot: how the kernel read a file earlier moves RSS by a third. The agent, started from its cache,
  and the SDK program are subscribed to the twin; the tutorial's program is not. Private memory that is anonymous is what one more process costs; a program that
  runs once also has the pages of its own file to itself, although they can be dropped and read again.

${telemetrySection(taken)}
## Where the memory goes

Counted with the pages of its own program file, private memory falls short of the reach and cannot come to it: the bare runtime alone has
${of(taken, 'runtime', 'privateMb')} of that.

Of what the agent holds at rest, ${share(taken, 'fileMb', 'rssMb')} are pages of files: the code and constants of the runtime that were touched, which the
kernel can take back at any time. A bare Node has ${of(taken, 'runtime', 'fileMb')} of them; TLS, cryptography and the compiler of V8 are the difference. The rest,
${of(taken, 'agent', 'anonymousMb')}, is anonymous; a bare Node has ${of(taken, 'runtime', 'anonymousMb')} of that, and the heap of V8 with the program's text and bytecode is most of the difference.

What was done about it, with what each was worth when it was added (RSS at rest, from 84.6 MB; measured one by one, not in the run above):

| measure | RSS | remark |
|---|---|---|
| mqtt-packet without its table of packet identifiers | −13.7 MB | 8.4 MB of heap and what making it needs; 70 ms of processor time at the start as well |
| left out of the bundle: file upload, IoT Edge, WebSocket, MQTT 5, twin of the SDK, TPM | −2.8 MB | each fails by name if it is ever called |
| of lodash and async only what is called | −1.6 MB | |
| the bundle without its indentation | −0.7 MB | names stay, so a stack can be read |
| ${code('MALLOC_TRIM_THRESHOLD_=131072')} | −1.4 MB | glibc otherwise keeps what the start has freed |
| ${code('--max-semi-space-size=1')} | −1.6 MB | the young generation; a fifth more processor time for each message under load, which is what a device has to spare |
| ${code('--heap-growing-percent=30')} | – | not at rest: the old generation is collected before it has doubled, for a device that works |
| no ${code('lsb_release')} before the first connection | −0.6 MB | 30 ms as well, and more where that is a program in Python |
| built-in modules that nothing needs: streams of stdin, worker threads, assert | −1.1 MB | 10 ms as well |

What was tried and is not used:

| measure | RSS | why not |
|---|---|---|
| ${code('--optimize-for-size')} | 0 | nothing once the above is done, and starts later |
| ${code('--no-opt --no-maglev')} | −1.8 MB | half of the messages/s or less, for pages that the kernel can take back |
| ${code('--lite-mode')}, ${code('--jitless')} | −2.7 MB | the same, more so |
| ${code('--single-threaded')}, ${code('--v8-pool-size=1')}, ${code('UV_THREADPOOL_SIZE=1')} | 0 | |
| ${code('MALLOC_ARENA_MAX=1')} | −0.2 MB | nothing beside the trim threshold |
| ${code('NODE_COMPILE_CACHE')} | +0.3 MB | needs a folder that can be written, and more processor time here |

What the bundle does not take as its packages have it:

${markdownTable(
  ['module', 'why'],
  slimRows.map(({ module, why }) => [code(module), why]),
)}
`
}

function of(taken: Performance, who: Participant, figure: Figure): string {
  const median = summaryOf(taken, who, figure)?.median
  return median === undefined ? 'not measured' : `${showNumber(median, 1)} MB`
}

function share(taken: Performance, part: Figure, whole: Figure): string {
  return `${of(taken, 'agent', part)} of ${of(taken, 'agent', whole)}`
}
