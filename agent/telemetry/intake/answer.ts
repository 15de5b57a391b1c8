import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Failure, FailureCode } from '../../failure.ts'
import type { Clock } from '../../system/clock.ts'
import type { Client } from './client.ts'

/** A request with its answer. */
export interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly client: Client
}

/** What is answered beside the failure itself. */
export interface Refusal {
  readonly failure: Failure
  /** Samples that are stored all the same. */
  readonly stored: number
  /** The first line that is not. */
  readonly line?: number
}

/** Each failure that is a client's, or the disk's; every other is ours. */
const statuses: Partial<Record<FailureCode, number>> = {
  TELEMETRY_INVALID: 400,
  TELEMETRY_FORBIDDEN: 403,
  TELEMETRY_TOO_LARGE: 413,
  TELEMETRY_QUOTA: 429,
  OUTBOX_BUSY: 503,
  OUTBOX_FULL: 507,
  DISK_FULL: 507,
  STATE_UNWRITABLE: 507,
  OUTBOX_IN_MEMORY: 507,
}

export const BROKEN = 500

/** After OUTBOX_BUSY; other failures say it themselves. */
const BUSY_RETRY_SECONDS = 1

/** How much, and for how long, what a refused client still sends is read and dropped, so that it comes to read the answer. */
const LINGER_BYTES = 64 * 1024 * 1024
const LINGER_MS = 2000

export function statusOf({ code }: Failure): number {
  return statuses[code] ?? BROKEN
}

/** What a client is told of a failure: no stack, no cause, no context. */
export function refusalOf({ failure, stored, line }: Refusal): object {
  const { code, message, advice } = failure
  const retryAfterSeconds = retryAfter(failure)
  return {
    error: { code, message, advice, ...(retryAfterSeconds !== undefined && { retryAfterSeconds }) },
    stored,
    ...(line !== undefined && { line }),
  }
}

/** Refuses a request of which nothing has been answered yet. */
export async function refuse(
  exchange: Exchange,
  refusal: Refusal,
  how: { readonly clock: Clock; readonly status?: number | undefined; readonly allow?: string | undefined },
): Promise<void> {
  const { failure } = refusal
  const retryAfterSeconds = retryAfter(failure)
  if (retryAfterSeconds !== undefined) exchange.response.setHeader('Retry-After', retryAfterSeconds)
  if (how.allow !== undefined) exchange.response.setHeader('Allow', how.allow)
  await answer(exchange, how.status ?? statusOf(failure), refusalOf(refusal), how.clock)
}

/** Answers with JSON, whole. */
export async function answer(exchange: Exchange, status: number, value: object, clock: Clock): Promise<void> {
  const { request, response } = exchange
  const text = `${JSON.stringify(value)}\n`
  if (!request.complete) response.setHeader('Connection', 'close')
  response.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) })
  if (request.method !== 'HEAD') response.write(text)
  await conclude(exchange, clock)
}

/** Ends an answer; a connection on which the request goes on is closed. Resolves when nothing of both is left. */
export async function conclude({ request, response, client }: Exchange, clock: Clock): Promise<void> {
  const { socket } = request
  client.expect('reading')
  const isWhole = request.complete
  if (!isWhole && !request.destroyed) await linger(request, clock)
  if (socket.destroyed) return
  const closed = firstClosed(response, socket)
  response.end(() => {
    if (!isWhole) socket.destroySoon()
  })
  await closed
}

/** An answer is closed when it has been handed over; one whose turn never came, with its connection. */
function firstClosed(response: ServerResponse, socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      response.off('close', done)
      socket.off('close', done)
      resolve()
    }
    response.on('close', done)
    socket.on('close', done)
  })
}

/** A client that cannot go on writing would never look at what it is told. */
async function linger(request: IncomingMessage, clock: Clock): Promise<void> {
  const over = new AbortController()
  let bytes = 0
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length
    if (bytes > LINGER_BYTES) over.abort()
  })
  for (const end of ['end', 'close', 'error']) request.once(end, () => over.abort())
  await clock.wait(LINGER_MS, over.signal).catch((error: unknown) => {
    if (!over.signal.aborted) throw error
  })
  request.pause()
}

function retryAfter({ code, retryAfterMs }: Failure): number | undefined {
  if (retryAfterMs !== undefined) return Math.max(1, Math.ceil(retryAfterMs / 1000))
  return code === 'OUTBOX_BUSY' ? BUSY_RETRY_SECONDS : undefined
}
