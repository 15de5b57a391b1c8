import { asFailure, Failure } from '../failure.ts'
import type { FailureCode } from '../failure.ts'
import type { Clock } from '../system/clock.ts'
import { bounded } from '../system/deadline.ts'
import { isDeeperThan, parseJson } from '../system/json.ts'
import type { Json } from '../system/json.ts'
import { refusedTopic } from '../wire/guarded-base.ts'
import type { Delivery } from '../wire/guarded-base.ts'
import type { Wire } from '../wire/wire.ts'
import type { Gate } from './gate.ts'
import type { InFlight } from './in-flight.ts'
import { METHOD_FILTER, methodAnswerTopic, parseMethodTopic } from './method-topics.ts'

/** One call of a direct method. */
export interface MethodCall {
  readonly name: string
  /** Undefined when the call came without one. */
  readonly payload: Json | undefined
}

/** What the caller is answered. */
export interface MethodReply {
  readonly status: number
  /** Something that JSON can say, of at most 128 KB. */
  readonly body: unknown
}

export type AnswerMethod = (call: MethodCall) => Promise<MethodReply>

export interface MethodTransportOptions {
  /** The open connection. */
  readonly wire: Pick<Wire, 'live' | 'refuse'>
  /** Bounds the subscription. */
  readonly inFlight: InFlight
  readonly clock: Clock
  /** Told of a call that could not be answered as it should. */
  readonly onTrouble: (failure: Failure) => void
}

/**
 * Direct methods over the SDK's own connection. The method client of the SDK is not used: it answers with the text of
 * our errors, leaves unknown methods without an answer, and bounds nothing.
 */
export interface MethodTransport {
  /**
   * Subscribes, and has every call answered from now on; once for a connection.
   *
   * @param gate what passes it is let finish before the session ends by its own wish
   * @throws Failure HUB_REFUSED_TOPIC, HUB_NO_ANSWER
   */
  serve(answer: AnswerMethod, gate: Pick<Gate, 'pass'>): Promise<void>
  /** Takes a message under `$iothub/methods/POST/`. */
  receive(delivery: Delivery): void
}

/** Largest body of a call, and of its answer. Source: azure-docs, iot-hub-devguide-direct-methods. */
const MAX_BODY_BYTES = 128 * 1024

/** Levels of a payload that is taken; no method has use for three. */
const MAX_LEVELS = 32

/** Calls that are worked on at a time; a place is free again when its answer has left. */
const AT_A_TIME = 4

/** Refusals on their way out. A caller that floods us and reads nothing gets no more of them. */
const MAX_LEAVING = 4

/** The service waits 30 s unless the caller says otherwise. */
const ANSWER_WITHIN_MS = 25_000

/** @param signal aborted when the connection is over: nobody waits for an answer then */
export function createMethodTransport(options: MethodTransportOptions, signal: AbortSignal): MethodTransport {
  const { wire, clock, onTrouble } = options
  const served = Promise.withResolvers<{ readonly answer: AnswerMethod; readonly gate: Pick<Gate, 'pass'> }>()
  let running = 0
  let leaving = 0

  /** Resolves when the bytes have left. An answer that fails to is lost with the connection, and the hub says so. */
  const publish = (rid: string, reply: MethodReply, body: string) =>
    new Promise<void>((resolve) => {
      wire.live().publish(methodAnswerTopic(reply.status, rid), body, { qos: 0 }, () => resolve())
    })

  const refuse = async (rid: string, failure: Failure): Promise<void> => {
    const reply = refusalOf(failure)
    await publish(rid, reply, JSON.stringify(reply.body))
  }

  const turnAway = async (rid: string, failure: Failure): Promise<void> => {
    if (leaving === MAX_LEAVING) return
    leaving += 1
    await refuse(rid, failure).finally(() => (leaving -= 1))
  }

  const work = async (rid: string, call: MethodCall): Promise<void> => {
    running += 1
    const limit = { clock, withinMs: ANSWER_WITHIN_MS, code: 'METHOD_LATE', what: `the method ${call.name}` } as const
    let answering: Promise<MethodReply> | undefined
    try {
      // A hub that kept the subscription of an earlier session may call before anybody has said what to answer.
      const { answer, gate } = await bounded(served.promise, limit, signal)
      await gate.pass(async () => {
        answering = answer(call)
        const reply = await bounded(answering, limit, signal)
        await publish(rid, reply, bodyOf(reply))
      })
    } catch (error) {
      if (signal.aborted) return
      const failure = asFailure(error)
      onTrouble(failure)
      await refuse(rid, failure)
    } finally {
      // What is late goes on, and keeps its place: its number must stay bounded.
      await Promise.allSettled([answering])
      running -= 1
    }
  }

  return {
    async serve(answer, gate) {
      served.resolve({ answer, gate })
      const granted = Promise.withResolvers<unknown>()
      wire.live().subscribe(METHOD_FILTER, { qos: 0 }, (error, grants) => {
        if (error === null || error === undefined) granted.resolve(grants)
        else granted.reject(error)
      })
      const refused = refusedTopic(await options.inFlight.add('subscribing to direct methods', granted.promise))
      if (refused !== undefined) throw wire.refuse(refused)
    },
    receive({ topic, payload }) {
      const parsed = parseMethodTopic(topic)
      if (parsed === undefined || signal.aborted) return
      const call = running === AT_A_TIME ? tooMany() : readCall(parsed.name, payload)
      const done = call instanceof Failure ? turnAway(parsed.rid, call) : work(parsed.rid, call)
      done.catch((error: unknown) => onTrouble(asFailure(error)))
    },
  }
}

function readCall(name: string | undefined, payload: Buffer): MethodCall | Failure {
  if (name === undefined) return new Failure('METHOD_INVALID', 'the name of the method cannot be read')
  if (payload.length === 0) return { name, payload: undefined }
  if (payload.length > MAX_BODY_BYTES) {
    return new Failure('METHOD_INVALID', `the payload has ${payload.length} bytes, at most ${MAX_BODY_BYTES} are taken`)
  }
  const value = parseJson(payload.toString('utf8'))
  if (value === undefined) return new Failure('METHOD_INVALID', 'the payload is not JSON')
  if (isDeeperThan(MAX_LEVELS, value)) {
    return new Failure('METHOD_INVALID', `the payload has more than ${MAX_LEVELS} levels`)
  }
  return { name, payload: value }
}

function tooMany(): Failure {
  return new Failure('METHOD_TOO_OFTEN', `${AT_A_TIME} calls are being worked on, which is all that are at a time`)
}

/** @throws Failure UNEXPECTED larger than the hub takes */
function bodyOf({ body }: MethodReply): string {
  const text = JSON.stringify(body)
  const bytes = Buffer.byteLength(text)
  if (bytes <= MAX_BODY_BYTES) return text
  throw new Failure('UNEXPECTED', `the answer has ${bytes} bytes, the hub takes ${MAX_BODY_BYTES}`)
}

const statuses: Readonly<Partial<Record<FailureCode, number>>> = {
  METHOD_INVALID: 400,
  METHOD_TOO_OFTEN: 429,
  METHOD_LATE: 504,
}

/** What a caller is told; of what only the log should know, no more than that it happened. */
function refusalOf({ code, message, advice }: Failure): MethodReply {
  const status = statuses[code]
  if (status !== undefined) return { status, body: { code, message, advice } }
  return { status: 500, body: { code, message: 'the method failed; the log of the device says how', advice } }
}
