/** D2C messages: azure-protocols.md 4.2. */
import type { Clock } from '../../../agent/system/clock.ts'
import type { Faults } from '../faults.ts'
import type { Incoming, Recorder } from '../model.ts'
import { bagBytes, decodeBag, type Bag } from './property-bag.ts'
import { createShaping } from './shaping.ts'
import { EVENTS_TOPIC, type DeviceSession, type TopicRow } from './topics.ts'

/** Largest device-to-cloud message, properties included. Source: IoT Hub quotas and throttling. */
const MAX_EVENT_BYTES = 256 * 1024

export interface TelemetryOptions {
  readonly host: string
  readonly faults: Faults
  readonly recorder: Recorder
  readonly clock: Clock
  readonly generationId: (deviceId: string) => string
}

/** Names and values that HTTPS can carry. Source: azure-docs, iot-hub-devguide-messages-construct. */
const TOKEN = /^[A-Za-z0-9!#$%&'*+.^_`|~-]*$/

/** The application property that the fault `poisonMessages` looks for. */
const POISON = 'poison'

export function createTelemetry({ host, faults, recorder, clock, generationId }: TelemetryOptions): TopicRow {
  const shape = createShaping(faults, clock)
  const accepted = new WeakMap<Incoming, { readonly bag: Bag; readonly delayMs: number }>()

  const emit = (session: DeviceSession, bag: Bag, body: Buffer, extra: Readonly<Record<string, string>>) => {
    const { deviceId, type, scope } = session.admission
    const enqueuedAt = clock.now()
    const stamps = {
      'iothub-connection-device-id': deviceId,
      'iothub-connection-auth-generation-id': generationId(deviceId),
      'iothub-connection-auth-method': JSON.stringify({ scope, type, issuer: 'iothub' }),
      'iothub-enqueuedtime': new Date(enqueuedAt).toISOString(),
    }
    const properties = { ...bag.properties, ...extra }
    const system = { ...bag.system, ...stamps }
    recorder.add({ kind: 'telemetry', host, message: { deviceId, body, properties, system, enqueuedAt } })
  }

  /** Why a fault closes the connection. */
  const disturbance = (session: DeviceSession, { properties }: Bag): string | undefined => {
    if (faults.get('poisonMessages') === 'close' && Object.hasOwn(properties, POISON))
      return 'a message that this hub never takes'
    const odd = faults.get('propertyNames') === 'token' && Object.entries(properties).find((each) => !isToken(each))
    if (odd) return `400004: a property that may not be: ${odd[0]}`
    const limit = faults.get('throttleAfterMessages')
    return limit > 0 && session.messages >= limit ? `429001: more than ${limit} messages` : undefined
  }

  return {
    takes: (topic, deviceId) => topic.startsWith(`devices/${deviceId}/messages/events`),
    rejects(session, message) {
      const event = readEvent(message)
      if (!event.ok) return event.problem
      const disturbed = disturbance(session, event.bag)
      if (disturbed !== undefined) return disturbed
      const shaped = shape(event.bytes)
      if (!shaped.taken) return shaped.reason
      session.messages += 1
      accepted.set(message, { bag: event.bag, delayMs: shaped.delayMs })
      return undefined
    },
    delayMs: (message) => accepted.get(message)?.delayMs ?? 0,
    receive(session, message) {
      const bag = accepted.get(message)?.bag
      if (bag !== undefined) emit(session, bag, message.payload, message.retain ? { 'mqtt-retain': 'true' } : {})
    },
    closed(session, willDue) {
      const { will } = session.hello
      if (!willDue || will === undefined) return
      const event = readEvent(will)
      if (event.ok) emit(session, event.bag, will.payload, { 'iothub-MessageType': 'Will' })
    },
  }
}

function isToken([name, value]: readonly [string, string | null]): boolean {
  return TOKEN.test(name) && TOKEN.test(value ?? '')
}

type Event =
  | { readonly ok: true; readonly bag: Bag; readonly bytes: number }
  | { readonly ok: false; readonly problem: string }

function readEvent({ topic, payload }: Pick<Incoming, 'topic' | 'payload'>): Event {
  const rest = topic.split('/').slice(2).join('/')
  if (rest !== EVENTS_TOPIC.slice(0, -1) && !rest.startsWith(EVENTS_TOPIC))
    return { ok: false, problem: `there is no topic ${topic}` }
  // What follows `devices/{id}/messages/events/`.
  const bag = decodeBag(topic.split('/').slice(4).join('/'))
  if (!bag.ok) return bag
  const bytes = payload.length + bagBytes(bag.value)
  if (bytes > MAX_EVENT_BYTES)
    return { ok: false, problem: `a message of ${bytes} bytes; the limit is ${MAX_EVENT_BYTES}` }
  return { ok: true, bag: bag.value, bytes }
}
