/** Direct methods: azure-protocols.md 4.3. */
import type { Clock } from '../../../agent/system/clock.ts'
import { ServiceError, type Incoming, type MethodCall } from '../model.ts'
import { parseJson } from './json.ts'
import { queryOf, type DeviceSession, type TopicRow } from './topics.ts'

export interface MethodAnswer {
  readonly status: number
  readonly payload: unknown
}

export interface Methods extends TopicRow {
  /**
   * @throws ServiceError 404103 not connected, or connected and not subscribed; 504101 no answer in time;
   *         404104 connection lost; 413001 more than 128 KB
   */
  invoke(session: DeviceSession | undefined, call: MethodCall): Promise<MethodAnswer>
}

const MAX_BODY_BYTES = 128 * 1024
const PREFIX = '$iothub/methods/res/'

interface Pending {
  readonly deviceId: string
  answer(answer: MethodAnswer): void
  fail(error: ServiceError): void
}

export function createMethods(clock: Clock): Methods {
  const pending = new Map<string, Pending>()
  let lastId = 0

  return {
    filter: () => '$iothub/methods/POST/#',
    takes: (topic) => topic.startsWith(PREFIX),
    rejects: (_session, message) => problemOf(message),
    receive({ admission }, { topic, payload }) {
      const call = pending.get(queryOf(topic)?.get('$rid') ?? '')
      // An answer that comes late, or to another device's call, is dropped as Azure does.
      if (call === undefined || call.deviceId !== admission.deviceId) return
      const status = Number(topic.slice(PREFIX.length).split('/')[0])
      call.answer({ status, payload: payload.length === 0 ? null : parseJson(payload)?.value })
    },
    closed({ admission }) {
      for (const call of [...pending.values()])
        if (call.deviceId === admission.deviceId)
          call.fail(new ServiceError(404104, 'The device connection was closed.'))
    },
    async invoke(session, call) {
      const body = call.payload === undefined ? '' : JSON.stringify(call.payload)
      if (Buffer.byteLength(body) > MAX_BODY_BYTES)
        throw new ServiceError(413001, `A method payload of more than ${MAX_BODY_BYTES} bytes.`)
      lastId += 1
      const rid = lastId.toString(16)
      const done = new AbortController()
      const answered = new Promise<MethodAnswer>((resolve, reject) => {
        if (session === undefined) return
        pending.set(rid, { deviceId: session.admission.deviceId, answer: resolve, fail: reject })
      })
      const topic = `$iothub/methods/POST/${encodeURIComponent(call.name)}/?$rid=${rid}`
      try {
        if (session?.link.send(topic, body, 0) !== true)
          throw new ServiceError(404103, 'The operation failed because the requested device is not online.')
        const late = clock.wait(call.responseTimeoutSeconds * 1000, done.signal).then((): never => {
          throw new ServiceError(504101, `The device did not answer within ${call.responseTimeoutSeconds} seconds.`)
        })
        return await Promise.race([answered, late])
      } finally {
        pending.delete(rid)
        done.abort()
      }
    },
  }
}

function problemOf({ topic, payload }: Incoming): string | undefined {
  const status = topic.slice(PREFIX.length).split('/')[0] ?? ''
  if (!/^-?\d{1,9}$/.test(status) || queryOf(topic)?.get('$rid') === undefined) return `there is no topic ${topic}`
  if (payload.length > MAX_BODY_BYTES)
    return `a method response of ${payload.length} bytes; the limit is ${MAX_BODY_BYTES}`
  return payload.length === 0 || parseJson(payload) !== undefined ? undefined : 'a method response that is not JSON'
}
