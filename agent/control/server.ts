import { chmod, lstat, mkdir, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import type { Server, Socket } from 'node:net'
import { dirname } from 'node:path'
import { asFailure, Failure } from '../failure.ts'
import type { Clock } from '../system/clock.ts'
import { errorCode } from '../system/files.ts'
import { claim, privateName } from './claim.ts'
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

/** Owner and group may ask; nobody else. */
const SOCKET_MODE = 0o660

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
  const { path } = options
  const clients = new Set<Socket>()
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    clients.add(socket)
    socket.once('close', () => clients.delete(socket))
    // What goes wrong on one connection ends that connection, in `serve`; without a listener it would end the agent.
    socket.on('error', () => socket.destroy())
    serve(socket, options).catch((error: unknown) => options.onFailure(asFailure(error)))
  })
  server.maxConnections = MAX_CLIENTS
  const close = () => stopServer(server, clients)
  try {
    const inode = await bind(server, options)
    server.on('error', (error) => options.onFailure(asFailure(error)))
    return {
      async [Symbol.asyncDispose]() {
        await unlinkIfOurs(path, inode)
        await close()
      },
    }
  } catch (cause) {
    await close()
    if (cause instanceof Failure) throw cause
    throw new Failure('CONTROL_UNAVAILABLE', `cannot listen on ${path}: ${errorCode(cause) ?? String(cause)}`, {
      cause,
    })
  }
}

/** Listens under a private name first, so that the socket has its mode before anybody can find it. */
async function bind(server: Server, { path, clock }: ControlOptions): Promise<bigint> {
  const own = privateName(path)
  await mkdir(dirname(path), { recursive: true, mode: 0o750 })
  await listen(server, own)
  try {
    await chmod(own, SOCKET_MODE)
    const { ino } = await lstat(own, { bigint: true })
    await claim(own, path, clock)
    return ino
  } finally {
    await rm(own, { force: true })
  }
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

/** A path that another agent has taken over meanwhile stays. */
async function unlinkIfOurs(path: string, inode: bigint): Promise<void> {
  try {
    const { ino } = await lstat(path, { bigint: true })
    if (ino === inode) await rm(path, { force: true })
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error
  }
}

async function stopServer(server: Server, clients: ReadonlySet<Socket>): Promise<void> {
  for (const client of clients) client.destroy()
  if (server.listening) await new Promise<void>((resolve) => server.close(() => resolve()))
}

async function serve(socket: Socket, options: ControlOptions): Promise<void> {
  const idle = watchIdle(socket, options)
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

function watchIdle(socket: Socket, { clock, onFailure }: ControlOptions): { active(): void } {
  const gone = new AbortController()
  socket.once('close', () => gone.abort())
  let sinceMs = clock.monotonicMs()
  const watch = async () => {
    while (!gone.signal.aborted) {
      const leftMs = sinceMs + IDLE_MS - clock.monotonicMs()
      if (leftMs <= 0) socket.destroy()
      await clock.wait(Math.max(1, leftMs), gone.signal)
    }
  }
  watch().catch((error: unknown) => {
    // Aborted means that the client is gone; anything else is a failure of the clock.
    if (!gone.signal.aborted) onFailure(asFailure(error))
  })
  return {
    active() {
      sinceMs = clock.monotonicMs()
    },
  }
}
