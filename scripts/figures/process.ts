/** One process under measurement. All of it is read from /proc of Linux. */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'

export interface Program {
  readonly command: readonly [string, ...string[]]
  readonly environment: Readonly<Record<string, string>>
  /** Whether it is told something while it runs. */
  readonly listens?: boolean
}

/** A process and everything it started. */
export interface Running extends AsyncDisposable {
  readonly pid: number
  /** When it was started, as `performance.now()`. */
  readonly startedMs: number
  /** Rejects when it ends before it is stopped, with what it said. */
  readonly early: Promise<never>
  /** What it wrote to stdout until now. */
  readonly said: () => string
  /** Resolves when it has ended by itself with 0. */
  readonly finished: Promise<void>
  /** Writes to the stdin of a program that listens. */
  tell(text: string): void
  /** SIGKILL; resolves when it is gone. */
  kill(): Promise<void>
}

/** Memory in MB of 1,048,576 bytes. */
export interface Memory {
  readonly rssMb: number
  readonly pssMb: number
  /** Private_Clean and Private_Dirty: a process that is alone with its program has the program's pages in it. */
  readonly privateMb: number
  /** What is in no file: heaps and stacks. */
  readonly anonymousMb: number
  /** Pages of files that are mapped and were touched: the program's code and constants. */
  readonly fileMb: number
}

/** Milliseconds of one tick in /proc/PID/stat; USER_HZ is 100 on every Linux. */
const TICK_MS = 10

export function start({ command: [file, ...args], environment, listens = false }: Program): Running {
  const startedMs = performance.now()
  const stdin = listens ? 'pipe' : 'ignore'
  const child = spawn(file, args, { env: environment, stdio: [stdin, 'pipe', 'pipe'], cwd: '/' })
  const { pid } = child
  if (pid === undefined) throw new Error(`${file} could not be started`)
  const output = collect(child)
  const closed = once(child, 'close') as Promise<[number | null, string | null]>
  const finished = closed.then(([code, signal]) =>
    code === 0 ? undefined : Promise.reject(new Error(`${file} ended with ${code ?? signal}:\n${output.both()}`)),
  )
  const early = closed.then(([code, signal]) =>
    Promise.reject(new Error(`${file} ended with ${code ?? signal}:\n${output.both()}`)),
  )
  // Whoever waits hears of it; that it ends because it is stopped is no news.
  for (const promise of [finished, early]) promise.catch(() => undefined)
  child.stdin?.on('error', () => undefined)
  return {
    ...{ pid, startedMs, early, finished },
    said: output.stdout,
    tell: (text) => void child.stdin?.write(text),
    async kill() {
      child.kill('SIGKILL')
      await closed
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM')
      await closed
    },
  }
}

/** User and system time of a process, its threads, and all below it, in milliseconds; steps of 10 ms. */
export function cpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  // The name in parentheses may hold anything. utime, stime, cutime and cstime are fields 14 to 17.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const own = fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks) * TICK_MS, 0)
  const below = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean)
  return below.reduce((sum, child) => sum + cpuMs(Number(child)), own)
}

/** Time on a processor of the threads that a process has now, in milliseconds, to the nanosecond. */
export function threadCpuMs(pid: number): number {
  return readdirSync(`/proc/${pid}/task`)
    .map((thread) => Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]) / 1e6)
    .reduce((sum, ms) => sum + ms, 0)
}

export function memoryOf(pid: number): Memory {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8')
  const mb = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1]) / 1024
  const [rssMb, anonymousMb] = [mb('Rss'), mb('Anonymous')]
  return {
    ...{ rssMb, anonymousMb, pssMb: mb('Pss'), fileMb: rssMb - anonymousMb },
    privateMb: mb('Private_Clean') + mb('Private_Dirty'),
  }
}

/** The most memory that it had in RAM at any time, in MB. */
export function peakMb(pid: number): number {
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024
}

/**
 * Bytes that a process has caused to be sent to storage. What is written again before it has gone there counts once; the
 * file system's own journal is not in it. Source: proc_pid_io(5).
 */
export function writtenBytes(pid: number): number {
  return Number(/^write_bytes: (\d+)/m.exec(readFileSync(`/proc/${pid}/io`, 'utf8'))?.[1])
}

function collect(child: ChildProcess) {
  let stdout = ''
  let all = ''
  child.stdout?.on('data', (bytes: Buffer) => {
    stdout += bytes.toString()
    all += bytes.toString()
  })
  child.stderr?.on('data', (bytes: Buffer) => (all += bytes.toString()))
  return { stdout: () => stdout, both: () => all }
}
