/** The part of a hub that listens on topics: one row for each function, joined in hub.ts. */
import type { Hello, Incoming, Link } from '../model.ts'
import type { Admission } from './authorize.ts'

/** One live connection of a device. */
export interface DeviceSession {
  readonly link: Link
  readonly hello: Hello
  readonly admission: Admission
  /** The identity no longer fits this session; it lives on as the fault `identityChange` said. */
  outlived: boolean
  /** D2C messages accepted. */
  messages: number
}

/** One function of a hub: the filter it answers on, and the topics it takes. */
export interface TopicRow {
  /** The one filter of this function; undefined when this client has none for it. */
  filter?(hello: Hello): string | undefined
  /** Whether a publish to this topic is for this function. */
  takes?(topic: string, deviceId: string): boolean
  /** Why the connection closes instead of the PUBACK. */
  rejects?(session: DeviceSession, message: Incoming): string | undefined
  /** Milliseconds by which the PUBACK is held back; asked once, after `rejects`. */
  delayMs?(message: Incoming): number
  /** After the PUBACK. */
  receive?(session: DeviceSession, message: Incoming): Promise<void> | void
  /** After CONNACK and after each SUBACK: whatever waits may go out. */
  ready?(session: DeviceSession): void
  closed?(session: DeviceSession, willDue: boolean): void
}

/** Behind `devices/{id}/`. */
export const EVENTS_TOPIC = 'messages/events/'

/** The parameters behind `/?` of a `$iothub` topic, not decoded; undefined without that part. */
export function queryOf(topic: string): ReadonlyMap<string, string> | undefined {
  const at = topic.indexOf('/?')
  if (at < 0) return undefined
  return new Map(
    topic
      .slice(at + 2)
      .split('&')
      .map((part) => {
        const equals = part.indexOf('=')
        return equals < 0 ? [part, ''] : [part.slice(0, equals), part.slice(equals + 1)]
      }),
  )
}
