import { Failure } from '../failure.ts'
import { isObject } from '../system/json.ts'
import { askControl, refusedBy } from './client.ts'
import type { AskOptions } from './client.ts'
import type { ControlRequest } from './protocol.ts'
import type { OutboxStatus } from './status.ts'
import { outboxStatus } from './telemetry-status.ts'
import type { Level } from './telemetry-status.ts'

/** What `outbox` shows, as the running agent answers it. Times are wall time in milliseconds. */
export interface OutboxView {
  /** Version of this form: a command refuses one that it does not know. */
  readonly format: 1
  /** The agent's clock when it answered. */
  readonly atMs: number
  readonly level: OutboxStatus
  /** Every stream that holds something, the one with the oldest sample first. */
  readonly streams: readonly StreamStatus[]
  /** What was set aside, the newest first. */
  readonly aside: readonly AsideStatus[]
}

export interface StreamStatus {
  readonly name: string
  readonly priority: string
  /** Samples that wait for their acknowledgement. */
  readonly depth: number
  /** When the oldest and the newest of them came in. */
  readonly oldestAtMs: number
  readonly newestAtMs: number
}

/** A sample that the hub will never take. */
export interface AsideStatus {
  readonly id: string
  readonly stream: string
  readonly atMs: number
  readonly code: string
  readonly message: string
  readonly label: { readonly contentType: string; readonly properties?: Readonly<Record<string, string>> }
  /** Of the body. */
  readonly bytes: number
}

/** An outbox, as far as it is looked at here. */
export interface Looked {
  level(): Level
  streams(): readonly {
    readonly name: string
    readonly priority: string
    readonly head: number
    readonly tail: number
    readonly headAtMs: number
    readonly tailAtMs: number
  }[]
  asideList(): readonly AsideStatus[]
  asideBody(id: string): string | Uint8Array | undefined
}

/** The body of a sample that was set aside; in base64, which no character in it can make longer. */
export interface AsideBody {
  readonly base64: string
}

/**
 * Answers `{"ask":"outbox"}` with a view, and `{"ask":"outbox","body":ID}` with one body that was set aside.
 *
 * @throws Failure CONTROL_BAD_REQUEST  another request
 * @throws Failure SAMPLE_UNKNOWN       nothing was set aside under this ID
 */
export function answerOutbox(request: ControlRequest, outbox: Looked, nowMs: number): OutboxView | AsideBody {
  const { ask: _, body: id, ...others } = request
  const [unknown] = Object.keys(others)
  if (unknown !== undefined) throw new Failure('CONTROL_BAD_REQUEST', `there is no field ${JSON.stringify(unknown)}`)
  if (id === undefined) return viewOf(outbox, nowMs)
  if (typeof id !== 'string') throw new Failure('CONTROL_BAD_REQUEST', 'body must be the ID of a sample')
  const body = outbox.asideBody(id)
  if (body === undefined) throw new Failure('SAMPLE_UNKNOWN', `nothing is set aside under the ID ${id}`)
  return { base64: Buffer.from(body).toString('base64') }
}

function viewOf(outbox: Looked, nowMs: number): OutboxView {
  const streams = outbox.streams().map(({ name, priority, head, tail, headAtMs, tailAtMs }) => {
    return { name, priority, depth: tail - head + 1, oldestAtMs: headAtMs, newestAtMs: tailAtMs }
  })
  return {
    format: 1,
    atMs: nowMs,
    level: outboxStatus(outbox.level()),
    streams: streams.toSorted((a, b) => a.oldestAtMs - b.oldestAtMs),
    aside: outbox.asideList(),
  }
}

/** Asks the running agent for the view; throws as `askControl` does. */
export async function askOutbox(options: AskOptions): Promise<OutboxView> {
  const value = await askFor({ ask: 'outbox' }, options)
  if (isOutboxView(value)) return value
  throw unknownForm()
}

/**
 * Asks the running agent for a body that was set aside; throws as `askControl` does.
 *
 * @throws Failure SAMPLE_UNKNOWN
 */
export async function askAsideBody(id: string, options: AskOptions): Promise<Buffer> {
  const value = await askFor({ ask: 'outbox', body: id }, options)
  if (isObject(value) && typeof value['base64'] === 'string') return Buffer.from(value['base64'], 'base64')
  throw unknownForm()
}

async function askFor(request: ControlRequest, options: AskOptions): Promise<unknown> {
  const answer = await askControl(request, options)
  if (answer.ok) return answer.value
  throw refusedBy(answer)
}

function isOutboxView(value: unknown): value is OutboxView {
  return (
    isObject(value) &&
    value['format'] === 1 &&
    typeof value['atMs'] === 'number' &&
    isObject(value['level']) &&
    Array.isArray(value['streams']) &&
    Array.isArray(value['aside'])
  )
}

function unknownForm(): Failure {
  return new Failure('CONTROL_BAD_ANSWER', 'the answer about the outbox is of a form that is not known here')
}
