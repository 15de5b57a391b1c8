/** The agent as a program: a command that ends, or the process that lives. */
import { execFile, execFileSync, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readdir, readFile } from 'node:fs/promises'
import { Socket } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createJournal } from './journal.ts'
import type { Journal } from './journal.ts'

/** Words before the arguments, as `['/usr/bin/iot-device-agent']`. */
export type Program = readonly [string, ...string[]]

/** The sources on this runtime: what a test means when it says nothing else. */
export const sourceProgram: Program = [
  process.execPath,
  '--disable-warning=DEP0169',
  fileURLToPath(new URL('../../agent/main.ts', import.meta.url)),
]

/** What `scripts/build` leaves. */
export const builtProgram: Program = [fileURLToPath(new URL('../../build/iot-device-agent', import.meta.url))]

/** The whole environment of a process; nothing is inherited. */
export type Variables = Readonly<Record<string, string>>

export interface Ran {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs one command to its end. */
export function runProgram(program: Program, args: readonly string[], variables: Variables): Promise<Ran> {
  const [file, ...words] = program
  return new Promise((resolve) => {
    execFile(file, [...words, ...args], { env: variables, cwd: '/' }, (error, stdout, stderr) => {
      resolve({ status: error === null ? 0 : typeof error.code === 'number' ? error.code : 1, stdout, stderr })
    })
  })
}

/** The agent as a process of its own. */
export interface AgentProcess extends AsyncDisposable {
  readonly pid: number
  /** stdout and stderr. */
  readonly journal: Journal
  /** Resolves with the exit status; null when a signal ended it. */
  readonly ended: Promise<number | null>
  /** `/proc/PID/environ` and `cmdline`. */
  processMemory(): Promise<Buffer>
  /** SIGTERM; resolves with the milliseconds it took and the exit status. */
  stop(): Promise<{ readonly tookMs: number; readonly status: number | null }>
  kill(): void
}

/** An agent that takes longer than this to stop is killed; its exit status is then null. */
const LONGEST_STOP_MS = 10_000

/** Starts `run`. It is killed at the end of the block, if it still lives. */
export function startProgram(program: Program, variables: Variables): AgentProcess {
  const [file, ...words] = program
  const child = spawn(file, [...words, 'run'], { env: variables, stdio: ['ignore', 'pipe', 'pipe'], cwd: '/' })
  const journal = createJournal()
  const ended = once(child, 'close').then(([status]) => {
    journal.end()
    return status as number | null
  })
  child.stdout.on('data', journal.write)
  child.stderr.on('data', journal.write)
  endWithUs(child)
  return {
    pid: child.pid ?? 0,
    journal,
    ended,
    async processMemory() {
      const parts = ['environ', 'cmdline'].map((name) => readFile(`/proc/${child.pid}/${name}`))
      return Buffer.concat(await Promise.all(parts))
    },
    async stop() {
      const from = performance.now()
      child.kill('SIGTERM')
      const tooLong = setTimeout(() => child.kill('SIGKILL'), LONGEST_STOP_MS)
      const status = await ended
      clearTimeout(tooLong)
      return { tookMs: Math.round(performance.now() - from), status }
    },
    kill: () => void child.kill('SIGKILL'),
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await ended
    },
  }
}

/** A test that was given up leaves no agent behind, and no agent keeps the process of the tests alive. */
function endWithUs(child: ChildProcess): void {
  child.unref()
  for (const stream of [child.stdout, child.stderr]) if (stream instanceof Socket) stream.unref()
  const end = () => child.kill('SIGKILL')
  process.once('exit', end)
  child.once('close', () => process.off('exit', end))
}

/** Every regular file below a folder, with its content. */
export async function filesBelow(folder: string): Promise<ReadonlyMap<string, Buffer>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  return new Map(await Promise.all(files.map(async (file) => [file, await readFile(file)] as const)))
}

/** What to tell of a program that is not on this machine. */
export function lacks(program: string): { readonly skip?: string } {
  try {
    execFileSync(program, ['--version'], { stdio: 'ignore' })
    return {}
  } catch {
    return { skip: `there is no ${program} here` }
  }
}
