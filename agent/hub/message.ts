import iot from 'azure-iot-device'
import type { Message } from 'azure-iot-device'
import { Failure } from '../failure.ts'

/** One device-to-cloud message. */
export interface OutgoingMessage {
  /** Text: the SDK expands binary bodies into arrays of numbers for a log line that nobody reads. */
  readonly body: string
  /** Unique; the hub delivers at least once, and the receiver drops what comes twice. */
  readonly messageId: string
  readonly contentType: 'application/json'
  readonly contentEncoding: 'utf-8'
  /** Wall time in milliseconds at which the content was measured, where it differs from the sending. */
  readonly creationTimeMs?: number
  readonly properties?: Readonly<Record<string, string>>
}

/** Largest device-to-cloud message, properties included. Source: IoT Hub quotas and throttling. */
const MAX_EVENT_BYTES = 256 * 1024

/**
 * The message in the form of the SDK.
 *
 * @throws Failure MESSAGE_REFUSED larger than the hub takes
 */
export function toSdkMessage(outgoing: OutgoingMessage): Message {
  const message = new iot.Message(outgoing.body)
  message.messageId = outgoing.messageId
  message.contentType = outgoing.contentType
  message.contentEncoding = outgoing.contentEncoding
  for (const [key, value] of propertiesOf(outgoing)) message.properties.add(key, value)
  const bytes = sizeOf(outgoing)
  if (bytes <= MAX_EVENT_BYTES) return message
  throw new Failure(
    'MESSAGE_REFUSED',
    `the message has ${bytes} bytes with its properties, the hub takes ${MAX_EVENT_BYTES}`,
    {
      context: { messageId: outgoing.messageId, bytes },
    },
  )
}

function propertiesOf(outgoing: OutgoingMessage): (readonly [string, string])[] {
  const own = Object.entries(outgoing.properties ?? {})
  if (outgoing.creationTimeMs === undefined) return own
  return [...own, ['iothub-creation-time-utc', new Date(outgoing.creationTimeMs).toISOString()]]
}

function sizeOf(outgoing: OutgoingMessage): number {
  const texts = [outgoing.messageId, outgoing.contentType, outgoing.contentEncoding, ...propertiesOf(outgoing).flat()]
  return texts.reduce((sum, text) => sum + Buffer.byteLength(text), Buffer.byteLength(outgoing.body))
}
