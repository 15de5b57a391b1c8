import { code, markdownTable } from '../../pages/markdown.ts'
import { showNumber, summarize } from '../statistics.ts'
import type { Packaged, Part, ServiceFigure } from './figures.ts'

const lines: readonly (readonly [title: string, unit: string, figure: ServiceFigure])[] = [
  ['start of the unit to first acknowledged message, hub known', 'ms', 'firstMessageMs'],
  ['start of the process to READY=1', 'ms', 'readyMs'],
  ['processor time until the first message', 'ms', 'startCpuMs'],
  ['at rest: RSS', 'MB', 'rssMb'],
  ['at rest: PSS', 'MB', 'pssMb'],
  ['at rest: private, anonymous', 'MB', 'anonymousMb'],
  ['at rest: processor time', 'ms', 'restCpuMs'],
  ['at rest: written to disk', 'kB', 'restWrittenKb'],
]

/** Parts of the program below this are one line together, in bytes. */
const SMALL_BYTES = 30_000

/** What others publish of themselves. */
const published: readonly (readonly string[])[] = [
  ['AWS IoT Greengrass Lite 2.5.0 (C), installed, as published', '0.83–1.10 MB'],
  ['Azure IoT C SDK, one MQTT program on the disk, as published', '0.16–0.30 MB'],
]

/** The part of docs/performance.md about the packages and the installed service. */
export function packagedSection(taken: Packaged): string {
  const { machine, startRounds, restRounds, quietSeconds, takenOn } = taken
  return `## The package, and the service that it installs

Taken on ${takenOn} by ${code('scripts/bench-package')}: ${machine.cpu}, ${machine.cores} cores, ${machine.memoryMb} MB, Linux ${machine.kernel}. MB are 1,048,576 bytes.

| package | architecture | .deb | installed |
| --- | --- | --- | --- |
${taken.packages.map(({ name, arch, deb, installed }) => `| ${name} | ${arch} | ${mb(deb)} | ${mb(installed)} |`).join('\n')}

The small one has no runtime: the system brings Node. Beside them:

${markdownTable(['beside', 'size'], [...taken.beside.map(row), ...published])}

### What each megabyte is

Installed, arm64:

${markdownTable(['part', 'size'], taken.parts.map(row))}

Of the program:

${markdownTable(['part', 'size'], smallTogether(taken.bundle).map(row))}

The runtime is Node as its makers publish it, without its symbols: nothing else of it is cut away, so that its bytes can be compared with theirs.

The content in other packings, and the memory that a device needs to unpack it, as ${code('xz --list')} says; ${code('xz -6')} is what is shipped:

${markdownTable(
  ['packing', 'size', 'memory for unpacking'],
  taken.packings.map(({ flags, bytes, unpackBytes }) => [code(flags), mb(bytes), mb(unpackBytes)]),
)}

### The service under systemd

The amd64 package, installed by apt in a booted Debian, with the limits and the sandbox of its unit, beside the stand-in of the cloud. The unit is stopped, its
program is dropped from the page cache, and it is started with its hub known, ${startRounds} times. Then it is at rest, with a measurement a minute, ${restRounds} times
${quietSeconds} s. Program and state lie on the disk of this machine. Values are the median, with the least and the most.

${markdownTable(
  ['figure', 'unit', ...taken.service.map(({ suite, systemd }) => `Debian ${suite}, systemd ${systemd}`)],
  lines.map(([title, unit, figure]) => [title, unit, ...taken.service.map(({ values }) => spread(values[figure]))]),
)}

On arm64 the service was run under emulation only, where times say nothing about a device; there are no figures of it.
`
}

function smallTogether(parts: readonly Part[]): readonly Part[] {
  const large = parts.filter(({ bytes }) => bytes >= SMALL_BYTES)
  const small = parts.filter(({ bytes }) => bytes < SMALL_BYTES)
  const bytes = small.reduce((total, part) => total + part.bytes, 0)
  return small.length === 0 ? large : [...large, { title: `${small.length} others`, bytes }]
}

function row({ title, bytes }: Part): readonly string[] {
  return [title, mb(bytes)]
}

function spread(values: readonly number[]): string {
  const summary = summarize(values)
  if (summary === undefined) return '–'
  return `**${showNumber(summary.median, 1)}** (${showNumber(summary.least, 1)}–${showNumber(summary.most, 1)})`
}

function mb(bytes: number): string {
  return `${showNumber(bytes / 1024 / 1024, 2)} MB`
}
