import { createServer } from 'node:net'
import type { Socket } from 'node:net'
import { asFailure, Failure } from '../failure.ts'
import type { Clock } from '../system/clock.ts'
import { errorCode } from '../system/error-code.ts'
import { watchIdle } from '../system/idle.ts'
import { listenOn, stopListening } from '../system/unix-socket.ts'
import { requestLimit, parseRequest, readLines, refusalOf } from './protocol.ts'
import type { ControlAnswer, ControlRequest } from './protocol.ts'

export interface ControlOptions {
  /** Where the socket is to be; its folder is made when it is missing. */
  readonly path: string
  readonly clock: Clock
  /** What a request is answered with; what it throws becomes a refusal. */
  readonly answer: (request: ControlRequest) => unknown
  /** Hears of what is no client's fault. */
  readonly onFailure: (failure: Failure) => void
}

/** Clients at a time; more are turned away by closing their connection. */
const MAX_CLIENTS = 16

/** A client that has not finished a request for so long is let go. */
const IDLE_MS = 30_000

/**
 * Listens for local commands: newline-delimited JSON, one answer a request, in their order. Only one agent can have the
 * socket, and so only one can run.
 *
 * @throws Failure AGENT_ALREADY_RUNNING an agent listens there
 * @throws Failure CONTROL_UNAVAILABLE   the socket cannot be made
 */
export async function openControl(options: ControlOptions): Promise<AsyncDisposable> {
  const { path, clock } = options
  const clients = new Set<Socket>()
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    clients.add(socket)
    socket.once('close', () => clients.delete(socket))
    // What goes wrong on one connection ends that connection, in `serve`; without a listener it would end the agent.
    socket.on('error', () => socket.destroy())
    serve(socket, options).catch((error: unknown) => options.onFailure(asFailure(error)))
  })
  server.maxConnections = MAX_CLIENTS
  const name = await listenOn(server, { path, clock, unavailable: 'CONTROL_UNAVAILABLE' })
  server.on('error', (error) => options.onFailure(asFailure(error)))
  return {
    async [Symbol.asyncDispose]() {
      await name[Symbol.asyncDispose]()
      for (const client of clients) client.destroy()
      await stopListening(server)
    },
  }
}

async function serve(socket: Socket, options: ControlOptions): Promise<void> {
  const gone = new AbortController()
  socket.once('close', () => gone.abort())
  const onFailure = (error: unknown) => options.onFailure(asFailure(error))
  const idle = watchIdle(options.clock, IDLE_MS, { onIdle: () => socket.destroy(), onFailure }, gone.signal)
  try {
    for await (const line of readLines(socket.iterator({ destroyOnReturn: false }), requestLimit)) {
      await write(socket, await respond(line, options))
      idle.active()
    }
    socket.end()
  } catch (error) {
    if (!(error instanceof Failure)) return endBroken(socket, error)
    // What a client sends after a line without end is read and dropped, or the answer would be lost in the reset.
    socket.resume()
    await write(socket, refusalOf(error)).catch((lost: unknown) => endBroken(socket, lost))
    socket.end()
  }
}

/** A client that went away (EPIPE, ECONNRESET, a closed stream) is no failure of anybody. */
function endBroken(socket: Socket, error: unknown): void {
  socket.destroy()
  if (errorCode(error) === undefined) throw error
}

async function respond(line: string, options: ControlOptions): Promise<ControlAnswer> {
  try {
    return { ok: true, value: await options.answer(parseRequest(line)) }
  } catch (error) {
    const failure = asFailure(error)
    if (failure.kind === 'broken') options.onFailure(failure)
    return refusalOf(failure)
  }
}

/** Resolves when the client has room for more, which bounds what is kept for one that does not read. */
function write(socket: Socket, answer: ControlAnswer): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.write(`${JSON.stringify(answer)}\n`, (error) => (error ? reject(error) : resolve()))
  })
}
