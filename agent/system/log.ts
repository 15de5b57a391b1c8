import { fstatSync, writeSync } from 'node:fs'
import pino from 'pino'
import type { Clock } from './clock.ts'
import { asFailure } from '../failure.ts'
import type { Failure } from '../failure.ts'
import { redact } from './redact.ts'

const STDOUT = 1
const STDERR = 2

export const logLevels = ['debug', 'info', 'warn', 'error'] as const

export type LogLevel = (typeof logLevels)[number]

/** Facts beside a message. A value is shown as it is, so no secret belongs here; the sink redacts what slips through. */
export type LogFields = Readonly<Record<string, unknown>>

/** One line of JSON a call, written before the call returns. */
export interface Log {
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
  /** Logs a failure with code, advice and causes; `transient` as a warning, all else as an error. */
  failure(failure: Failure, fields?: LogFields): void
  level(): LogLevel
  setLevel(level: LogLevel): void
}

export interface LogOptions {
  readonly level: LogLevel
  readonly clock: Clock
  /** Receives whole lines; the process's stdout when left out. */
  readonly write?: (line: string) => void
}

export function createLog(options: LogOptions): Log {
  const write = options.write ?? createStdoutWriter(isJournal(STDOUT))
  const sink = pino(
    {
      level: options.level,
      base: null,
      timestamp: () => `,"time":"${new Date(options.clock.now()).toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
    },
    { write: (line: string) => write(redact(line)) },
  )
  return {
    debug: (message, fields = {}) => sink.debug(fields, message),
    info: (message, fields = {}) => sink.info(fields, message),
    warn: (message, fields = {}) => sink.warn(fields, message),
    error: (message, fields = {}) => sink.error(fields, message),
    failure(failure, fields = {}) {
      const facts = { ...fields, code: failure.code, ...failure.context, ...causesOf(failure), advice: failure.advice }
      if (failure.kind === 'transient') sink.warn(facts, failure.message)
      else sink.error(facts, failure.message)
    },
    level: () => sink.level as LogLevel,
    setLevel(level) {
      sink.level = level
    },
  }
}

/** The messages beneath a failure, outermost first; with the stack where an invariant of ours broke. */
function causesOf(failure: Failure): LogFields {
  const causes: string[] = []
  for (let cause = failure.cause; cause !== undefined && causes.length < 5;) {
    causes.push(cause instanceof Error ? `${cause.name}: ${cause.message}` : asFailure(cause).message)
    cause = cause instanceof Error ? cause.cause : undefined
  }
  const origin = failure.cause instanceof Error ? failure.cause : failure
  return { ...(causes.length > 0 && { causes }), ...(failure.kind === 'broken' && { stack: origin.stack }) }
}

/**
 * Writes at once, so that the last words before a crash are not lost. A sink that takes nothing (closed or full pipe,
 * full disk) must not end the agent, and there is no other place to complain: such a line is dropped and counted, and the
 * count leads the next line that gets through.
 */
function createStdoutWriter(toJournal: boolean): (line: string) => void {
  let lost = 0
  return (plain) => {
    const first =
      lost === 0 ? [] : [`${JSON.stringify({ level: 'warn', lostLines: lost, msg: 'log lines were lost' })}\n`]
    const lines = [...first, plain]
    try {
      writeSync(STDOUT, (toJournal ? lines.map(withPriority) : lines).join(''))
      lost = 0
    } catch {
      lost += 1
    }
  }
}

/** Whether a stream is the journal's. Source: systemd.exec(5), JOURNAL_STREAM: device and inode of the stream. */
function isJournal(descriptor: number): boolean {
  const stream = process.env['JOURNAL_STREAM']
  if (stream === undefined) return false
  const { dev, ino } = fstatSync(descriptor)
  return stream === `${dev}:${ino}`
}

/** Priorities of the journal. Source: sd-daemon(3), SD_DEBUG and its kin. */
const priorities: Readonly<Record<LogLevel, number>> = { error: 3, warn: 4, info: 6, debug: 7 }

/** Text for stderr that says why a process ends: where that is the journal, each line has the priority of an error. */
export function lastWords(text: string): string {
  return isJournal(STDERR) ? text.replace(/^(?=.)/gm, `<${priorities.error}>`) : text
}

/** Each line of the log begins with its level; the journal takes the prefix away. */
export function withPriority(line: string): string {
  const level = logLevels.find((candidate) => line.startsWith(`{"level":"${candidate}"`))
  return level === undefined ? line : `<${priorities[level]}>${line}`
}
