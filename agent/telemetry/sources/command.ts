import { randomUUID } from 'node:crypto'
import { asFailure, Failure } from '../../failure.ts'
import type { Clock } from '../../system/clock.ts'
import { cleanWords, MAX_STDOUT_BYTES, programEnvironment, runProgram } from '../../system/run-program.ts'
import type { Run } from '../../system/run-program.ts'
import type { Durability } from '../outbox/port.ts'
import { PLAIN_LABEL } from '../sample.ts'
import type { Priority, Sample } from '../sample.ts'
import { createSchedule } from '../schedule.ts'
import type { Stamp } from '../stamp.ts'
import { readOutput } from './command-output.ts'
import type { OutputLimits } from './command-output.ts'

/** A program that is run for its measurements, as configured. */
export interface Command {
  readonly name: string
  /** The program and its arguments. */
  readonly program: readonly [string, ...string[]]
  readonly intervalSeconds: number
  readonly timeoutSeconds: number
  /** The name of the command, without it. */
  readonly stream?: string
  readonly priority: Priority
  readonly durability: Durability
  readonly component?: string
}

export interface CommandSourceOptions {
  readonly command: Command
  readonly clock: Clock
  readonly append: (samples: readonly Sample[], durability: Durability) => Promise<void>
  readonly stamp: Stamp
  /** Hears of SOURCE_FAILED, and of what `append` throws; the next run comes at its time. */
  readonly onFailure: (failure: Failure) => void
  /** Of the agent itself; the program sees what of it is harmless. */
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly limits?: Partial<OutputLimits>
}

/** How the runs of a command went. */
export interface CommandFacts {
  readonly name: string
  readonly runs: number
  /** Of them, those that failed: in all, and since the last that did not. */
  readonly failures: number
  readonly failedInARow: number
  /** The last one, also when a later run went well. */
  readonly lastFailure?: Failure
}

export interface CommandSource {
  /**
   * Runs the command at once and then at its interval, never twice at a time.
   *
   * @throws signal.reason when aborted, within 1 s, with the program ended
   */
  run(signal: AbortSignal): Promise<never>
  facts(): CommandFacts
}

/** A body has to leave room for its properties in the 256 KiB of a message. */
const LIMITS: OutputLimits = { maxSamples: 1_000, maxSampleBytes: 240 * 1024 }

/** The source that is a program: what it prints becomes samples. */
export function createCommandSource(options: CommandSourceOptions): CommandSource {
  const { command, clock, append, stamp, onFailure } = options
  const limits = { ...LIMITS, ...options.limits }
  const runOptions = {
    program: command.program,
    timeoutMs: command.timeoutSeconds * 1000,
    environment: programEnvironment(options.environment),
    clock,
  }
  let counts = { runs: 0, failures: 0, failedInARow: 0 }
  let lastFailure: Failure | undefined
  /** Whether the process of the run before is still there. */
  let lingers = false

  const bodiesOfRun = async (signal: AbortSignal) => {
    if (lingers) throw failed(command, 'is still running: not even SIGKILL has ended it')
    const run = await runProgram(runOptions, signal)
    lingers = true
    void run.gone.then(() => (lingers = false))
    return bodiesOf(command, run, limits)
  }
  /** Undefined when the agent has ended it, which is no failure. */
  const countedRun = async (signal: AbortSignal) => {
    try {
      const bodies = await bodiesOfRun(signal)
      counts = { ...counts, runs: counts.runs + 1, failedInARow: 0 }
      return bodies
    } catch (error) {
      if (signal.aborted) return undefined
      lastFailure = asFailure(error)
      const { runs, failures, failedInARow } = counts
      counts = { runs: runs + 1, failures: failures + 1, failedInARow: failedInARow + 1 }
      throw lastFailure
    }
  }

  return {
    facts: () => ({ name: command.name, ...counts, ...(lastFailure && { lastFailure }) }),
    async run(signal) {
      const take = async () => {
        const bodies = await countedRun(signal)
        if (bodies === undefined) return
        const taken = stamp()
        const samples = bodies.map((body) => sampleOf(command, body, taken))
        if (samples.length > 0) await append(samples, command.durability)
      }
      return createSchedule({ clock, intervalMs: command.intervalSeconds * 1000, take, onFailure }).run(signal)
    },
  }
}

function sampleOf(command: Command, body: string, taken: ReturnType<Stamp>): Sample {
  const { name, stream = name, priority, component } = command
  const label = component === undefined ? PLAIN_LABEL : { ...PLAIN_LABEL, component }
  return { id: randomUUID(), stream, priority, ...taken, label, body }
}

/** @throws Failure SOURCE_FAILED */
function bodiesOf(command: Command, run: Run, limits: OutputLimits): readonly string[] {
  const { how, stdout, stderr } = run
  const words = cleanWords(stderr)
  const why = (what: string) => failed(command, words === '' ? what : `${what}: ${words}`)
  switch (how.end) {
    case 'notStarted':
      throw failed(command, `cannot be started: ${command.program[0]} (${how.code})`)
    case 'late':
      throw why(`did not end within ${command.timeoutSeconds} s`)
    case 'tooMuch':
      throw why(`printed more than ${MAX_STDOUT_BYTES} bytes`)
    case 'signalled':
      throw why(`was ended by ${how.signalName}`)
    case 'exited': {
      if (how.exitCode !== 0) throw why(`ended with exit code ${how.exitCode}`)
      const read = readOutput(stdout, limits)
      if (!read.ok) throw failed(command, read.problem)
      return read.bodies
    }
  }
}

/** Never with the arguments: one of them may be a password. */
function failed({ name }: Command, what: string): Failure {
  return new Failure('SOURCE_FAILED', `the command ${name} ${what}`, { context: { command: name } })
}
