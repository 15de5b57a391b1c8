/** What a connection is given, and what it needs from the stand-in around it. */
import type { X509Certificate } from 'node:crypto'
import type { Duplex } from 'node:stream'

import type { Endpoint, Hello, ReturnCode } from '../model.ts'
import type { Session } from './session.ts'

/** What is known before the first MQTT byte. */
export interface Visit {
  readonly stream: Duplex
  readonly endpoint: Endpoint
  readonly serverName: string
  readonly chain: readonly X509Certificate[]
  readonly transport: 'mqtt' | 'websocket'
}

/** What the connections of one stand-in share. */
export interface House {
  readonly monotonicMs: () => number
  wait(delayMs: number): Promise<void>
  received(bytes: Buffer): void
  /** The faults that act before the rules; undefined lets the endpoint decide. */
  interfere(endpoint: Endpoint): Interference | undefined
  readonly unknownTopicFilter: () => 'suback' | 'close'
  /** Ends an older connection of this client, and finds or makes its session. */
  admit(connection: Connection, hello: Hello): { readonly session: Session; readonly present: boolean }
  refused(endpoint: Endpoint, clientId: string, reason: string): void
  opened(connection: Connection, hello: Hello): void
  /** `open` when the client had been let in. */
  ended(connection: Connection, open: Admitted | undefined, reason: string): void
  nextId(): number
}

export interface Admitted {
  readonly hello: Hello
  readonly session: Session
}

export type Interference =
  | { readonly kind: 'refuse'; readonly returnCode: ReturnCode; readonly reason: string }
  | { readonly kind: 'silence' }
  | { readonly kind: 'close' }

export interface Connection {
  readonly endpoint: Endpoint
  /** Closes what has been silent for too long, and what does not let itself be closed. */
  tick(): void
  cut(reason: string): void
}
