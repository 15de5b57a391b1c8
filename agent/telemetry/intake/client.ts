import type { Socket } from 'node:net'
import { Failure } from '../../failure.ts'
import type { Clock } from '../../system/clock.ts'
import { watchIdle } from '../../system/idle.ts'

/** One connection. Its requests are dealt with one after the other. */
export interface Client {
  /** Aborts when a body that is being read has stopped coming, or by `end`; its reason is a failure. */
  readonly ended: AbortSignal
  /** Deals with a request after those that came before it; never rejects. */
  take(turn: () => Promise<void>): void
  /** The client has until then for what it is to do next. */
  expect(what: Expected): void
  /** Whose process is at the other end; asked once. */
  uid(): Promise<number | undefined>
  /** Ends what is read or waited for, not what is being stored. */
  end(reason: Failure): void
  /** At once, with whatever it was about. */
  close(): void
  /** When it last did something, in monotonic milliseconds; `Infinity` while we are at work for it. */
  activeAtMs(): number
  /** Resolves when no request is left. */
  settled(): Promise<void>
  isBusy(): boolean
}

/**
 * `headers` of the next request, `body` more of this one, `reading` of its answer; `nothing` while we are at work, which
 * has no limit.
 */
export type Expected = 'headers' | 'body' | 'reading' | 'nothing'

export interface ClientOptions {
  readonly clock: Clock
  readonly identify: (socket: Socket) => Promise<number | undefined>
  readonly onFailure: (error: unknown) => void
}

/** For the headers of the first request. */
const HEADERS_MS = 10_000

/** Between two chunks of a body, between the requests of one connection, and for the reading of an answer. */
export const IDLE_MS = 30_000

/** Requests that a client may send without waiting for the answer to the first of them. */
const MAX_WAITING = 64

export function createClient(socket: Socket, options: ClientOptions): Client {
  const gone = new AbortController()
  const ended = new AbortController()
  socket.once('close', () => gone.abort())
  let expected: Expected = 'headers'
  let activeAtMs = options.clock.monotonicMs()
  const onIdle = () => {
    if (expected === 'body') ended.abort(tooSlow())
    else socket.destroy()
  }
  const watch = watchIdle(options.clock, HEADERS_MS, { onIdle, onFailure: options.onFailure }, gone.signal)
  const expect = (what: Expected) => {
    expected = what
    activeAtMs = what === 'nothing' ? Infinity : options.clock.monotonicMs()
    watch.active(what === 'nothing' ? Infinity : IDLE_MS)
  }

  let turns: Promise<void> = Promise.resolve()
  let waiting = 0
  let uid: Promise<number | undefined> | undefined
  const run = async (turn: () => Promise<void>) => {
    try {
      if (!gone.signal.aborted) await turn()
    } catch (error) {
      socket.destroy()
      options.onFailure(error)
    } finally {
      waiting -= 1
      if (waiting === 0) expect('headers')
    }
  }
  return {
    ended: ended.signal,
    take(turn) {
      waiting += 1
      if (waiting > MAX_WAITING) socket.destroy()
      turns = turns.then(() => run(turn))
    },
    expect,
    uid: () => (uid ??= options.identify(socket)),
    end: (reason) => ended.abort(reason),
    close: () => void socket.destroy(),
    activeAtMs: () => activeAtMs,
    settled: () => turns,
    isBusy: () => waiting > 0,
  }
}

function tooSlow(): Failure {
  const seconds = IDLE_MS / 1000
  return new Failure(
    'TELEMETRY_INVALID',
    `nothing came for ${seconds} s; an empty line now and then keeps a stream open`,
  )
}
