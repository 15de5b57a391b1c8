import { spawn } from 'node:child_process'
import type { ChildProcess, SpawnOptions } from 'node:child_process'
import type { Clock } from './clock.ts'
import { errorCode } from './error-code.ts'
import { keepFirst, keepLast } from './keep.ts'

/** How a run came to its end. */
export type RunEnd =
  | { readonly end: 'exited'; readonly exitCode: number }
  | { readonly end: 'signalled'; readonly signalName: string }
  | { readonly end: 'notStarted'; readonly code: string }
  | { readonly end: 'late' | 'tooMuch' }

export interface Run {
  readonly how: RunEnd
  readonly stdout: Uint8Array
  /** The last of what it said there. */
  readonly stderr: Uint8Array
  /** Resolves when the process is gone; one that waits for a broken disk may outlive even SIGKILL. */
  readonly gone: Promise<void>
}

export interface RunOptions {
  /** The program and its arguments; no shell sees them. */
  readonly program: readonly [string, ...string[]]
  readonly timeoutMs: number
  readonly environment: Readonly<Record<string, string>>
  /** What it has to read; nothing when left out. */
  readonly input?: string | Uint8Array
  readonly clock: Clock
}

export const MAX_STDOUT_BYTES = 1024 * 1024

export const MAX_STDERR_BYTES = 4096

/** Between SIGTERM and SIGKILL, when it was late and when the agent stops: that has 1.5 s for all it does. */
const GRACE_MS = 2_000
const STOPPING_GRACE_MS = 500

/** How long an end is waited for that should come at once: of the output after the process, of the process after SIGKILL. */
const AT_ONCE_MS = 250

/**
 * Runs a program in a process group of its own, until it exits, is late, prints too much or the
 * agent stops. Whatever is left of the group then is killed, and its output is let go of.
 *
 * @throws signal.reason when aborted; the program has been told by then
 */
export async function runProgram(options: RunOptions, signal: AbortSignal): Promise<Run> {
  signal.throwIfAborted()
  const child = start(options)
  if (typeof child === 'string') return notStarted(child)
  const over = new AbortController()
  // A program that does not read to the end says so by how it ends.
  child.stdin?.on('error', () => undefined)
  child.stdin?.end(options.input)
  const stdout = keepFirst(child.stdout, MAX_STDOUT_BYTES)
  const stderr = keepLast(child.stderr, MAX_STDERR_BYTES)
  const closed = new Promise<void>((resolve) => void child.once('close', () => resolve()))
  const exit = exitOf(child)
  const gone = exit.then(() => undefined)
  const tooMuch = stdout.overflowed.then((): RunEnd => ({ end: 'tooMuch' }))
  // An abort ends this wait as well; what it is then called is thrown away.
  const stop = AbortSignal.any([signal, over.signal])
  const late = options.clock.wait(options.timeoutMs, stop).then(isLate, isLate)
  try {
    const how = await Promise.race([exit, tooMuch, late])
    if (how.end === 'late' || how.end === 'tooMuch') await endGroup(child, gone, options.clock, signal)
    else await drain(child, closed, options.clock)
    signal.throwIfAborted()
    const printed = stdout.bytes()
    const end: RunEnd = printed.length > MAX_STDOUT_BYTES ? { end: 'tooMuch' } : how
    return { how: end, stdout: printed, stderr: stderr.bytes(), gone }
  } finally {
    over.abort()
    killGroup(child, 'SIGKILL')
    child.stdin?.destroy()
    child.stdout?.destroy()
    child.stderr?.destroy()
    child.unref()
  }
}

function isLate(): RunEnd {
  return { end: 'late' }
}

/** @returns the code of the system's error when it cannot even be tried */
function start({ program: [file, ...words], environment, input }: RunOptions): ChildProcess | string {
  // Without a terminal and in a group of its own, so that a signal reaches what it has started as well.
  const options: SpawnOptions = {
    ...{ detached: true, shell: false, cwd: '/', env: { ...environment } },
    stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
  }
  try {
    return spawn(file, words, options)
  } catch (error) {
    const code = errorCode(error)
    if (code === undefined) throw error
    return code
  }
}

function notStarted(code: string): Run {
  const nothing = new Uint8Array()
  return { how: { end: 'notStarted', code }, stdout: nothing, stderr: nothing, gone: Promise.resolve() }
}

function exitOf(child: ChildProcess): Promise<RunEnd> {
  return new Promise((resolve) => {
    child.on('error', (error) => {
      if (child.pid === undefined) resolve({ end: 'notStarted', code: errorCode(error) ?? 'UNKNOWN' })
    })
    child.once('exit', (exitCode, signalName) => {
      resolve(exitCode === null ? { end: 'signalled', signalName: signalName ?? '' } : { end: 'exited', exitCode })
    })
  })
}

/** The process is gone; what it printed last may not be read yet, and something that it left behind may hold its output. */
async function drain(child: ChildProcess, closed: Promise<void>, clock: Clock): Promise<void> {
  if (child.pid === undefined || (await within(AT_ONCE_MS, closed, clock))) return
  killGroup(child, 'SIGKILL')
  await within(AT_ONCE_MS, closed, clock)
}

async function endGroup(child: ChildProcess, gone: Promise<void>, clock: Clock, signal: AbortSignal): Promise<void> {
  killGroup(child, 'SIGTERM')
  if (!signal.aborted && (await within(GRACE_MS, gone, clock, signal))) return
  if (signal.aborted && (await within(STOPPING_GRACE_MS, gone, clock))) return
  killGroup(child, 'SIGKILL')
  await within(AT_ONCE_MS, gone, clock)
}

/** Whether it came to pass in time, and before the abort. `work` must not reject. */
async function within(delayMs: number, work: Promise<void>, clock: Clock, signal?: AbortSignal): Promise<boolean> {
  const over = new AbortController()
  const stop = signal === undefined ? over.signal : AbortSignal.any([over.signal, signal])
  const late = clock.wait(delayMs, stop).then(
    () => false,
    () => false,
  )
  try {
    return await Promise.race([work.then(() => true), late])
  } finally {
    over.abort()
  }
}

function killGroup({ pid }: ChildProcess, name: 'SIGTERM' | 'SIGKILL'): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, name)
  } catch (error) {
    // Nobody is left, or only what has taken another user's rights.
    if (errorCode(error) !== 'ESRCH' && errorCode(error) !== 'EPERM') throw error
  }
}

/** All that a program gets of the agent's environment: what is not named here may be a credential. */
const HARMLESS = ['PATH', 'LANG', 'LC_ALL', 'TZ', 'HOME']

const DEFAULT_ENVIRONMENT = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LANG: 'C.UTF-8' }

/** What a program sees of the environment of the agent: where programs are, how text and time are written, no secret. */
export function programEnvironment(own: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const kept = HARMLESS.flatMap((name) => (own[name] === undefined ? [] : [[name, own[name]] as const]))
  return { ...DEFAULT_ENVIRONMENT, ...Object.fromEntries(kept) }
}

/** What a program said of its trouble, in one line and without anything that moves a cursor or turns the text around. */
export function cleanWords(bytes: Uint8Array): string {
  return new TextDecoder()
    .decode(bytes)
    .replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s]+/gu, ' ')
    .trim()
}
