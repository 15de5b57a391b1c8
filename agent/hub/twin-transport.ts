import { Failure } from '../failure.ts'
import type { JsonObject } from '../system/json.ts'
import { refusedTopic } from '../wire/guarded-base.ts'
import type { Delivery } from '../wire/guarded-base.ts'
import type { Wire } from '../wire/wire.ts'
import type { InFlight } from './in-flight.ts'
import { parseDesiredPatch, parseTwin, parseTwinError } from './twin-document.ts'
import type { Twin, TwinDocument } from './twin-document.ts'
import { getTwinTopic, parseTwinTopic, patchReportedTopic, TWIN_FILTERS } from './twin-topics.ts'

export interface TwinTransportOptions {
  /** The open connection. */
  readonly wire: Pick<Wire, 'live' | 'refuse'>
  /** Bounds every request. */
  readonly inFlight: InFlight
  /** A patch of the desired part, or undefined when the hub pushed something that is not one. */
  readonly onPatch: (patch: TwinDocument | undefined) => void
}

/**
 * The device twin over the SDK's own connection. The twin client of the SDK is not used: it hangs when an answer is
 * lost, ends the process on an odd one and takes a refused report for an accepted one.
 */
export interface TwinTransport {
  /**
   * Subscribes to answers and to changes of the desired part; once for a connection.
   *
   * @throws Failure HUB_REFUSED_TOPIC, HUB_NO_ANSWER
   */
  subscribe(): Promise<void>
  /** @throws Failure TWIN_REFUSED, TWIN_MALFORMED, HUB_NO_ANSWER */
  get(): Promise<Twin>
  /**
   * Merges a patch into the reported part and answers its new version.
   *
   * @throws Failure TWIN_REFUSED, HUB_NO_ANSWER
   */
  patchReported(patch: JsonObject): Promise<number | undefined>
  /** Takes a message under `$iothub/twin/`. */
  receive(delivery: Delivery): void
}

interface Answer {
  readonly status: number
  readonly version: number | undefined
  readonly text: string
}

/** Wait after a 429 when nothing says how long, in milliseconds. Source: throttled base delay of the Node SDK. */
const THROTTLED_MS = 10_000

export function createTwinTransport(options: TwinTransportOptions): TwinTransport {
  const waiting = new Map<string, (answer: Answer) => void>()
  let lastRid = 0
  let subscribed = false

  const ask = async (what: string, topicFor: (rid: string) => string, body: string): Promise<Answer> => {
    lastRid += 1
    const rid = String(lastRid)
    const answer = Promise.withResolvers<Answer>()
    waiting.set(rid, answer.resolve)
    options.wire.live().publish(topicFor(rid), body, { qos: 0 }, (error) => {
      if (error !== undefined && error !== null) answer.reject(error)
    })
    try {
      return await options.inFlight.add(what, answer.promise)
    } finally {
      waiting.delete(rid)
    }
  }

  return {
    async subscribe() {
      if (subscribed) return
      const granted = Promise.withResolvers<unknown>()
      options.wire.live().subscribe([...TWIN_FILTERS], { qos: 0 }, (error, grants) => {
        if (error === null || error === undefined) granted.resolve(grants)
        else granted.reject(error)
      })
      const refused = refusedTopic(await options.inFlight.add('subscribing to the twin', granted.promise))
      if (refused !== undefined) throw options.wire.refuse(refused)
      subscribed = true
    },
    async get() {
      const answer = await ask('reading the twin', getTwinTopic, ' ')
      if (answer.status !== 200) throw refusalOf('read', answer)
      const twin = parseTwin(answer.text)
      if (twin === undefined) throw new Failure('TWIN_MALFORMED', 'the hub answered 200 with something that is no twin')
      return twin
    },
    async patchReported(patch) {
      const answer = await ask('reporting to the twin', patchReportedTopic, JSON.stringify(patch))
      if (answer.status !== 204 && answer.status !== 200) throw refusalOf('change', answer)
      return answer.version
    },
    receive({ topic, payload }) {
      const parsed = parseTwinTopic(topic)
      const text = payload.toString('utf8')
      if (parsed?.about === 'desired') options.onPatch(parseDesiredPatch(text))
      if (parsed?.about === 'answer')
        waiting.get(parsed.rid)?.({ status: parsed.status, version: parsed.version, text })
    },
  }
}

function refusalOf(wish: 'read' | 'change', answer: Answer): Failure {
  const { errorCode, message } = parseTwinError(answer.text)
  const reason = message === undefined ? '' : `: ${message.slice(0, 300)}`
  return new Failure('TWIN_REFUSED', `the hub answered ${answer.status} to a wish to ${wish} the twin${reason}`, {
    context: { status: answer.status, ...(errorCode === undefined ? {} : { errorCode }) },
    ...(answer.status === 429 ? { retryAfterMs: THROTTLED_MS } : {}),
  })
}
