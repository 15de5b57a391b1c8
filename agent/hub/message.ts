import iot from 'azure-iot-device'
import type { Message } from 'azure-iot-device'
import { Failure } from '../failure.ts'

/** One device-to-cloud message. */
export interface OutgoingMessage {
  /** Text in UTF-8, or bytes. */
  readonly body: string | Uint8Array
  /** Unique; the hub delivers at least once, and the receiver drops what comes twice. */
  readonly messageId: string
  /** MIME type. */
  readonly contentType: string
  /** `utf-8` for text, which routing can look into when it is JSON; `gzip` and the like for what is not. */
  readonly contentEncoding?: string
  /** Wall time in milliseconds at which the content was measured, where it differs from the sending. */
  readonly creationTimeMs?: number
  /** Component of the device's DTDL model that it comes from. */
  readonly component?: string
  readonly properties?: Readonly<Record<string, string>>
}

/** Largest device-to-cloud message, properties included. Source: IoT Hub quotas and throttling. */
const MAX_EVENT_BYTES = 256 * 1024

/**
 * What the properties may take of the topic, encoded as they are there. A topic has at most 65,535 bytes (MQTT 3.1.1,
 * section 1.5.3), and 512 of them are enough for the device ID and what stands around it. A longer one would be written
 * with a wrong length, and nothing on that connection could be read from there on.
 */
const MAX_ENCODED_BYTES = 65_535 - 512

/** Names that say something to the hub instead of to a receiver. Source: IoT Hub, system properties of a message. */
const RESERVED_NAME = /^(\$\.|iothub-|dt-subject$)/i

/** The SDK puts it on the topic as `$.sub`. Source: azure-iot-device-mqtt, _getEventTopicFromMessage. */
const COMPONENT_NAME = 'dt-subject'

const CREATION_NAME = 'iothub-creation-time-utc'

type Text = readonly [name: string, value: string]

/**
 * The message in the form of the SDK.
 *
 * @throws Failure MESSAGE_REFUSED larger than the hub takes, or with properties that would not arrive as they are
 */
export function toSdkMessage(outgoing: OutgoingMessage): Message {
  const texts = [...systemTexts(outgoing), ...propertyTexts(outgoing)]
  checkTexts(outgoing, texts)
  checkSize(outgoing, texts)
  const { body, messageId, contentType, contentEncoding } = outgoing
  const message = new iot.Message(typeof body === 'string' ? body : asBuffer(body))
  message.messageId = messageId
  // The types of the SDK know a few values only; what it sends is any text.
  message.contentType = contentType as 'application/json'
  if (contentEncoding !== undefined) message.contentEncoding = contentEncoding as 'utf-8'
  // Properties.add would drop some names without a word, as they are headers of HTTP.
  for (const [key, value] of propertyTexts(outgoing)) message.properties.propertyList.push({ key, value })
  return withoutExpansion(message)
}

/**
 * Answers the SDK, which makes JSON of each message for a debug line also while nobody debugs, with the ID alone: bytes
 * would become an array of numbers, text would be escaped.
 */
function withoutExpansion(message: Message): Message {
  return Object.assign(message, { toJSON: () => ({ messageId: message.messageId }) })
}

/** The same bytes, not a copy of them. */
function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** What the SDK has fields for, under the names by which the hub shows them. */
function systemTexts({ messageId, contentType, contentEncoding }: OutgoingMessage): readonly Text[] {
  const encoding: readonly Text[] = contentEncoding === undefined ? [] : [['content-encoding', contentEncoding]]
  return [['message-id', messageId], ['content-type', contentType], ...encoding]
}

function propertyTexts(outgoing: OutgoingMessage): readonly Text[] {
  const { creationTimeMs, component } = outgoing
  const own = Object.entries(outgoing.properties ?? {})
  const named: readonly Text[] = component === undefined ? [] : [[COMPONENT_NAME, component]]
  if (creationTimeMs === undefined) return [...own, ...named]
  return [...own, ...named, [CREATION_NAME, instant(outgoing, creationTimeMs)]]
}

function instant(outgoing: OutgoingMessage, ms: number): string {
  const date = new Date(ms)
  if (Number.isNaN(date.getTime())) throw refused(outgoing, 'the creation time is no time', {})
  return date.toISOString()
}

/** What is refused here would end the connection, or arrive as something else. */
function checkTexts(outgoing: OutgoingMessage, texts: readonly Text[]): void {
  const names = Object.keys(outgoing.properties ?? {})
  const reserved = names.find((name) => name === '' || RESERVED_NAME.test(name))
  if (reserved !== undefined) throw refused(outgoing, `"${reserved}" cannot be the name of a property`, {})
  if (texts.flat().every((text) => text.isWellFormed())) return
  throw refused(outgoing, 'a property has half a character, which no encoding can carry', {})
}

function checkSize(outgoing: OutgoingMessage, texts: readonly Text[]): void {
  const bytes = texts.flat().reduce((sum, text) => sum + Buffer.byteLength(text), Buffer.byteLength(outgoing.body))
  if (bytes > MAX_EVENT_BYTES) {
    const fact = `the message has ${bytes} bytes with its properties, the hub takes ${MAX_EVENT_BYTES}`
    throw refused(outgoing, fact, { bytes })
  }
  // Each name and each value is followed by a `=` or a `&`.
  const encoded = texts.flat().reduce((sum, text) => sum + encodeURIComponent(text).length + 1, 0)
  if (encoded <= MAX_ENCODED_BYTES) return
  const fact = `the properties have ${encoded} bytes as MQTT carries them, and it carries ${MAX_ENCODED_BYTES}`
  throw refused(outgoing, fact, { bytes: encoded })
}

function refused({ messageId }: OutgoingMessage, fact: string, context: Failure['context']): Failure {
  return new Failure('MESSAGE_REFUSED', fact, { context: { messageId, ...context } })
}
