/** A local program that hands in one numbered sample a second, where the agent has a socket for it. */
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { request } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

export interface HandedIn {
  /** Numbers used so far. */
  readonly count: number
  readonly accepted: ReadonlySet<number>
  /** Answers other than 2xx, and requests without an answer. */
  readonly refused: number
}

const INTERVAL_MS = 1_000
const ANSWER_WITHIN_MS = 10_000

/** Hands in until `signal` aborts; without a socket, nothing. */
export function handIn(
  socketPath: string,
  signal: AbortSignal,
): { readonly so: HandedIn; readonly over: Promise<void> } {
  const accepted = new Set<number>()
  const so = { count: 0, accepted, refused: 0 }
  const run = async () => {
    for (; !signal.aborted; await sleep(INTERVAL_MS, undefined, { signal }).catch(ended)) {
      if (!existsSync(socketPath)) continue
      const number = so.count
      so.count += 1
      if (await post(socketPath, JSON.stringify({ soak: number }))) accepted.add(number)
      else so.refused += 1
    }
  }
  return { so, over: run() }
}

/** Whether the agent took it; an answer that did not come in time is none. */
async function post(socketPath: string, body: string): Promise<boolean> {
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }
  const asked = request({ socketPath, path: '/telemetry', method: 'POST', headers, timeout: ANSWER_WITHIN_MS })
  asked.on('timeout', () => asked.destroy(new Error('no answer')))
  // `once` hears of the first one; after the response an error changes nothing any more.
  asked.on('error', () => undefined)
  asked.end(body)
  const [response] = (await once(asked, 'response').catch(() => [undefined])) as [IncomingMessage | undefined]
  response?.resume()
  const status = response?.statusCode ?? 0
  return status >= 200 && status < 300
}

function ended(cause: unknown): void {
  if (!(cause instanceof Error && cause.name === 'AbortError')) throw cause
}
