import type { IncomingMessage } from 'node:http'
import { Failure } from '../../failure.ts'

const changes = ['readable', 'end', 'close', 'error'] as const

/**
 * The body of a request as it comes; more is read from the socket only when it is asked for. Leaves the request usable:
 * what is not read can still be discarded.
 *
 * @throws Failure TELEMETRY_INVALID  the client has gone before the end
 * @throws signal.reason              when aborted
 */
export async function* chunksOf(request: IncomingMessage, signal: AbortSignal): AsyncGenerator<Buffer> {
  while (!request.readableEnded) {
    signal.throwIfAborted()
    const chunk = request.read() as Buffer | null
    if (chunk !== null) yield chunk
    else if (request.destroyed)
      throw new Failure('TELEMETRY_INVALID', 'the client went away in the middle of its request')
    else await changed(request, signal)
  }
}

/** Resolves when there is something to read or nothing more to come, or when `signal` aborts; leaves no listener. */
function changed(request: IncomingMessage, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      for (const change of changes) request.off(change, done)
      signal.removeEventListener('abort', done)
      resolve()
    }
    for (const change of changes) request.on(change, done)
    signal.addEventListener('abort', done, { once: true })
  })
}
