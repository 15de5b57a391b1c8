import { once } from 'node:events'
import { request } from 'node:http'
import type { ClientRequest, IncomingMessage } from 'node:http'
import { answerLimit, readLines } from '../control/protocol.ts'
import { Failure } from '../failure.ts'
import type { Clock } from '../system/clock.ts'
import { bounded } from '../system/deadline.ts'
import { errorCode } from '../system/error-code.ts'
import { isObject, parseJson } from '../system/json.ts'

/** What is handed in. */
export interface Post {
  /** `telemetry.sock` in the runtime folder. */
  readonly socket: string
  readonly clock: Clock
  readonly query: string
  readonly contentType: string
  readonly body: Iterable<Uint8Array | string> | AsyncIterable<Uint8Array>
}

/** The last that the agent said, which counts. */
export interface Posted {
  /** Samples that are stored. */
  readonly stored: number
  readonly ids?: readonly string[]
  readonly refusal?: PostRefusal
}

export interface PostRefusal {
  readonly code: string
  readonly message: string
  readonly advice: string
  readonly retryAfterSeconds?: number
  /** Of a stream: the first line that is not stored. */
  readonly line?: number
}

/** How long the agent may take once it has everything; a stream may be held up for half of it by its quota. */
const WITHIN_MS = 60_000

/**
 * Hands samples to the running agent; a body that is refused in its middle is not read to its end.
 *
 * @throws Failure AGENT_NOT_RUNNING      nothing listens
 * @throws Failure CONTROL_DENIED         this user may not use the socket
 * @throws Failure TELEMETRY_UNAVAILABLE  no answer, or none that is understood
 */
export async function postTelemetry(post: Post): Promise<Posted> {
  const { socket, query, contentType, clock } = post
  const path = query === '' ? '/telemetry' : `/telemetry?${query}`
  const headers = { 'Content-Type': contentType, Connection: 'close' }
  const call = request({ socketPath: socket, method: 'POST', path, headers, agent: false })
  try {
    const answer = readAnswer(call)
    const isAnswered = answer.then(() => true)
    const isSent = upload(call, post.body).then(() => false)
    if (!(await Promise.race([isAnswered, isSent]))) {
      const what = `an answer on ${socket}`
      await bounded(isAnswered, { clock, withinMs: WITHIN_MS, code: 'TELEMETRY_UNAVAILABLE', what })
    }
    return postedOf(await answer)
  } catch (error) {
    throw connectionFailure(error, socket)
  } finally {
    call.destroy()
  }
}

/** The last line of the answer; those before it only say how far it has come, and nothing comes after an error. */
async function readAnswer(call: ClientRequest): Promise<string> {
  const [response] = (await once(call, 'response')) as [IncomingMessage]
  // What goes wrong with the sending from now on is told by the answer, or by its end.
  call.on('error', () => response.destroy())
  let last = ''
  for await (const line of readLines(response, answerLimit)) {
    last = line
    if (line.startsWith('{"error"')) break
  }
  return last
}

async function upload(call: ClientRequest, body: Post['body']): Promise<void> {
  for await (const chunk of body) {
    if (call.destroyed) return
    if (!call.write(chunk)) await hasRoom(call)
  }
  call.end()
}

/** Resolves when more may be written, or when nothing can be any more; leaves no listener. */
async function hasRoom(call: ClientRequest): Promise<void> {
  const over = new AbortController()
  const unlessOver = (error: unknown) => {
    if (!over.signal.aborted) throw error
  }
  const events = ['drain', 'close'].map((name) => once(call, name, { signal: over.signal }).catch(unlessOver))
  try {
    await Promise.race(events)
  } finally {
    over.abort()
  }
}

function postedOf(line: string): Posted {
  const answer = parseJson(line)
  if (!isObject(answer) || typeof answer['stored'] !== 'number') {
    throw new Failure('TELEMETRY_UNAVAILABLE', 'the answer is of a form that is not known here')
  }
  const { stored, ids, error, line: at } = answer
  return {
    stored,
    ...(Array.isArray(ids) && { ids: ids.map(String) }),
    ...(isObject(error) && { refusal: { ...refusalOf(error), ...(typeof at === 'number' && { line: at }) } }),
  }
}

function refusalOf(error: Readonly<Record<string, unknown>>): PostRefusal {
  const text = (key: string) => (typeof error[key] === 'string' ? error[key] : '')
  const { retryAfterSeconds } = error
  return {
    code: text('code'),
    message: text('message'),
    advice: text('advice'),
    ...(typeof retryAfterSeconds === 'number' && { retryAfterSeconds }),
  }
}

function connectionFailure(cause: unknown, path: string): unknown {
  const code = errorCode(cause)
  if (cause instanceof Failure || code === undefined) return cause
  switch (code) {
    case 'ENOENT':
    case 'ENOTDIR':
    case 'ECONNREFUSED':
      return new Failure('AGENT_NOT_RUNNING', `nothing listens on ${path}: ${code}`, { cause })
    case 'EACCES':
    case 'EPERM':
      return new Failure('CONTROL_DENIED', `cannot open ${path}: ${code}`, { cause })
    default:
      return new Failure('TELEMETRY_UNAVAILABLE', `the agent closed the connection on ${path}: ${code}`, { cause })
  }
}
