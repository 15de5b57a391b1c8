/** D2C messages: azure-protocols.md 4.2. */
import type { Faults } from '../faults.ts'
import type { Incoming, Recorder } from '../model.ts'
import { bagBytes, decodeBag } from './property-bag.ts'
import { EVENTS_TOPIC, type DeviceSession, type TopicRow } from './topics.ts'

/** Largest device-to-cloud message, properties included. Source: IoT Hub quotas and throttling. */
const MAX_EVENT_BYTES = 256 * 1024

export interface TelemetryOptions {
  readonly host: string
  readonly faults: Faults
  readonly recorder: Recorder
  readonly now: () => number
  readonly generationId: (deviceId: string) => string
}

export function createTelemetry({ host, faults, recorder, now, generationId }: TelemetryOptions): TopicRow {
  const emit = (session: DeviceSession, topic: string, payload: Buffer, extra: Readonly<Record<string, string>>) => {
    const bag = decodeBag(bagOf(topic))
    if (!bag.ok) return
    const { deviceId, type, scope } = session.admission
    const enqueuedAt = now()
    const stamps = {
      'iothub-connection-device-id': deviceId,
      'iothub-connection-auth-generation-id': generationId(deviceId),
      'iothub-connection-auth-method': JSON.stringify({ scope, type, issuer: 'iothub' }),
      'iothub-enqueuedtime': new Date(enqueuedAt).toISOString(),
    }
    recorder.add({
      kind: 'telemetry',
      host,
      message: {
        deviceId,
        body: payload,
        properties: { ...bag.value.properties, ...extra },
        system: { ...bag.value.system, ...stamps },
        enqueuedAt,
      },
    })
  }

  return {
    takes: (topic, deviceId) => topic.startsWith(`devices/${deviceId}/messages/events`),
    rejects(session, message) {
      const problem = eventProblem(message)
      if (problem !== undefined) return problem
      const limit = faults.get('throttleAfterMessages')
      if (limit > 0 && session.messages >= limit) return `429001: more than ${limit} messages`
      session.messages += 1
      return undefined
    },
    receive(session, { topic, payload, retain }) {
      emit(session, topic, payload, retain ? { 'mqtt-retain': 'true' } : {})
    },
    closed(session, willDue) {
      const { will } = session.hello
      if (willDue && will !== undefined && eventProblem(will) === undefined)
        emit(session, will.topic, will.payload, { 'iothub-MessageType': 'Will' })
    },
  }
}

function eventProblem({ topic, payload }: Pick<Incoming, 'topic' | 'payload'>): string | undefined {
  const rest = topic.split('/').slice(2).join('/')
  if (rest !== EVENTS_TOPIC.slice(0, -1) && !rest.startsWith(EVENTS_TOPIC)) return `there is no topic ${topic}`
  const bag = decodeBag(bagOf(topic))
  if (!bag.ok) return bag.problem
  const bytes = payload.length + bagBytes(bag.value)
  return bytes > MAX_EVENT_BYTES ? `a message of ${bytes} bytes; the limit is ${MAX_EVENT_BYTES}` : undefined
}

/** What follows `devices/{id}/messages/events/`. */
function bagOf(topic: string): string {
  return topic.split('/').slice(4).join('/')
}
