import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { Failure, isFailureCode } from '../failure.ts'
import type { Clock } from '../system/clock.ts'
import { bounded } from '../system/deadline.ts'
import { errorCode } from '../system/files.ts'
import { answerLimit, parseAnswer, readLines } from './protocol.ts'
import type { ControlAnswer, ControlRequest } from './protocol.ts'

export interface AskOptions {
  readonly path: string
  readonly clock: Clock
  /** How long the agent may take; 5 s when left out. */
  readonly withinMs?: number
}

/**
 * Asks the agent that runs on this machine one thing.
 *
 * @throws Failure AGENT_NOT_RUNNING  nobody listens, or nobody answers in time
 * @throws Failure CONTROL_DENIED     this user may not use the socket
 * @throws Failure CONTROL_BAD_ANSWER no answer, or none of this protocol
 * @throws signal.reason              when aborted
 */
export async function askControl(
  request: ControlRequest,
  options: AskOptions,
  signal?: AbortSignal,
): Promise<ControlAnswer> {
  const { path, clock, withinMs = 5000 } = options
  const socket = connect(path)
  try {
    const deadline = { clock, withinMs, code: 'AGENT_NOT_RUNNING', what: `an answer on ${path}` } as const
    return await bounded(converse(socket, request), deadline, signal)
  } catch (error) {
    throw connectionFailure(error, path)
  } finally {
    socket.destroy()
  }
}

async function converse(socket: Socket, request: ControlRequest): Promise<ControlAnswer> {
  socket.write(`${JSON.stringify(request)}\n`)
  for await (const line of readLines(socket, answerLimit)) return parseAnswer(line)
  throw new Failure('CONTROL_BAD_ANSWER', 'the agent closed the connection without an answer')
}

function connectionFailure(cause: unknown, path: string): unknown {
  const fact = `${path}: ${errorCode(cause) ?? ''}`
  switch (errorCode(cause)) {
    case 'ENOENT':
    case 'ENOTDIR':
    case 'ECONNREFUSED':
      return new Failure('AGENT_NOT_RUNNING', `nothing listens on ${fact}`, { cause })
    case 'EACCES':
    case 'EPERM':
      return new Failure('CONTROL_DENIED', `cannot open ${fact}`, { cause })
    case 'ECONNRESET':
    case 'EPIPE':
    case 'EAGAIN':
      return new Failure('CONTROL_BAD_ANSWER', `the agent closed the connection on ${fact}`, { cause })
    case undefined:
    default:
      return cause
  }
}

/** What the agent refused with, as the failure that it was; its code may be of a version that is not known here. */
export function refusedBy({ code, message }: Extract<ControlAnswer, { ok: false }>): Failure {
  if (isFailureCode(code)) return new Failure(code, message)
  return new Failure('CONTROL_BAD_ANSWER', `the agent refused: ${code} ${message}`)
}
