/** C2D messages: a queue for each device, delivered at QoS 1; PUBACK completes. azure-protocols.md 4.3. */
import { randomUUID } from 'node:crypto'

import { ServiceError } from '../model.ts'
import { encodeBag } from './property-bag.ts'
import type { DeviceSession, TopicRow } from './topics.ts'

const MAX_QUEUED = 50
const MAX_MESSAGE_BYTES = 64 * 1024
/** Default time to live of a C2D message, in milliseconds. */
const TIME_TO_LIVE_MS = 3_600_000

interface Waiting {
  readonly topic: string
  readonly body: Buffer
  readonly expiresAtMs: number
  /** On its way: acknowledged, or lost and waiting again. */
  sent: boolean
}

export interface DeviceBound extends TopicRow {
  /** @throws ServiceError 403004 when 50 messages wait, 413001 for more than 64 KB */
  enqueue(deviceId: string, body: string | Buffer, properties: Record<string, string>): void
  /** Messages that are not completed. */
  depth(deviceId: string): number
  forget(deviceId: string): void
}

export function createDeviceBound(now: () => number): DeviceBound {
  const queues = new Map<string, Waiting[]>()

  const living = (deviceId: string) => {
    const kept = (queues.get(deviceId) ?? []).filter((message) => message.sent || message.expiresAtMs > now())
    queues.set(deviceId, kept)
    return kept
  }

  const complete = (deviceId: string, message: Waiting) => {
    const left = living(deviceId).filter((other) => other !== message)
    if (left.length === 0) queues.delete(deviceId)
    else queues.set(deviceId, left)
  }

  const ready = ({ link, admission: { deviceId } }: DeviceSession) => {
    if (!queues.has(deviceId)) return
    for (const message of living(deviceId)) {
      if (message.sent) continue
      message.sent = true
      const acknowledged = () => complete(deviceId, message)
      const lost = () => {
        message.sent = false
      }
      if (!link.send(message.topic, message.body, 1, acknowledged, lost)) lost()
    }
  }

  return {
    filter: ({ clientId }) => `devices/${clientId}/messages/devicebound/#`,
    ready,
    depth: (deviceId) => living(deviceId).length,
    forget: (deviceId) => void queues.delete(deviceId),
    enqueue(deviceId, body, properties) {
      const queue = living(deviceId)
      const bytes = Buffer.from(body)
      if (bytes.length > MAX_MESSAGE_BYTES)
        throw new ServiceError(413001, `A message of ${bytes.length} bytes; the limit is ${MAX_MESSAGE_BYTES}.`)
      if (queue.length >= MAX_QUEUED)
        throw new ServiceError(403004, `${MAX_QUEUED} messages wait for device ${deviceId}.`)
      const to = `/devices/${deviceId}/messages/devicebound`
      const bag = encodeBag({ '$.mid': randomUUID(), '$.to': to, ...properties })
      const topic = `devices/${deviceId}/messages/devicebound/${bag}`
      queue.push({ topic, body: bytes, expiresAtMs: now() + TIME_TO_LIVE_MS, sent: false })
    },
  }
}
