import { fstatSync, writeSync } from 'node:fs'
import pino from 'pino'
import type { Clock } from './clock.ts'
import { asFailure } from '../failure.ts'
import type { Failure } from '../failure.ts'
import { redact } from './redact.ts'

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
  const write = options.write ?? createStdoutWriter(isJournal(process.env['JOURNAL_STREAM']))
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
    const line = toJournal ? withPriority(plain) : plain
    try {
      writeSync(
        1,
        lost === 0
          ? line
          : `${JSON.stringify({ level: 'warn', lostLines: lost, msg: 'log lines were lost' })}\n${line}`,
      )
      lost = 0
    } catch {
      lost += 1
    }
  }
}

/** Whether stdout is the journal's. Source: systemd.exec(5), JOURNAL_STREAM: device and inode of the stream. */
function isJournal(stream: string | undefined): boolean {
  if (stream === undefined) return false
  const { dev, ino } = fstatSync(1)
  return stream === `${dev}:${ino}`
}

/** Priorities of the journal. Source: sd-daemon(3), SD_DEBUG and its kin. */
const priorities: Readonly<Record<LogLevel, number>> = { error: 3, warn: 4, info: 6, debug: 7 }

/** Each line of the log begins with its level; the journal takes the prefix away. */
export function withPriority(line: string): string {
  const level = logLevels.find((candidate) => line.startsWith(`{"level":"${candidate}"`))
  return level === undefined ? line : `<${priorities[level]}>${line}`
}
